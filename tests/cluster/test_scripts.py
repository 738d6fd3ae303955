"""What the Lua operations do to Redis, asked of Redis itself.

Those by which a client comes back are in `test_recovery_scripts.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from app.cluster.local import LocalSocket
from app.errors import NicknameTaken, NoSuchMember, NotConnected, Refused, Stale
from app.settings import load_settings
from app.store.scripts import all_scripts
from app.wire import Event, RoomId, decode_body, event_packet
from tests.store.appending import ATTIC, DEN, Appending, appending, assert_chained
from tests.store.bare_node import BareNode, bare_node
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

EVERYBODY = RoomId("/", None)
SAID = event_packet("/", "said", "hello")
WINDOW_S = 60
KEPT_S = load_settings(recovery_window_s=WINDOW_S).log_max_age_s


@pytest.fixture
async def writing(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[Appending]:
    async with appending(redis_server, key_prefix) as made:
        yield made


@pytest.fixture
async def node(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[BareNode]:
    async with bare_node(redis_server.url, key_prefix, recovery_window_s=WINDOW_S) as made:
        yield made


def now_us(redis: RedisServer) -> int:
    seconds, micros = redis.command("TIME")
    return int(seconds) * 1_000_000 + int(micros)


# --- clocks ------------------------------------------------------------------------------------------------


async def test_a_clock_is_the_time_in_microseconds(redis_server: RedisServer, writing: Appending) -> None:
    before = now_us(redis_server)
    clock = await writing.append("x")
    assert before <= clock <= now_us(redis_server)


async def test_clocks_rise_even_where_redis_last_clock_is_ahead_of_its_time(
    redis_server: RedisServer, writing: Appending
) -> None:
    ahead = now_us(redis_server) + 3_600_000_000
    redis_server.command("SET", writing.keys.clock, ahead)
    clocks = await asyncio.gather(*(writing.append(n) for n in range(5)))
    assert clocks == [ahead + n for n in range(1, 6)]
    assert redis_server.command("GET", writing.keys.clock) == str(ahead + 5)


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "behind"])
async def test_clocks_rise_above_what_the_node_has_seen_where_redis_knows_less(
    redis_server: RedisServer, writing: Appending, *, lost: bool
) -> None:
    await writing.append("before")
    seen = now_us(redis_server) + 3_600_000_000
    writing.highest.saw(seen)
    if lost:
        redis_server.command("DEL", writing.keys.clock)
    clocks = await asyncio.gather(*(writing.append(n) for n in range(5)))
    assert clocks == [seen + n for n in range(1, 6)]
    assert_chained(writing.entries())


async def test_a_node_that_has_seen_less_does_not_turn_the_clock_back(
    redis_server: RedisServer, writing: Appending
) -> None:
    ahead = await writing.append(1)
    async with appending(redis_server, writing.keys.clock.split(":")[0], node_id="other") as other:
        assert other.highest.value == 0
        assert await other.append(2) > ahead


async def test_notices_have_a_clock_of_the_same_order_and_are_stored_nowhere(writing: Appending) -> None:
    one = await writing.append(1)
    notice = await writing.log.notify_room(DEN, Event(SAID))
    other = await writing.append(2)
    assert one < notice < other
    assert writing.values() == [1, 2]


# --- logs --------------------------------------------------------------------------------------------------


async def test_each_entry_names_the_one_before_it_in_its_own_room(writing: Appending) -> None:
    writing.plant_member(ATTIC)
    await asyncio.gather(*(writing.append(n, [DEN, ATTIC, DEN][n % 3]) for n in range(30)))
    for room in (DEN, ATTIC):
        assert_chained(writing.entries(room))
        last = writing.redis.command("GET", writing.keys.room(room).last)
        assert int(last) == writing.entries(room)[-1][0]
    assert len(writing.entries(DEN)) == 20


async def test_an_event_to_several_rooms_has_one_clock_and_each_rooms_own_prev(writing: Appending) -> None:
    writing.plant_member(ATTIC)
    before = await writing.append("before")
    clock = await writing.log.append_to_rooms([DEN, ATTIC, RoomId("/", "empty")], SAID)
    assert writing.entries(DEN)[-1] == (clock, before, "hello")
    assert writing.entries(ATTIC) == [(clock, 0, "hello")]
    assert writing.entries(RoomId("/", "empty")) == []


async def test_a_room_without_members_stores_nothing(writing: Appending) -> None:
    assert await writing.append("x", ATTIC) == 0
    assert await writing.log.append_to_rooms([ATTIC], SAID) == 0
    assert not writing.redis.command("EXISTS", writing.keys.room(ATTIC).log, writing.keys.room(ATTIC).last)


async def test_a_log_keeps_the_newest_entries_by_count(key_prefix: str) -> None:
    # One entry in a node of the stream, so that `MAXLEN ~` is exact.
    with RedisServer(stream_node_max_entries="1") as redis:
        async with appending(redis, key_prefix, log_max_entries=10) as made:
            await asyncio.gather(*(made.append(n) for n in range(40)))
            assert made.values() == list(range(30, 40))


async def test_a_log_forgets_what_nobody_can_have_missed_any_more(key_prefix: str) -> None:
    with RedisServer(stream_node_max_entries="1") as redis:
        async with appending(redis, key_prefix, recovery_window_s=WINDOW_S) as made:
            keys, now = made.keys.room(DEN), now_us(redis)
            for age_s in (300, KEPT_S + 1, KEPT_S - 1):
                body = f'e -\n2["said",{age_s}]'
                redis.command("XADD", keys.log, f"{now - age_s * 1_000_000}-0", "p", 0, "b", body)
            redis.command("SET", keys.last, now - (KEPT_S - 1) * 1_000_000)
            await made.append("new")
            assert made.values() == [KEPT_S - 1, "new"]


async def test_a_log_has_a_ttl_from_its_rooms_last_member_to_its_next(
    redis_server: RedisServer, node: BareNode
) -> None:
    keys = node.cluster.keys.room(DEN)
    ttls = [f"redis.call('TTL', '{key}')" for key in (keys.log, keys.last)]

    def ttl() -> list[int]:
        found: list[int] = redis_server.command("EVAL", f"return {{{', '.join(ttls)}}}", 0)
        return found

    one, other = await node.socket(DEN), await node.socket(DEN)
    assert ttl() == [-1, -1]
    await node.cluster.roster.leave(one.sid, DEN)
    assert ttl() == [-1, -1]
    await node.cluster.roster.leave(other.sid, DEN)
    assert all(WINDOW_S < each <= KEPT_S for each in ttl())
    await node.socket(DEN)
    await node.cluster.log.append(DEN, SAID)
    assert ttl() == [-1, -1]
    await node.cluster.roster.close(DEN)
    assert all(WINDOW_S < each <= KEPT_S for each in ttl())


async def test_everybodys_log_has_a_ttl_once_nobody_is_connected(
    redis_server: RedisServer, node: BareNode
) -> None:
    keys = node.cluster.keys.room(EVERYBODY)
    socket = await node.socket()
    await node.cluster.log.append(EVERYBODY, SAID)
    assert redis_server.command("TTL", keys.log) == -1
    await node.disconnect(socket)
    assert WINDOW_S < redis_server.command("TTL", keys.log) <= KEPT_S
    assert WINDOW_S < redis_server.command("TTL", keys.last) <= KEPT_S
    await node.socket()
    assert redis_server.command("TTL", keys.log) == -1


# --- generations -------------------------------------------------------------------------------------------

Act = Callable[[BareNode, LocalSocket], Awaitable[Any]]

ACTS: dict[str, Act] = {
    "event_append": lambda node, socket: node.cluster.log.append(DEN, SAID, actor=socket),
    "message_append": lambda node, socket: node.cluster.log.append(
        DEN, SAID, actor=socket, message_id="1", settle=lambda clock: clock
    ),
    "whisper_append": lambda node, socket: node.cluster.log.whisper(DEN, "kim", SAID, actor=socket),
    "member_enter": lambda node, socket: node.cluster.roster.enter(socket, ATTIC, "new", data={"room": "attic"}),
    "member_rename": lambda node, socket: node.cluster.roster.rename(socket, DEN, "new", data={"nickname": "new"}),
    "member_leave": lambda node, socket: node.cluster.roster.leave(
        socket.sid, DEN, generation=socket.generation
    ),
    "socket_disconnect": lambda node, socket: node.cluster.sockets.disconnect(
        socket.sid, socket.namespace, socket.generation
    ),
    "socket_away": lambda node, socket: node.cluster.sessions.put_away(
        socket.sid, socket.generation, silent_s=0, confirmed=0
    ),
}
# These clean up behind a socket that is not there.
CLEANING = {"socket_disconnect", "socket_away"}


async def content(node: BareNode, redis: RedisServer) -> dict[str, Any]:
    """Every key of this cluster but the heartbeats and the writer's own -> its value."""
    keys = node.cluster.keys
    own = {keys.nodes, keys.writer(node.cluster.node.node_id)}
    async with redis.client(decode_responses=False) as client:
        prefix = keys.clock.removesuffix("{0}:clock")
        found = [key async for key in client.scan_iter(f"{prefix}*") if key.decode() not in own]
        return {key.decode(): await client.dump(key) for key in found}


