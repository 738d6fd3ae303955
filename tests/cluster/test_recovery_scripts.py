"""What the Lua operations do by which a client comes back: its socket is put away, taken, buried and forgotten.

What it then gets is in `test_missed_read.py`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.cluster.local import LocalSocket
from app.cluster.sessions import REPLAY_MAX_S, Session, confirmed_since
from app.errors import NotConnected, Stale
from app.store.scripts import script
from app.wire import (
    Direct,
    Disconnect,
    Event,
    RoomId,
    Taken,
    decode,
    decode_body,
    encode_body,
    event_packet,
    to_json,
)
from tests.store.appending import ATTIC, DEN, Appending, appending
from tests.store.bare_node import BareNode, bare_node
from tests.support.redis_server import RedisServer

EVERYBODY = RoomId("/", None)
SAID = event_packet("/", "said", "hello")
WINDOW_S = 60
STAYS_MAX = 32
SLACK_MS = 10_000  # a test takes no longer
CONFIRMED = 1_000


# A socket that was connected so many µs behind the clock before which it must have been, and what it has then.
at_the_border = pytest.mark.parametrize(("behind_us", "confirmed"), [(0, str(CONFIRMED)), (1, None)])


@pytest.fixture
async def node(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[BareNode]:
    async with one_node(redis_server, key_prefix) as made:
        yield made


@pytest.fixture
async def other(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[BareNode]:
    async with one_node(redis_server, key_prefix) as made:
        yield made


@pytest.fixture
async def writing(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[Appending]:
    async with appending(redis_server, key_prefix) as made:
        yield made


@contextlib.asynccontextmanager
async def one_node(redis: RedisServer, key_prefix: str) -> AsyncIterator[BareNode]:
    """A node that does nothing by itself: without heartbeats it looks after nobody."""
    async with bare_node(redis.url, key_prefix, recovery_window_s=WINDOW_S) as made:
        await made.cluster.nodes.leave()
        yield made


def now_ms(redis: RedisServer) -> int:
    seconds, micros = redis.command("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def fields_of(node: BareNode, redis: RedisServer, sid: str) -> dict[str, str]:
    found: dict[str, str] = redis.command("HGETALL", node.cluster.keys.socket(sid))
    return found


def held_by(node: BareNode, redis: RedisServer) -> set[str]:
    """The sids that are a node's to hold."""
    return set(redis.command("SMEMBERS", node.cluster.keys.node_sockets(node.cluster.node.node_id)))


def away(node: BareNode, redis: RedisServer) -> dict[str, int]:
    """sid -> ms at which its grace ends."""
    key = node.cluster.keys.away
    return {sid: int(float(redis.command("ZSCORE", key, sid))) for sid in redis.command("ZRANGE", key, 0, -1)}


def place(node: BareNode, redis: RedisServer, room: RoomId, sid: str) -> str | None:
    """entered, generation, node and nickname."""
    found: str | None = redis.command("HGET", node.cluster.keys.room(room).members, sid)
    return found


async def session_of(node: BareNode, sid: str) -> Session:
    (session,) = await node.cluster.sessions.read([sid])
    assert session is not None
    return session


async def put_away(
    node: BareNode, socket: LocalSocket, *, silent_ms: int = 0, grace_ms: int = 5000, since: int = 0
) -> bytes:
    keys = node.cluster.keys
    reply: bytes = await node.cluster.writer.submit(
        script("socket_away"),
        (keys.socket(socket.sid), keys.away, keys.node_sockets(node.cluster.node.node_id)),
        (socket.sid, socket.generation, silent_ms, grace_ms, CONFIRMED, since),
    )
    return reply


async def take(node: BareNode, session: Session, *rooms: RoomId) -> bytes:
    """As `Sessions.take`, for the reply itself."""
    keys, sid = node.cluster.keys, session.sid
    everybody, entered = keys.room(EVERYBODY), [keys.room(room) for room in rooms]
    own, former = (keys.node_sockets(node_id) for node_id in (node.cluster.node.node_id, session.node_id))
    reply: bytes = await node.cluster.writer.submit(
        script("socket_take"),
        (
            *(keys.socket(sid), keys.away, own, former, everybody.members, everybody.log, everybody.last),
            *(keys.socket_log(sid), keys.socket_last(sid), *(room.members for room in entered)),
        ),
        (
            *(sid, session.generation, node.cluster.node.node_id, keys.inbox_prefix),
            encode_body(Taken(sid, session.generation + 1)),
            *(room.field for room in entered),
        ),
    )
    return reply


