"""Keys: no name that people chose can leave its place, or be taken for another's."""

from itertools import combinations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.node import new_sid
from app.store.keys import Keys, room_field, room_of_field
from app.wire import RoomId

light = settings(max_examples=150, deadline=None, database=None, derandomize=True)

# Everything that has a meaning in a key, in a pattern, in an escape, or in a path.
SPECIAL = st.sampled_from(
    ["*", "|", "{", "}", "{0}", "%", "%2A", "%7C", ":", ":log", " ", "\n", "\0", "/", "?", ""]
)
PLAIN = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.lists(SPECIAL | PLAIN, max_size=4).map("".join)
ROOMS = st.builds(RoomId, NAMES, st.none() | NAMES)
KEYS = Keys("sio")
BASE = "sio:{0}:"


def names_of(room: RoomId) -> list[str]:
    """Every key and channel of a room."""
    keys = KEYS.room(room)
    return [keys.log, keys.last, keys.members, keys.roster, keys.channel]


@light
@given(ROOMS, ROOMS)
@example(RoomId("/", None), RoomId("/", "*"))
@example(RoomId("/", None), RoomId("/", ""))
@example(RoomId("/", "%2A"), RoomId("/", "*"))
@example(RoomId("/a", "b"), RoomId("/a|b", ""))
@example(RoomId("/a", "|b"), RoomId("/a|", "b"))
@example(RoomId("/", "a"), RoomId("/", "a:log"))
def test_two_rooms_never_share_a_key(one: RoomId, other: RoomId) -> None:
    if one == other:
        assert names_of(one) == names_of(other)
    else:
        assert not set(names_of(one)) & set(names_of(other))
        assert room_field(one) != room_field(other)


@light
@given(ROOMS)
def test_a_field_names_its_room(room: RoomId) -> None:
    assert room_of_field(room_field(room)) == room


@light
@given(ROOMS)
def test_a_rooms_names_do_not_leave_their_place(room: RoomId) -> None:
    field = room_field(room)
    assert names_of(room) == [
        *(f"{BASE}room:{field}:{what}" for what in ("log", "last", "members", "roster")),
        f"{BASE}channel:{field}",
    ]
    assert not set(field) & set("{}: \n\0*?[]\\") or field.endswith("|*")
    assert field.count("|") == 1
    assert field.isascii()
    for name in names_of(room):
        assert name.index("{0}") == name.index("{"), "the first tag is the one that names the slot"


@light
@given(st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_two_sockets_never_share_a_key(sids: list[str]) -> None:
    one, other = ({KEYS.socket(sid), KEYS.socket_log(sid), KEYS.socket_last(sid)} for sid in sids)
    assert len(one) == len(other) == 3
    assert not one & other


@light
@given(ROOMS, NAMES)
def test_a_room_and_a_socket_never_share_a_key(room: RoomId, sid: str) -> None:
    assert not set(names_of(room)) & {KEYS.socket(sid), KEYS.socket_log(sid), KEYS.socket_last(sid)}


def test_keys_of_different_kinds_are_different() -> None:
    node_id, sid = "0123abcd", new_sid()
    kinds = [
        *(KEYS.clock, KEYS.rooms, KEYS.nodes, KEYS.guests, KEYS.writer(node_id), KEYS.node_sockets(node_id)),
        *(KEYS.inbox(node_id), KEYS.socket(sid), KEYS.socket_log(sid), KEYS.socket_last(sid)),
        *(KEYS.away, KEYS.epoch, KEYS.sent(sid, ""), KEYS.sent(sid, sid)),
        *names_of(RoomId("/", sid)),
        *names_of(RoomId("/", None)),
    ]
    assert len(set(kinds)) == len(kinds)
    assert all(kind.startswith(BASE) for kind in kinds)
    assert KEYS.inbox(node_id) == KEYS.inbox_prefix + node_id


def test_clusters_with_different_prefixes_share_nothing() -> None:
    room = RoomId("/", "den")
    names = [
        {
            *(keys.clock, keys.rooms, keys.nodes, keys.guests, keys.away, keys.epoch, keys.sent("sid", "lineage")),
            *(keys.room(room).log, keys.room(room).channel),
        }
        for keys in (Keys("a"), Keys("a-b"), Keys("b"))
    ]
    assert not any(one & other for one, other in combinations(names, 2))


@pytest.mark.parametrize("name", ["den", "우리방", "a b", "50%", "*"])
def test_a_readable_name_stays_readable_or_is_escaped(name: str) -> None:
    field = room_field(RoomId("/", name))
    assert field.startswith("/|")
    assert (field == f"/|{name}") == (name == "den")