@pytest.mark.parametrize("act", ACTS)
async def test_a_generation_that_was_taken_over_changes_nothing(
    redis_server: RedisServer, node: BareNode, act: str
) -> None:
    socket = await node.socket(DEN, nickname="kim")
    redis_server.command("HSET", node.cluster.keys.socket(socket.sid), "g", "2")
    before = await content(node, redis_server)
    with pytest.raises(Stale):
        await ACTS[act](node, socket)
    assert await content(node, redis_server) == before


@pytest.mark.parametrize("act", [name for name in ACTS if name not in CLEANING])
async def test_a_socket_that_redis_lost_changes_nothing(
    redis_server: RedisServer, node: BareNode, act: str
) -> None:
    socket = await node.socket(DEN, nickname="kim")
    redis_server.command("DEL", node.cluster.keys.socket(socket.sid))
    before = await content(node, redis_server)
    with pytest.raises(Stale):
        await ACTS[act](node, socket)
    assert await content(node, redis_server) == before


@pytest.mark.parametrize("act", ACTS)
async def test_the_generation_that_owns_its_socket_may_act(node: BareNode, act: str) -> None:
    socket = await node.socket(DEN, nickname="kim")
    await ACTS[act](node, socket)


def test_every_script_that_checks_a_generation_is_tried() -> None:
    own = {each.name: each.source.partition("local reply = begin()")[2] for each in all_scripts()}
    # the others: in `test_recovery_scripts.py`
    others = {"socket_take", "socket_restore"}
    assert set(ACTS) | others == {name for name, source in own.items() if "stale(" in source}