async def content(node: BareNode, redis: RedisServer) -> dict[str, Any]:
    """Every key of this cluster but the heartbeats, the clock and the writers' own -> its value."""
    keys = node.cluster.keys
    prefix = keys.clock.removesuffix("clock")
    async with redis.client(decode_responses=False) as client:
        found = [key.decode() async for key in client.scan_iter(f"{prefix}*")]
        own = (keys.nodes, keys.clock, f"{prefix}writer:")
        return {key: await client.dump(key) for key in found if not key.startswith(own)}


# --- socket_connect ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("recovers", [False, True], ids=["plain", "recovering"])
async def test_a_new_socket_knows_since_when_it_is_there_and_its_client_s_lineage_where_it_has_one(
    redis_server: RedisServer, node: BareNode, *, recovers: bool
) -> None:
    socket = await node.socket(recovers=recovers)
    fields = fields_of(node, redis_server, socket.sid)
    clock = str(socket.entered)
    own = {"n": node.cluster.node.node_id, "g": "1", "s": "/", "e": clock, "t": clock}
    assert fields == own | ({"l": socket.lineage} if recovers else {})


# --- socket_away -------------------------------------------------------------------------------------------


async def test_who_is_put_away_is_held_by_nobody_until_its_grace_is_over_and_stays_a_member(
    redis_server: RedisServer, node: BareNode
) -> None:
    socket = await node.socket(DEN, nickname="kim", recovers=True)
    places = [place(node, redis_server, room, socket.sid) for room in (EVERYBODY, DEN)]
    before = now_ms(redis_server)
    assert await put_away(node, socket, silent_ms=2000, grace_ms=5000) == b"ok"
    after = now_ms(redis_server)
    fields = fields_of(node, redis_server, socket.sid)
    alive_ms = int(fields["a"])
    assert before - 2000 <= alive_ms <= after - 2000
    assert (fields["n"], fields["g"], fields["l"]) == ("", "1", socket.lineage)
    assert away(node, redis_server) == {socket.sid: alive_ms + 5000}
    assert socket.sid not in held_by(node, redis_server)
    assert [place(node, redis_server, room, socket.sid) for room in (EVERYBODY, DEN)] == places


@at_the_border
async def test_what_was_confirmed_holds_for_who_was_connected_long_enough_before(
    redis_server: RedisServer, node: BareNode, behind_us: int, confirmed: str | None
) -> None:
    socket = await node.socket(recovers=True)
    await put_away(node, socket, since=socket.entered - behind_us)
    assert fields_of(node, redis_server, socket.sid).get("c") == confirmed


def test_a_connection_was_made_long_enough_before_when_it_must_have_been_sent_all_it_had_missed() -> None:
    assert confirmed_since(100_000_000) == 100_000_000 - REPLAY_MAX_S * 1_000_000
    assert confirmed_since(0) == 0


@pytest.mark.parametrize("act", ["socket_away", "socket_disconnect"])
async def test_a_socket_that_redis_lost_is_its_node_s_no_more_and_not_away(
    redis_server: RedisServer, node: BareNode, act: str
) -> None:
    socket = await node.socket(recovers=True)
    redis_server.command("DEL", node.cluster.keys.socket(socket.sid))
    if act == "socket_away":
        assert await put_away(node, socket) == b"stale"
    else:
        redis_server.command("ZADD", node.cluster.keys.away, now_ms(redis_server) + 10**7, socket.sid)
        with pytest.raises(Stale):
            await node.cluster.sockets.disconnect(socket.sid, "/", socket.generation)
    assert held_by(node, redis_server) == set()
    assert away(node, redis_server) == {}


# --- socket_take -------------------------------------------------------------------------------------------


