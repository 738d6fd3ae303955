"""Members of whom every byte is looked at: nothing lost, nothing twice, one order for all.

While a line is measured a witness only keeps what it receives; it is read afterwards, so that it costs the
load client nothing.
"""

import json
from collections.abc import Mapping, Sequence

from . import chat
from .errors import Violation
from .frames import texts

Said = tuple[int, int]  # sender, turn


class Witness:
    """What one member received since the last `take`."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def hear(self, chunk: bytes) -> None:
        """The next bytes."""
        self._chunks.append(chunk)

    def take(self, *, whole: bool = True) -> list[Said]:
        """The messages in the order they came. Raises Violation, also where the last is cut off if `whole`."""
        data = b"".join(self._chunks)
        self._chunks = []
        end, found = 0, list[Said]()
        for payload, at in texts(data):
            end = at
            if (said := message_in(payload)) is not None:
                found.append(said)
        if whole and end != len(data):
            raise Violation(f"a witness was left with {len(data) - end} bytes of a frame")
        return found


def message_in(payload: bytes) -> Said | None:
    """Who said it and which of his messages it is; None for what is no message. Raises Violation."""
    if payload[:1] != b"4":
        return None
    try:
        event, data, *offset = json.loads(payload[payload.index(b"[") :])
        if event not in ("broadcast_msg", "toclient") or data.get("type", "message") != "message":
            return None
        number, turn = chat.number_and_turn(data["msg"])
        if len(offset) > 1:
            raise ValueError("too many arguments")
    except (ValueError, KeyError, AttributeError) as error:
        raise Violation(f"a witness could not read {payload[:200]!r}: {error}") from None
    expect = chat.said if event == "broadcast_msg" else chat.shouted
    expected = expect(number, turn, *offset)
    if not expected.endswith(payload):
        raise Violation(f"expected {expected!r}, got {payload!r}")
    return number, turn


def check(heard: Sequence[Sequence[Said]], sent: Mapping[int, range], *, whole: bool = True) -> None:
    """`heard`: one list for each witness; `sent`: sender -> the turns it sent. Raises Violation.

    Without `whole` the lists may end early, each elsewhere.
    """
    for number, messages in enumerate(heard):
        _check_turns(number, messages, sent, whole=whole)
        for place, (here, there) in enumerate(zip(messages, heard[0], strict=False)):
            if here != there:
                raise Violation(f"two witnesses saw different orders: as message {place} {here} and {there}")


def _check_turns(number: int, messages: Sequence[Said], sent: Mapping[int, range], *, whole: bool) -> None:
    expected = {sender: turns.start for sender, turns in sent.items()}
    for sender, turn in messages:
        if sender not in expected:
            raise Violation(f"witness {number} got {sender, turn}, which nobody sent")
        if turn != expected[sender]:
            kind = "again or late" if turn < expected[sender] else "too early: one before it is lost or late"
            raise Violation(f"witness {number} got {sender, turn} {kind}; expected turn {expected[sender]}")
        expected[sender] += 1
    for sender, turns in sent.items():
        if expected[sender] > turns.stop or (whole and expected[sender] < turns.stop):
            raise Violation(
                f"witness {number} got sender {sender}'s turns before {expected[sender]}, there are {turns.stop}"
            )