async def test_a_server_on_another_node_may_end_a_membership_without_a_generation(node: BareNode) -> None:
    socket = await node.socket(DEN)
    assert await node.cluster.roster.leave(socket.sid, DEN)
    assert await node.cluster.roster.leave(socket.sid, DEN) == 0


# --- rosters -----------------------------------------------------------------------------------------------


async def roster_of(node: BareNode, redis: RedisServer, room: RoomId = DEN) -> dict[str, str]:
    """nickname -> sid, as Redis has it."""
    found: dict[str, str] = redis.command("HGETALL", node.cluster.keys.room(room).roster)
    return found


async def test_a_nickname_is_had_by_one_member_however_many_ask_at_once(
    redis_server: RedisServer, node: BareNode
) -> None:
    sockets = [await node.socket() for _ in range(5)]
    found = await asyncio.gather(
        *(node.cluster.roster.enter(socket, DEN, "kim") for socket in sockets), return_exceptions=True
    )
    assert [isinstance(each, NicknameTaken) for each in found].count(True) == 4
    members = await node.cluster.roster.members(DEN)
    assert [member.nickname for member in members] == ["kim"]
    assert await roster_of(node, redis_server) == {"kim": members[0].sid}


async def test_a_nickname_is_free_again_after_a_leave_and_after_a_rename(
    redis_server: RedisServer, node: BareNode
) -> None:
    one, other = await node.socket(DEN, nickname="kim"), await node.socket(DEN, nickname="lee")
    with pytest.raises(NicknameTaken):
        await node.cluster.roster.rename(other, DEN, "kim")
    assert await roster_of(node, redis_server) == {"kim": one.sid, "lee": other.sid}
    await node.cluster.roster.rename(one, DEN, "park")
    await node.cluster.roster.rename(other, DEN, "kim")
    assert await roster_of(node, redis_server) == {"park": one.sid, "kim": other.sid}
    await node.cluster.roster.leave(other.sid, DEN)
    assert await roster_of(node, redis_server) == {"park": one.sid}
    third = await node.socket(DEN, nickname="kim")
    assert await roster_of(node, redis_server) == {"park": one.sid, "kim": third.sid}