async def test_who_was_away_is_taken_with_its_places_under_a_new_generation(
    redis_server: RedisServer, node: BareNode, other: BareNode
) -> None:
    socket = await node.socket(DEN, ATTIC, nickname="kim lee", recovers=True)
    entered = {room: (place(node, redis_server, room, socket.sid) or "").split()[0] for room in (DEN, ATTIC)}
    await put_away(node, socket)
    reply = await take(other, await session_of(other, socket.sid), DEN, ATTIC)
    fields = fields_of(node, redis_server, socket.sid)
    other_id = other.cluster.node.node_id
    assert (fields["n"], fields["g"], f"ok {fields['t']} 0".encode()) == (other_id, "2", reply)
    assert int(fields["t"]) > int(fields["e"]) == socket.entered
    assert "a" not in fields
    assert away(node, redis_server) == {}
    assert (held_by(node, redis_server), held_by(other, redis_server)) == (set(), {socket.sid})
    assert place(node, redis_server, EVERYBODY, socket.sid) == f"{socket.entered} 2 {other_id} "
    for room in (DEN, ATTIC):
        assert place(node, redis_server, room, socket.sid) == f"{entered[room]} 2 {other_id} kim lee"
    assert redis_server.command("HGET", node.cluster.keys.room(DEN).roster, "kim lee") == socket.sid
    with pytest.raises(Stale):
        await node.cluster.log.append(DEN, SAID, actor=socket)


@pytest.mark.parametrize("how", ["held", "away", "its own"])
async def test_the_former_node_is_told_where_it_still_holds_what_is_taken(
    redis_server: RedisServer, node: BareNode, other: BareNode, how: str
) -> None:
    socket = await node.socket(recovers=True)
    keys = node.cluster.keys
    if how == "away":
        await put_away(node, socket)
    async with redis_server.client(decode_responses=False) as client, client.pubsub() as heard:
        await heard.subscribe(keys.inbox(node.cluster.node.node_id))
        await heard.subscribe(keys.inbox(""))
        by = node if how == "its own" else other
        reply = await take(by, await session_of(by, socket.sid))
        assert reply.startswith(b"ok ")
        told = []
        await client.publish(keys.inbox(""), b"end")
        while (message := await heard.get_message(timeout=5)) is not None:
            if message["type"] == "message" and message["data"] == b"end":
                break
            if message["type"] == "message":
                told.append(decode(message["data"]).payload)
    assert [each for each in told if isinstance(each, Taken)] == ([Taken(socket.sid, 2)] if how == "held" else [])


async def test_of_two_who_take_the_same_socket_one_has_it(node: BareNode, other: BareNode) -> None:
    socket = await node.socket(DEN, recovers=True)
    await put_away(node, socket)
    session = await session_of(node, socket.sid)
    replies = await asyncio.gather(take(node, session, DEN), take(other, session, DEN))
    assert sorted(reply.split()[0] for reply in replies) == [b"changed", b"ok"]


@pytest.mark.parametrize("change", ["generation", "room entered", "room left", "other room", "gone"])
async def test_a_socket_that_is_not_as_it_was_read_is_not_taken_and_nothing_changes(
    redis_server: RedisServer, node: BareNode, other: BareNode, change: str
) -> None:
    socket = await node.socket(DEN, recovers=True)
    session = await session_of(other, socket.sid)
    if change == "generation":
        redis_server.command("HINCRBY", node.cluster.keys.socket(socket.sid), "g", 1)
    if change in ("room entered", "other room"):
        await node.cluster.roster.enter(socket, ATTIC)
    if change in ("room left", "other room"):
        await node.cluster.roster.leave(socket.sid, DEN)
    if change == "gone":
        await node.disconnect(socket)
    before = await content(node, redis_server)
    assert await take(other, session, DEN) == b"changed"
    assert await content(node, redis_server) == before
    assert await other.cluster.sessions.take(session) is None


