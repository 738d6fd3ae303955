"""A node without one of the things that the checker must miss: `python -m tests.faults.sabotaged_node gaps serve`.

This is how the checker itself is checked. The app knows nothing of it: it is patched here, then its command line
runs as ever.
"""

import sys
from collections.abc import Callable
from typing import Any

from app.cli import main as clusterkit
from app.cluster.catchup import Lost, Standing, Tail
from app.cluster.local import Cursor
from app.cluster.nodes import NodeRecord
from app.cluster.relay import Relay
from app.cluster.roomlog import RoomLog
from app.cluster.sweeper import Sweeper
from app.wire import Entry


def switch_off_gaps() -> None:
    """Nothing that was missed is noticed or read: neither before an entry, nor when subscribing again."""
    deliver: Any = Relay._deliver
    take: Any = Relay._take

    def deliver_anyway(self: Relay, cursor: Cursor, entry: Entry) -> None:
        if entry.prev is not None:
            cursor.position = entry.prev
        deliver(self, cursor, entry)

    def take_nothing(
        self: Relay, cursor: Cursor, answer: Tail | Standing | Lost, read_to: dict[Cursor, int]
    ) -> None:
        take(self, cursor, Tail([], complete=True) if isinstance(answer, Tail) else answer, read_to)

    Relay._deliver = deliver_anyway  # type: ignore[method-assign]
    Relay._take = take_nothing  # type: ignore[method-assign]


def switch_off_ids() -> None:
    """The id of a message is not looked at: sent again, it is appended again."""
    append: Any = RoomLog.append
    whisper: Any = RoomLog.whisper

    def append_again(self: RoomLog, *args: Any, message_id: str | None = None, **options: Any) -> Any:
        return append(self, *args, **options)

    def whisper_again(self: RoomLog, *args: Any, message_id: str | None = None, **options: Any) -> Any:
        return whisper(self, *args, **options)

    RoomLog.append = append_again  # type: ignore[method-assign]
    RoomLog.whisper = whisper_again  # type: ignore[method-assign]


def switch_off_reaper() -> None:
    """Nobody puts away the sockets of dead nodes, or lets those leave that do not come back."""

    async def sweep_nothing(self: Sweeper) -> None:
        pass

    async def bury_nobody(self: Sweeper, record: NodeRecord) -> None:
        pass

    Sweeper.sweep = sweep_nothing  # type: ignore[method-assign]
    Sweeper.bury = bury_nobody  # type: ignore[method-assign]


SABOTAGES: dict[str, Callable[[], None]] = {
    "gaps": switch_off_gaps,
    "ids": switch_off_ids,
    "reaper": switch_off_reaper,
}


def main() -> None:
    """Takes the first argument away, does what it says, and is `clusterkit` from there on."""
    SABOTAGES[sys.argv.pop(1)]()
    clusterkit()


if __name__ == "__main__":
    main()