async def test_a_nickname_may_be_in_two_rooms_at_once(node: BareNode) -> None:
    await node.socket(DEN, nickname="kim")
    await node.socket(ATTIC, nickname="kim")
    await node.socket(RoomId("/lobby", "den"), nickname="kim")
    assert await node.cluster.roster.rooms() == {DEN: 1, ATTIC: 1, RoomId("/lobby", "den"): 1}


async def test_members_without_a_nickname_are_any_number(redis_server: RedisServer, node: BareNode) -> None:
    for _ in range(3):
        await node.socket(DEN)
    assert await node.cluster.roster.count(DEN) == 3
    assert await roster_of(node, redis_server) == {}


async def test_a_rename_to_the_same_nickname_is_no_entry(node: BareNode, redis_server: RedisServer) -> None:
    socket = await node.socket(DEN, nickname="kim")
    length = redis_server.command("XLEN", node.cluster.keys.room(DEN).log)
    await node.cluster.roster.rename(socket, DEN, "kim")
    assert redis_server.command("XLEN", node.cluster.keys.room(DEN).log) == length


@pytest.mark.parametrize("nickname", ["kim lee", "김\n이", "1 2 3", " ", "%d+", "\0"])
async def test_a_rename_keeps_when_the_member_entered(node: BareNode, nickname: str) -> None:
    one = await node.socket(DEN, nickname=f"{nickname} before")
    await node.socket(DEN, nickname="lee")
    before = await node.cluster.roster.members(DEN)
    await node.cluster.roster.rename(one, DEN, nickname)
    after = await node.cluster.roster.members(DEN)
    assert [(member.sid, member.entered) for member in after] == [
        (member.sid, member.entered) for member in before
    ]
    assert [member.nickname for member in after] == [nickname, "lee"]
    assert after[0].node_id == node.cluster.node.node_id


async def test_a_rename_of_somebody_who_is_no_member_is_refused(node: BareNode) -> None:
    socket = await node.socket()
    with pytest.raises(NotConnected):
        await node.cluster.roster.rename(socket, DEN, "kim")


async def test_entering_again_is_no_second_entry(node: BareNode, redis_server: RedisServer) -> None:
    socket = await node.socket(DEN, nickname="kim")
    entered = (await node.cluster.roster.members(DEN))[0].entered
    keys = node.cluster.keys.room(DEN)
    length = redis_server.command("XLEN", keys.log)
    assert not await node.cluster.roster.enter(socket, DEN, "lee")
    # As after an answer that was lost: this node does not know yet that it is a member.
    answer = await node.cluster.roster._submit_enter(socket, DEN, "lee", b"", "", {})
    assert answer == (False, entered)
    assert [member.nickname for member in await node.cluster.roster.members(DEN)] == ["kim"]
    assert redis_server.command("XLEN", keys.log) == length


async def test_a_room_cannot_have_the_name_of_a_socket(node: BareNode) -> None:
    one, other = await node.socket(), await node.socket()
    with pytest.raises(Refused) as error:
        await node.cluster.roster.enter(one, RoomId("/", other.sid))
    assert error.value.code == "reserved_name"
    assert await node.cluster.roster.rooms() == {}


async def test_bound_data_changes_with_the_roster(node: BareNode) -> None:
    socket = await node.socket()
    get = node.cluster.sockets.get
    await node.cluster.roster.enter(socket, DEN, "kim", data={"nickname": "kim", "room": ["den", None]})
    assert await get(socket.sid, "nickname") == "kim"
    assert await get(socket.sid, "room") == ["den", None]
    with pytest.raises(NicknameTaken):
        other = await node.socket(DEN, nickname="lee")
        await node.cluster.roster.rename(other, DEN, "kim", data={"nickname": "kim"})
    assert await get(other.sid, "nickname") is None
    await node.cluster.roster.rename(socket, DEN, "park", data={"nickname": "park"})
    assert await get(socket.sid, "nickname") == "park"