async def test_who_comes_back_after_its_grace_is_one_of_everybody_again_and_lasts(
    redis_server: RedisServer, node: BareNode, other: BareNode
) -> None:
    socket = await node.socket(recovers=True)
    await node.cluster.log.append_to_socket("/", socket.sid, SAID)
    await put_away(node, socket)
    await node.cluster.sockets.disconnect(socket.sid, "/", 1, keep_s=WINDOW_S)
    assert place(node, redis_server, EVERYBODY, socket.sid) is None
    assert (await take(other, await session_of(other, socket.sid))).startswith(b"ok ")
    keys = node.cluster.keys
    lasting = [keys.socket(socket.sid), keys.socket_log(socket.sid), keys.socket_last(socket.sid)]
    lasting.append(keys.room(EVERYBODY).members)
    assert [redis_server.command("TTL", key) for key in lasting] == [-1] * 4
    assert place(node, redis_server, EVERYBODY, socket.sid) == f"{socket.entered} 2 {other.cluster.node.node_id} "


# --- socket_disconnect -------------------------------------------------------------------------------------


async def test_who_does_not_come_back_in_its_grace_is_kept_from_its_last_sign_of_life_on(
    redis_server: RedisServer, node: BareNode
) -> None:
    socket = await node.socket(recovers=True)
    await node.cluster.log.append_to_socket("/", socket.sid, SAID)
    await put_away(node, socket, silent_ms=20_000)
    await node.cluster.sockets.disconnect(socket.sid, "/", 1, keep_s=WINDOW_S)
    keys = node.cluster.keys
    for key in (keys.socket(socket.sid), keys.socket_log(socket.sid), keys.socket_last(socket.sid)):
        assert 40_000 - SLACK_MS < redis_server.command("PTTL", key) <= 40_000
    assert place(node, redis_server, EVERYBODY, socket.sid) is None
    assert away(node, redis_server) == {}
    assert fields_of(node, redis_server, socket.sid)["l"] == socket.lineage


@pytest.mark.parametrize("end", ["not kept", "was not away", "kept for less than it was silent"])
async def test_who_cannot_come_back_leaves_nothing(redis_server: RedisServer, node: BareNode, end: str) -> None:
    socket = await node.socket(recovers=True)
    await node.cluster.log.append_to_socket("/", socket.sid, SAID)
    if end != "was not away":
        await put_away(node, socket, silent_ms=20_000)
    keep_s = {"not kept": None, "was not away": 60.0}.get(end, 19.0)
    await node.cluster.sockets.disconnect(socket.sid, "/", 1, keep_s=keep_s)
    keys = node.cluster.keys
    own = [keys.socket(socket.sid), keys.socket_log(socket.sid), keys.socket_last(socket.sid)]
    assert redis_server.command("EXISTS", *own) == 0
    assert place(node, redis_server, EVERYBODY, socket.sid) is None
    assert (held_by(node, redis_server), away(node, redis_server)) == (set(), {})


# --- member_leave ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nickname", ["", "kim", "kim lee", " 1 2 "])
async def test_who_leaves_while_it_is_away_remembers_the_room_until_it_enters_again(
    redis_server: RedisServer, node: BareNode, nickname: str
) -> None:
    socket = await node.socket(DEN, ATTIC, nickname=nickname, recovers=True)
    entered = int((place(node, redis_server, DEN, socket.sid) or "").split()[0])
    await node.cluster.roster.leave(socket.sid, DEN, generation=1, remember="room")
    await node.cluster.roster.leave(socket.sid, ATTIC, generation=1)
    assert (await session_of(node, socket.sid)).lapsed == {DEN: (entered, nickname)}
    assert (await session_of(node, socket.sid)).rooms == {}
    redis_server.command("HDEL", node.cluster.keys.room(DEN).roster, nickname)
    await node.cluster.roster._submit_enter(socket, DEN, nickname, b"j -\n", "", {})
    session = await session_of(node, socket.sid)
    assert (session.lapsed, list(session.rooms)) == ({}, [DEN])


async def test_who_enters_again_is_still_replayed_what_came_while_it_was_no_member(
    redis_server: RedisServer, node: BareNode
) -> None:
    socket = await node.socket(DEN, recovers=True)
    entered = (await session_of(node, socket.sid)).rooms[DEN]
    for _ in range(2):  # and does not forget it when it leaves once more
        await node.cluster.roster.leave(socket.sid, DEN, generation=1, remember="room")
        _, clock = await node.cluster.roster._submit_enter(socket, DEN, "", b"j -\n", "", {})
        assert (await session_of(node, socket.sid)).rooms == {DEN: entered}
        assert (place(node, redis_server, DEN, socket.sid) or "").split()[0] == str(clock) > str(entered)


