"""What the load kit writes into its messages, and how it finds that again in what everybody receives.

    lt1.<sender>.<n>.<intended µs>.<padding>

`sender` is unique in the run, `n` counts a sender's messages from 0, and the time is when the message was meant to
be sent, by the master's monotonic clock: a sender that is late measures that, too (no coordinated omission).
"""

from dataclasses import dataclass
from typing import Any

import orjson

MARK = "lt1."
N_BITS = 32
SENDERS_EACH = 1_000_000  # numbers for each worker

# type of a `broadcast_msg` -> the field that holds our text
FIELDS = {"message": "msg", "whisper": "msg", "rename": "nickname"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message of ours."""

    sender: int
    n: int
    intended_us: int

    @property
    def id(self) -> int:
        """Unique in the run."""
        return self.sender << N_BITS | self.n

    def text(self, size: int = 0) -> str:
        """What is sent, padded to `size` characters."""
        return f"{MARK}{self.sender}.{self.n}.{self.intended_us}.".ljust(size, "x")


def worker_of(message: int) -> int:
    """The index of the worker that sent a message of this id."""
    return (message >> N_BITS) // SENDERS_EACH


def found_in(packet: bytes) -> Message | None:
    """The message in a Socket.IO EVENT packet, None where it is another event. Never raises: servers differ."""
    if MARK.encode() not in packet:
        return None
    try:
        event, data, *_ = orjson.loads(packet[packet.index(b"[") :])
    except (ValueError, TypeError):
        return None
    return _parsed(data) if event == "broadcast_msg" and isinstance(data, dict) else None


def _parsed(data: dict[str, Any]) -> Message | None:
    text = data.get(FIELDS.get(str(data.get("type")), ""))
    if not isinstance(text, str):
        return None
    _, _, fields = text.partition(MARK)
    sender, n, intended_us, *_ = [*fields.split("."), "", "", ""]
    if not (sender.isdecimal() and n.isdecimal() and intended_us.isdecimal()):
        return None
    return Message(int(sender), int(n), int(intended_us))