async def test_bound_data_of_a_socket_that_is_not_connected_is_refused(node: BareNode) -> None:
    socket = await node.socket()
    await node.disconnect(socket)
    for refused in (
        node.cluster.sockets.set(socket.sid, "x", 1),
        node.cluster.sockets.delete(socket.sid, "x"),
        node.cluster.sockets.get(socket.sid, "x"),
        node.cluster.log.append_to_socket("/", socket.sid, SAID),
        node.cluster.log.disconnect("/", socket.sid),
    ):
        with pytest.raises(NotConnected):
            await refused


async def test_a_socket_is_not_reached_in_another_namespace(node: BareNode) -> None:
    socket = await node.socket()
    with pytest.raises(NotConnected):
        await node.cluster.log.append_to_socket("/lobby", socket.sid, SAID)


async def test_guests_are_counted_across_nodes_and_by_kind(node: BareNode, redis_server: RedisServer) -> None:
    prefix = node.cluster.keys.clock.split(":")[0]
    async with bare_node(redis_server.url, prefix) as other:
        asked = [each.cluster.guests.next("room") for each in (node, other) for _ in range(5)]
        assert sorted(await asyncio.gather(*asked)) == list(range(1, 11))
        assert await other.cluster.guests.next("lobby") == 1


# --- closing -----------------------------------------------------------------------------------------------