@pytest.mark.parametrize("how", ["leaves", "closed"])
async def test_who_leaves_of_its_own_accord_remembers_from_when_to_when_it_was_a_member(
    node: BareNode, how: str
) -> None:
    socket = await node.socket(DEN, ATTIC, recovers=True)
    stays = []
    for _ in range(3):
        entered = (await session_of(node, socket.sid)).rooms[DEN]
        if how == "closed":
            left = await node.cluster.roster.close(DEN)
        else:
            left = await node.cluster.roster.leave(socket.sid, DEN, generation=1)
        stays.append((DEN, entered, left))
        assert sorted((await session_of(node, socket.sid)).stays) == stays
        await node.cluster.roster._submit_enter(socket, DEN, "", b"j -\n", "", {})


async def test_who_cannot_come_back_remembers_no_stays(redis_server: RedisServer, node: BareNode) -> None:
    socket = await node.socket(DEN)
    await node.cluster.roster.leave(socket.sid, DEN, generation=1)
    assert "y" not in fields_of(node, redis_server, socket.sid)


async def test_of_many_stays_the_newest_are_remembered_and_that_others_were_forgotten(node: BareNode) -> None:
    socket = await node.socket(DEN, recovers=True)
    left = []
    for _ in range(STAYS_MAX + 3):
        left.append(await node.cluster.roster.leave(socket.sid, DEN, generation=1))
        await node.cluster.roster._submit_enter(socket, DEN, "", b"j -\n", "", {})
    session = await session_of(node, socket.sid)
    assert sorted(stay[2] for stay in session.stays) == left[3:]
    assert session.unproven == left[2]


async def test_stays_that_ended_before_the_logs_begin_are_forgotten(
    redis_server: RedisServer, node: BareNode
) -> None:
    socket = await node.socket(DEN, recovers=True)
    redis_server.command("HSET", node.cluster.keys.socket(socket.sid), "y", "2 1 /|den")
    await node.cluster.roster.leave(socket.sid, DEN, generation=1)
    session = await session_of(node, socket.sid)
    assert ([stay[2] > 2 for stay in session.stays], session.unproven) == ([True], 2)


@pytest.mark.parametrize(
    "broken", ["g x", "e \xff", "r:/|den x", "r:den 7", "x:/|den 7", "y 7", "u x", "a x"]
)
async def test_a_session_that_nobody_can_read_is_none_and_does_not_keep_others_from_being_read(
    redis_server: RedisServer, node: BareNode, broken: str
) -> None:
    socket, other = await node.socket(recovers=True), await node.socket(recovers=True)
    name, value = broken.rsplit(" ", 1)
    redis_server.command("HSET", node.cluster.keys.socket(socket.sid), name, value)
    found = await node.cluster.sessions.read([socket.sid, other.sid])
    assert [session is None for session in found] == [True, False]


async def test_who_ends_remembers_nothing(redis_server: RedisServer, node: BareNode) -> None:
    socket = await node.socket(DEN, recovers=True)
    before = fields_of(node, redis_server, socket.sid)
    await node.cluster.roster.leave(socket.sid, DEN, generation=1, remember="nothing")
    after = fields_of(node, redis_server, socket.sid)
    assert after.items() <= before.items()
    assert not after.keys() & {"y", "u", "x:/|den"}


async def test_who_is_removed_from_a_room_after_it_had_left_it_does_not_enter_it_again(
    redis_server: RedisServer, node: BareNode
) -> None:
    socket = await node.socket(DEN, recovers=True)
    await node.cluster.roster.leave(socket.sid, DEN, generation=1, remember="room")
    assert await node.cluster.roster.leave(socket.sid, DEN) == 0
    assert (await session_of(node, socket.sid)).lapsed == {}


