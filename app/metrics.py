"""Counts of what happened in this node since it started.

Only things that happen are counted here; what *is* (connections, rooms) is read from live state by whoever
asks, so that it cannot drift.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Metrics:
    """Plain integers; one event loop writes them, so no lock."""

    appends: int = 0
    append_repeats: int = 0  # pipelines sent again after an error or a time-out
    deliveries: int = 0  # entries handed to the local members of a room
    gaps_filled: int = 0
    gaps_unfillable: int = 0
    relay_connections: int = 0  # times the listener connected to Redis
    task_restarts: int = 0
    stale_sockets: int = 0  # connections closed because their generation was taken or lost
    bad_packets: int = 0  # connections closed for breaking the protocol
    handler_errors: int = 0
    forwards: int = 0
    forward_failures: int = 0
    data_losses: int = 0  # times Redis was found to have lost this node's heartbeat
    recoveries: int = 0  # sessions taken by a new connection
    recoveries_refused: int = 0  # clients that started anew, since not all that they missed was there
    replayed: int = 0  # packets sent to them
    swept: int = 0  # away sockets whose grace ended
    buried: int = 0  # sockets of dead nodes put away
    slow_readers: int = 0  # connections closed because too much waited for a client that did not read
