"""Every key and channel in Redis, in one place.

All carry the hash tag `{0}`, so one script may touch whatever it needs. Names that people chose are escaped
here and nowhere else, so that no room name can leave its place. What is in each key is in app/DESIGN.md and in
the header of the script that writes it.
"""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from ..wire import RoomId

EVERYBODY = "*"  # not in SAFE, so no room can be called that
SAFE = "/-_.!~'()"  # what stays readable; '|', '*', '{', '}', '%', ':' and blanks are escaped
ROOMS_CACHED = 65_536


@dataclass(frozen=True, slots=True)
class RoomKeys:
    """The keys and the channel of one room. `field` is its name in the index and in a socket's hash."""

    field: str
    log: str
    last: str
    members: str
    roster: str
    channel: str


class Keys:
    """The keys under one prefix (clusters that share a Redis have different ones)."""

    def __init__(self, prefix: str) -> None:
        base = f"{prefix}:{{0}}:"
        self._base = base
        self.clock = f"{base}clock"
        self.rooms = f"{base}rooms"  # sorted set: room field -> member count
        self.nodes = f"{base}nodes"  # hash: node id -> heartbeat, address, ... as JSON
        self.guests = f"{base}guests"  # hash: kind of guest -> last number given out
        self.epoch = f"{base}epoch"  # string: made when Redis was last empty
        self.broken = f"{base}broken"  # string: clock up to which Redis has lost entries that were delivered
        self.away = f"{base}away"  # sorted set: sid -> ms at which its grace ends
        self.room = lru_cache(ROOMS_CACHED)(self._room)

    def _room(self, room: RoomId) -> RoomKeys:
        field = room_field(room)
        key = f"{self._base}room:{field}:"
        return RoomKeys(
            field, f"{key}log", f"{key}last", f"{key}members", f"{key}roster", f"{self._base}channel:{field}"
        )

    def socket(self, sid: str) -> str:
        """Hash: `n` node or "" (away), `g` generation, `s` namespace, `e` entered everybody, `l` lineage,
        `t` clock of the newest connection, `a` ms of the last sign of life, `c` confirmed clock, `r:<room>`
        entered, `f:<room>` farewell, `x:<room>` entered and nickname where it left while away, `y` lines
        `<left> <entered> <room>` of rooms it has left otherwise, `u` clock of the newest such stay that was
        forgotten, `z` clock at which it was written anew, `d:<key>` bound data (JSON).
        """
        return f"{self._base}socket:{quote(sid, safe='')}"

    def socket_log(self, sid: str) -> str:
        """Stream: what was sent to this socket alone."""
        return f"{self.socket(sid)}:log"

    def socket_last(self, sid: str) -> str:
        """String: clock of the newest entry of `socket_log`."""
        return f"{self.socket(sid)}:last"

    def writer(self, writer_id: str) -> str:
        """Hash: `applied` number of the last append, and the replies of the newest pipeline by number."""
        return f"{self._base}writer:{writer_id}"

    def sent(self, sid: str, lineage: str) -> str:
        """Sorted set: message id -> clock, of what one client has sent: through all its sockets where it has a
        lineage, which it may have made up, so that those of others are never taken for one."""
        return f"{self._base}sent:{f'lineage:{quote(lineage)}' if lineage else f'sid:{quote(sid)}'}"

    def node_sockets(self, node_id: str) -> str:
        """Set: sids to put away if the node dies."""
        return f"{self._base}node:{node_id}:sockets"

    def inbox(self, node_id: str) -> str:
        """Channel: what goes to single sockets of a node, and to the node itself."""
        return f"{self.inbox_prefix}{node_id}"

    @property
    def inbox_prefix(self) -> str:
        """What a script puts before a node's id to reach its inbox."""
        return f"{self._base}inbox:"


def room_field(room: RoomId) -> str:
    """`<namespace>|<name>`, both escaped; `*` is everybody."""
    name = EVERYBODY if room.name is None else quote(room.name, safe=SAFE)
    return f"{quote(room.namespace, safe=SAFE)}|{name}"


def room_of_field(field: str) -> RoomId:
    """The room a field names; the inverse of `room_field`."""
    namespace, name = field.split("|", 1)
    return RoomId(unquote(namespace), None if name == EVERYBODY else unquote(name))