async def test_who_is_away_enters_nothing(redis_server: RedisServer, node: BareNode) -> None:
    socket = await node.socket(DEN, recovers=True)
    await put_away(node, socket)
    before = await content(node, redis_server)
    with pytest.raises(Stale):
        await node.cluster.roster._submit_enter(socket, ATTIC, "kim", b"j -\n", "", {})
    assert await content(node, redis_server) == before


async def test_who_is_still_in_a_room_is_not_forgotten(redis_server: RedisServer, node: BareNode) -> None:
    socket = await node.socket(DEN, recovers=True)
    before = await content(node, redis_server)
    assert not await node.cluster.sockets.disconnect(socket.sid, "/", 1)
    assert await content(node, redis_server) == before
    await node.cluster.roster.leave(socket.sid, DEN, generation=1)
    assert await node.cluster.sockets.disconnect(socket.sid, "/", 1)


async def test_who_was_no_member_remembers_nothing(redis_server: RedisServer, node: BareNode) -> None:
    socket = await node.socket(recovers=True)
    before = fields_of(node, redis_server, socket.sid)
    assert await node.cluster.roster.leave(socket.sid, DEN, generation=1, remember="room") == 0
    assert fields_of(node, redis_server, socket.sid) == before


# --- direct_append, direct_publish -------------------------------------------------------------------------


async def test_an_event_for_who_is_away_waits_in_its_log_and_no_longer_than_its_session(
    redis_server: RedisServer, node: BareNode
) -> None:
    socket, keys = await node.socket(recovers=True), node.cluster.keys
    log, last = keys.socket_log(socket.sid), keys.socket_last(socket.sid)
    await put_away(node, socket)
    await node.cluster.log.append_to_socket("/", socket.sid, SAID)
    assert [redis_server.command("TTL", key) for key in (log, last)] == [-1, -1]
    await node.cluster.sockets.disconnect(socket.sid, "/", 1, keep_s=WINDOW_S)
    redis_server.command("DEL", log, last)  # as if that had been the first
    clock = await node.cluster.log.append_to_socket("/", socket.sid, SAID)
    assert redis_server.command("GET", last) == str(clock)
    limit_ms = redis_server.command("PTTL", keys.socket(socket.sid))
    for key in (log, last):
        assert limit_ms - SLACK_MS < redis_server.command("PTTL", key) <= WINDOW_S * 1000
    ((_, fields),) = redis_server.command("XRANGE", log, "-", "+")
    assert isinstance(decode_body(fields["b"].encode()), Direct)


async def test_a_disconnect_for_who_is_away_waits_in_its_log_too(
    redis_server: RedisServer, node: BareNode
) -> None:
    socket = await node.socket(recovers=True)
    await put_away(node, socket)
    await node.cluster.log.disconnect("/", socket.sid)
    ((_, fields),) = redis_server.command("XRANGE", node.cluster.keys.socket_log(socket.sid), "-", "+")
    assert decode_body(fields["b"].encode()) == Disconnect(socket.sid)
    with pytest.raises(NotConnected):
        await node.cluster.log.disconnect("/lobby", socket.sid)


async def test_a_notice_for_who_is_away_is_for_nobody(node: BareNode) -> None:
    socket = await node.socket(recovers=True)

    async def notify() -> bytes:
        keys = node.cluster.keys
        reply: bytes = await node.cluster.writer.submit(
            script("direct_publish"),
            (keys.socket(socket.sid),),
            (keys.inbox_prefix, "/", encode_body(Event(SAID))),
        )
        return reply

    assert (await notify()).startswith(b"ok ")
    await put_away(node, socket)
    assert await notify() == b"absent"


# --- away_claim --------------------------------------------------------------------------------------------


async def claim(writing: Appending, count: int = 100, claim_ms: int = 10_000) -> list[bytes]:
    found: list[bytes] = await writing.store.run(script("away_claim"), (writing.keys.away,), (count, claim_ms))
    return found


def plant_away(writing: Appending, **grace_ms: int) -> None:
    """sid -> ms from now on at which its grace ends."""
    now = now_ms(writing.redis)
    for sid, after_ms in grace_ms.items():
        writing.redis.command("ZADD", writing.keys.away, now + after_ms, sid)


