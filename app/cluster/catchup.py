"""Reads from the streams what a node missed.

One script call answers for many logs and puts a marker into the node's inbox at the same instant, which
tells `cluster.relay` where in its subscription the answer ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import StoreUnavailable
from ..store.keys import Keys
from ..store.redis import Store
from ..store.scripts import script
from .local import Cursor, LocalRoom, LocalSocket

# Entries in one answer: at a chat's usual 200 bytes an entry, a megabyte.
ENTRIES_PER_READ = 5_000


@dataclass(frozen=True, slots=True)
class Tail:
    """What was missed, in order: clock, prev, body. Not `complete`: there is more behind it."""

    entries: list[tuple[int, int, bytes]]
    complete: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """The log was never read: its newest clock, and sid -> nickname of the members at that clock."""

    last: int
    members: dict[str, str]


@dataclass(frozen=True, slots=True)
class Lost:
    """What was delivered last is not in the log's past any more. Otherwise as `Standing`."""

    last: int
    members: dict[str, str]


class TailReader:
    """Asks Redis for tails."""

    def __init__(self, store: Store, keys: Keys, inbox: str) -> None:
        self._store = store
        self._keys = keys
        self._inbox = inbox

    async def read(
        self, cursors: Sequence[Cursor], read_to: dict[Cursor, int], marker: bytes
    ) -> list[Tail | Standing | Lost]:
        """An answer for each cursor, from `read_to` on or else from its position.

        Raises StoreUnavailable.
        """
        keys = [key for cursor in cursors for key in self._keys_of(cursor)]
        seen = [read_to.get(cursor, cursor.position) for cursor in cursors]
        args = [self._inbox, marker, ENTRIES_PER_READ, *("" if at is None else at for at in seen)]
        answers = await self._store.run(script("tail_read"), keys, args)
        if len(answers) != len(cursors):
            raise StoreUnavailable(f"asked for {len(cursors)} tails, got {len(answers)}")
        return [_parse(answer) for answer in answers]

    def _keys_of(self, cursor: Cursor) -> tuple[str, str, str]:
        if isinstance(cursor, LocalRoom):
            keys = self._keys.room(cursor.room)
            return keys.log, keys.last, keys.members if cursor.room.name is not None else keys.log
        assert isinstance(cursor, LocalSocket)
        log = self._keys.socket_log(cursor.sid)
        return log, self._keys.socket_last(cursor.sid), log


def _parse(answer: list[bytes]) -> Tail | Standing | Lost:
    word, *rest = answer
    if word in (b"same", b"tail", b"part"):
        entries = [(int(clock), int(prev), body) for clock, prev, body in zip(*[iter(rest)] * 3, strict=True)]
        return Tail(entries, complete=word != b"part")
    last, *pairs = rest
    kind = Standing if word == b"fresh" else Lost
    members = sorted(zip(*[iter(pairs)] * 2, strict=True), key=lambda pair: int(pair[1].split(b" ", 1)[0]))
    return kind(int(last), {sid.decode(): nickname_of(member) for sid, member in members})


def nickname_of(member: bytes) -> str:
    """The nickname in a member's record, `<entered> <generation> <node id> <nickname>`."""
    return member.split(b" ", 3)[3].decode()
