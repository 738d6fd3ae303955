"""Counts of what happened in this node since it started.

Only things that happen are counted here; what *is* (connections, rooms) is read from live state by whoever
asks, so that it cannot drift. `web/prometheus.py` shows both.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import partial

# Seconds: from what one message takes to what makes people complain.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BYTES = (100, 1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000)


class Histogram:
    """How many values there were up to each bound, and above the last one."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Counts one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


def counts(help_text: str) -> int:
    """A counter that begins at 0; the text is for whoever reads `/metrics`."""
    found: int = field(default=0, metadata={"help": help_text})
    return found


@dataclass(slots=True)
class Metrics:
    """Plain integers; one event loop writes them, so no lock."""

    appends: int = counts("Calls of Redis' scripts that were answered.")
    append_repeats: int = counts("Pipelines sent again after an error or a time-out.")
    append_seconds: Histogram = field(
        default_factory=partial(Histogram, SECONDS),
        metadata={"help": "From an append's submission to its answer."},
    )
    deliveries: int = counts("Entries handed to the members of a room on this node.")
    flush_seconds: Histogram = field(
        default_factory=partial(Histogram, SECONDS),
        metadata={"help": "What writing to all sockets took, once for each flush."},
    )
    flush_bytes: Histogram = field(
        default_factory=partial(Histogram, BYTES),
        metadata={"help": "Bytes of frames that waited, once for each flush."},
    )
    gaps_filled: int = counts("Gaps in a room's entries that were read from its log.")
    gaps_unfillable: int = counts("Gaps that Redis had lost; members were told to reconnect.")
    relay_connections: int = counts("Times the listener connected to Redis.")
    task_restarts: int = counts("Times one of the node's own loops failed and was started again.")
    stale_sockets: int = counts("Connections closed because their generation was taken or lost.")
    bad_packets: int = counts("Connections closed for breaking the protocol.")
    handler_errors: int = counts("Exceptions of the application's handlers.")
    forwards: int = counts("Requests and WebSockets forwarded to the node that owns the session.")
    forward_failures: int = counts("Of these, those that could not be.")
    data_losses: int = counts("Times Redis was found to have lost this node's heartbeat.")
    recoveries: int = counts("Sessions taken by a new connection.")
    recoveries_refused: int = counts("Clients that started anew, since not all that they missed was there.")
    replayed: int = counts("Packets sent to clients that had missed them.")
    swept: int = counts("Away sockets whose grace ended.")
    buried: int = counts("Sockets of dead nodes that were put away.")
    slow_readers: int = counts("Connections closed because too much waited for a client that did not read.")


def described() -> dict[str, str]:
    """Field -> what it counts."""
    return {each.name: each.metadata["help"] for each in fields(Metrics)}