async def test_who_is_due_is_claimed_once_and_who_is_not_stays(writing: Appending) -> None:
    plant_away(writing, long=-60_000, just=-1, later=60_000)
    assert await claim(writing) == [b"long", b"just"]
    assert await claim(writing) == []
    now = now_ms(writing.redis)
    for sid in ("long", "just"):
        assert now < float(writing.redis.command("ZSCORE", writing.keys.away, sid)) <= now + 10_000
    assert writing.redis.command("ZCARD", writing.keys.away) == 3


async def test_what_was_claimed_and_not_seen_to_is_due_again(writing: Appending) -> None:
    plant_away(writing, a=-1)
    assert await claim(writing, claim_ms=0) == [b"a"]
    assert await claim(writing, claim_ms=0) == [b"a"]


async def test_no_more_are_claimed_than_were_asked_for_the_longest_due_first(writing: Appending) -> None:
    plant_away(writing, b=-2000, c=-1000, a=-3000)
    assert await claim(writing, 2) == [b"a", b"b"]
    assert await claim(writing, 2) == [b"c"]


async def test_nobody_who_is_away_is_nobody_claimed(writing: Appending) -> None:
    assert await claim(writing) == []
    assert not writing.redis.command("EXISTS", writing.keys.away)


# --- node_bury ---------------------------------------------------------------------------------------------

DEAD = "0123abcd"


async def bury(
    node: BareNode, *sids: str, beat: int = 7, silent_ms: int = 5000, grace_ms: int = 8000, since: int = 0
) -> int:
    keys = node.cluster.keys
    count: int = await node.cluster.store.run(
        script("node_bury"),
        (keys.nodes, keys.away, keys.node_sockets(DEAD), *map(keys.socket, sids)),
        (DEAD, beat, silent_ms, grace_ms, CONFIRMED, since, *sids),
    )
    return count


async def dead_one_s(node: BareNode, redis: RedisServer, *rooms: RoomId, nickname: str = "") -> LocalSocket:
    """A socket that a node holds that has died with its seventh heartbeat."""
    socket = await node.socket(*rooms, nickname=nickname, recovers=True)
    keys = node.cluster.keys
    redis.command("HSET", keys.nodes, DEAD, record(7))
    redis.command("HSET", keys.socket(socket.sid), "n", DEAD)
    redis.command("SMOVE", keys.node_sockets(node.cluster.node.node_id), keys.node_sockets(DEAD), socket.sid)
    return socket


def record(beat: int) -> str:
    started_at = "2026-01-01T00:00:00Z"
    return to_json({"beat": beat, "url": "", "started_at": started_at, "connections": 1, "draining": False})


@pytest.mark.parametrize("forgotten", [False, True], ids=["in the registry", "forgotten"])
async def test_a_dead_node_s_sockets_are_put_away_since_its_last_heartbeat_under_a_new_generation(
    redis_server: RedisServer, node: BareNode, *, forgotten: bool
) -> None:
    sockets = [await dead_one_s(node, redis_server, DEN, nickname=f"n{number}") for number in range(3)]
    sids = [socket.sid for socket in sockets]
    if forgotten:
        redis_server.command("HDEL", node.cluster.keys.nodes, DEAD)
    before = now_ms(redis_server)
    assert await bury(node, *sids) == 3
    after = now_ms(redis_server)
    for sid in sids:
        fields = fields_of(node, redis_server, sid)
        assert (fields["n"], fields["g"]) == ("", "2")
        assert before - 5000 <= int(fields["a"]) <= after - 5000
        assert away(node, redis_server)[sid] == int(fields["a"]) + 8000
        assert place(node, redis_server, DEN, sid) is not None
    assert redis_server.command("SMEMBERS", node.cluster.keys.node_sockets(DEAD)) in ([], set())
    with pytest.raises(Stale):
        await node.cluster.log.append(DEN, SAID, actor=sockets[0])
    assert await bury(node, *sids) == 0, "they are nobody's already"
    assert fields_of(node, redis_server, sids[0])["g"] == "2"