async def test_a_room_is_closed_whole_even_where_its_members_change_meanwhile(
    redis_server: RedisServer, node: BareNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    sockets = [await node.socket(DEN, nickname=f"n{n}") for n in range(3)]
    members, reads = node.cluster.roster.members, 0

    async def changing(room_id: RoomId) -> Any:
        nonlocal reads
        reads += 1
        found = await members(room_id)
        if reads == 1:  # one comes and one goes, so that the count is the same
            await node.cluster.roster.leave(sockets[0].sid, DEN)
            sockets.append(await node.socket(DEN, nickname="new"))
        elif reads == 2:
            sockets.append(await node.socket(DEN, nickname="newer"))
        return found

    monkeypatch.setattr(node.cluster.roster, "members", changing)
    assert await node.cluster.roster.close(DEN)
    assert reads == 3
    keys = node.cluster.keys.room(DEN)
    assert not redis_server.command("EXISTS", keys.members, keys.roster)
    assert await node.cluster.roster.rooms() == {}
    for socket in sockets:
        fields = redis_server.command("HKEYS", node.cluster.keys.socket(socket.sid))
        assert sorted(fields) == ["e", "g", "n", "s", "t"]
    await eventually(lambda: not any(DEN in socket.rooms for socket in sockets))


async def test_closing_a_room_that_is_not_there_is_no_entry(redis_server: RedisServer, node: BareNode) -> None:
    assert await node.cluster.roster.close(DEN) == 0
    assert not redis_server.command("EXISTS", node.cluster.keys.room(DEN).log)


# --- whispers ----------------------------------------------------------------------------------------------


async def last_event(node: BareNode, redis: RedisServer) -> Event:
    newest = redis.command("XREVRANGE", node.cluster.keys.room(DEN).log, "+", "-", "COUNT", 1)
    payload = decode_body(newest[0][1]["b"].encode())
    assert isinstance(payload, Event)
    return payload


async def test_a_whisper_goes_to_who_has_the_nickname_by_then(redis_server: RedisServer, node: BareNode) -> None:
    sender = await node.socket(DEN, nickname="sender")
    kim, lee = await node.socket(DEN, nickname="kim"), await node.socket(DEN, nickname="lee")
    roster, log = node.cluster.roster, node.cluster.log
    renames = (roster.rename(kim, DEN, "park"), roster.rename(lee, DEN, "kim"))
    answers = [asyncio.create_task(rename) for rename in renames]
    await asyncio.sleep(0)  # both have their place in the order
    whisper = log.whisper(DEN, "kim", SAID, actor=sender)  # before any of the three has an answer
    assert node.cluster.locals.rooms[DEN].roster[kim.sid] == "kim"
    await asyncio.gather(*answers, whisper)
    assert (await last_event(node, redis_server)).to == (sender.sid, lee.sid)
    await eventually(lambda: node.heard(lee) == ["hello"])
    assert node.heard(sender) == ["hello"]
    assert node.heard(kim) == []


async def test_a_whisper_to_nobody_is_refused_and_stored_nowhere(
    redis_server: RedisServer, node: BareNode
) -> None:
    sender = await node.socket(DEN, nickname="sender")
    length = redis_server.command("XLEN", node.cluster.keys.room(DEN).log)
    for nickname in ("nobody", "", sender.sid):
        with pytest.raises(NoSuchMember):
            await node.cluster.log.whisper(DEN, nickname, SAID, actor=sender)
    assert redis_server.command("XLEN", node.cluster.keys.room(DEN).log) == length


@pytest.mark.parametrize("text", ["\0", '"', "\\u0000", '",""]', "김"])
async def test_a_whisper_carries_any_text_to_any_nickname(
    redis_server: RedisServer, node: BareNode, text: str
) -> None:
    sender = await node.socket(DEN, nickname="sender")
    kim = await node.socket(DEN, nickname=f"kim{text}")
    packet = event_packet("/", "said", text, text)
    await node.cluster.log.whisper(DEN, f"kim{text}", packet, actor=sender)
    assert await last_event(node, redis_server) == Event(packet, to=(sender.sid, kim.sid))


# --- what is left ------------------------------------------------------------------------------------------


async def test_nothing_is_left_of_a_socket_but_what_has_a_ttl(own_redis: RedisServer, key_prefix: str) -> None:
    async with bare_node(own_redis.url, key_prefix, recovery_window_s=60) as node:
        await node.cluster.guests.next("room")
        one = await node.socket(DEN, ATTIC, nickname="kim")
        other = await node.socket(DEN, RoomId("/", "*|{}"), nickname="lee")
        elsewhere = await node.socket(RoomId("/lobby", "den"), nickname="kim")
        await node.cluster.sockets.set(one.sid, "key", {"a": 1})
        await node.cluster.log.append(DEN, SAID, actor=one)
        await node.cluster.log.append(EVERYBODY, SAID)
        await node.cluster.log.append_to_rooms([DEN, ATTIC], SAID)
        await node.cluster.log.append_to_socket("/", one.sid, SAID)
        await node.cluster.log.whisper(DEN, "lee", SAID, actor=one)
        await node.cluster.roster.rename(one, DEN, "park", data={"nickname": "park"})
        await node.cluster.roster.leave(other.sid, DEN)
        await node.cluster.roster.close(ATTIC)
        for socket in (one, other, elsewhere):
            await node.disconnect(socket)
        keys = node.cluster.keys
        lasting = [key for key in own_redis.command("KEYS", "*") if own_redis.command("TTL", key) == -1]
        assert sorted(lasting) == sorted([keys.clock, keys.epoch, keys.guests, keys.nodes])
        await eventually(
            lambda: own_redis.command("PUBSUB", "CHANNELS") == [keys.inbox(node.cluster.node.node_id)]
        )
        limit = own_redis.command("TTL", keys.writer(node.cluster.node.node_id))
        assert 0 < limit <= 86_400
    assert not own_redis.command("EXISTS", keys.nodes)


async def test_a_socket_that_enters_twice_at_once_leaves_no_subscription(
    redis_server: RedisServer, node: BareNode
) -> None:
    socket = await node.socket()
    await asyncio.gather(*(node.cluster.roster.enter(socket, DEN) for _ in range(2)))
    assert await node.cluster.roster.count(DEN) == 1
    await node.disconnect(socket)
    await eventually(lambda: DEN not in node.cluster.locals.rooms, within_s=1)


async def test_a_socket_that_disconnects_in_the_middle_of_entering_leaves_nothing(
    own_redis: RedisServer, key_prefix: str
) -> None:
    async with bare_node(own_redis.url, key_prefix, recovery_window_s=60) as node:
        socket = await node.socket()
        entering = asyncio.create_task(node.cluster.roster.enter(socket, DEN, "kim"))
        await eventually(lambda: DEN in socket.rooms, every_s=0)
        await node.disconnect(socket)
        await asyncio.gather(entering, return_exceptions=True)
        assert await node.cluster.roster.rooms() == {}
        assert await node.cluster.roster.members(DEN) == []
        await eventually(lambda: DEN not in node.cluster.locals.rooms)