@at_the_border
async def test_what_a_dead_node_had_confirmed_holds_for_who_was_connected_long_enough_before(
    redis_server: RedisServer, node: BareNode, behind_us: int, confirmed: str | None
) -> None:
    socket = await dead_one_s(node, redis_server)
    await bury(node, socket.sid, since=socket.entered - behind_us)
    assert fields_of(node, redis_server, socket.sid).get("c") == confirmed


async def test_a_node_that_has_beaten_since_is_not_buried_and_nothing_changes(
    redis_server: RedisServer, node: BareNode
) -> None:
    socket = await dead_one_s(node, redis_server)
    redis_server.command("HSET", node.cluster.keys.nodes, DEAD, record(8))
    before = await content(node, redis_server)
    assert await bury(node, socket.sid) == -1
    assert await content(node, redis_server) == before


async def test_what_a_dead_node_does_not_hold_any_more_is_left_alone(
    redis_server: RedisServer, node: BareNode
) -> None:
    taken, held = await node.socket(recovers=True), await dead_one_s(node, redis_server)
    keys = node.cluster.keys
    redis_server.command("SADD", keys.node_sockets(DEAD), taken.sid, "gone")
    before = fields_of(node, redis_server, taken.sid)
    assert await bury(node, taken.sid, "gone", held.sid) == 1
    assert fields_of(node, redis_server, taken.sid) == before
    assert fields_of(node, redis_server, "gone") == {}
    assert list(away(node, redis_server)) == [held.sid]
    assert not redis_server.command("EXISTS", keys.node_sockets(DEAD))


# --- socket_restore ----------------------------------------------------------------------------------------


async def restore(node: BareNode, socket: LocalSocket, epoch: str = "before") -> bytes:
    keys = node.cluster.keys
    everybody = keys.room(RoomId(socket.namespace, None))
    reply: bytes = await node.cluster.writer.submit(
        script("socket_restore"),
        (
            *(keys.socket(socket.sid), everybody.members, everybody.log, everybody.last),
            *(keys.node_sockets(node.cluster.node.node_id), keys.epoch),
        ),
        (
            *(socket.sid, socket.namespace, node.cluster.node.node_id, socket.lineage, socket.generation),
            epoch,
        ),
    )
    return reply


async def forgotten_one(node: BareNode, redis: RedisServer) -> LocalSocket:
    """A socket that Redis has lost."""
    socket, keys = await node.socket(recovers=True), node.cluster.keys
    redis.command("DEL", keys.socket(socket.sid), keys.node_sockets(node.cluster.node.node_id))
    redis.command("HDEL", keys.room(EVERYBODY).members, socket.sid)
    return socket


@pytest.mark.parametrize("epoch", ["after", None], ids=["another epoch", "no epoch"])
async def test_a_socket_is_written_anew_into_a_redis_that_was_emptied_and_once(
    redis_server: RedisServer, node: BareNode, epoch: str | None
) -> None:
    socket, keys = await forgotten_one(node, redis_server), node.cluster.keys
    socket.generation = 3
    redis_server.command("DEL", keys.epoch)
    if epoch is not None:
        redis_server.command("SET", keys.epoch, epoch)
    reply = await restore(node, socket)
    clock, node_id = reply.removeprefix(b"ok ").decode(), node.cluster.node.node_id
    assert int(clock) > socket.entered
    expected = {"n": node_id, "g": "3", "s": "/", "l": socket.lineage, "e": clock, "t": clock, "z": clock}
    assert fields_of(node, redis_server, socket.sid) == expected
    assert place(node, redis_server, EVERYBODY, socket.sid) == f"{clock} 3 {node_id} "
    assert held_by(node, redis_server) == {socket.sid}
    assert await restore(node, socket) == reply
    assert fields_of(node, redis_server, socket.sid) == expected


async def test_a_socket_is_not_written_anew_where_redis_was_not_emptied_or_has_it(
    redis_server: RedisServer, node: BareNode
) -> None:
    gone, there = await forgotten_one(node, redis_server), await node.socket()
    redis_server.command("SET", node.cluster.keys.epoch, "before")
    before = await content(node, redis_server)
    assert await restore(node, gone) == b"same"
    assert await restore(node, there) == b"known"
    assert await restore(node, there, "another") == b"known"
    assert await content(node, redis_server) == before
