"""What a node missed is read from the log: exactly that, in order, or it is said that it is lost."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.cluster import catchup as catchup_module
from app.cluster import relay as relay_module
from app.cluster import supervision as supervision_module
from app.cluster.catchup import Lost, Standing, Tail, TailReader
from app.cluster.local import Cursor, LocalRoom, LocalSocket
from app.errors import StoreUnavailable
from app.store.keys import Keys
from app.wire import Event, Marker, RoomId, encode_body, event_packet
from tests.store.appending import ATTIC, DEN, Appending, appending, argument
from tests.store.bare_node import bare_node
from tests.store.redis_proxy import RedisProxy, redis_proxy
from tests.support.eventually import eventually
from tests.support.hub_node import Node, cluster_manager_node
from tests.support.py_client import PyClient
from tests.support.redis_server import RedisServer

INBOX = "inbox"
MARKER = b"0 - " + encode_body(Marker(1))


# --- one read ----------------------------------------------------------------------------------------------


@pytest.fixture
async def writing(own_redis: RedisServer, key_prefix: str) -> AsyncIterator[Appending]:
    async with appending(own_redis, key_prefix, timeout_s=0.5) as made:
        made.plant_member(ATTIC)
        yield made


def cursor_at(position: int | None, room: RoomId = DEN) -> LocalRoom:
    cursor = LocalRoom(room)
    cursor.position = position
    return cursor


async def read(
    writing: Appending, *cursors: Cursor, read_to: dict[Cursor, int] | None = None
) -> list[Tail | Standing | Lost]:
    return await TailReader(writing.store, writing.keys, INBOX).read(cursors, read_to or {}, MARKER)


def values_of(tail: object) -> list[Any]:
    """The events' arguments in a tail."""
    assert isinstance(tail, Tail)
    return [argument(body.decode()) for _, _, body in tail.entries]


async def test_a_log_without_news_has_an_empty_tail(writing: Appending) -> None:
    last = await writing.append("x")
    assert await read(writing, cursor_at(last), cursor_at(0, ATTIC)) == [Tail([], True), Tail([], True)]


async def test_a_tail_is_what_came_after_the_position(writing: Appending) -> None:
    clocks = await asyncio.gather(*(writing.append(n) for n in range(10)))
    (tail,) = await read(writing, cursor_at(clocks[6]))
    assert isinstance(tail, Tail)
    assert tail.complete
    assert values_of(tail) == [7, 8, 9]
    assert [(clock, prev) for clock, prev, _ in tail.entries] == list(zip(clocks[7:], clocks[6:], strict=False))


async def test_a_log_that_began_after_the_position_is_a_tail_from_its_beginning(writing: Appending) -> None:
    await writing.append("x")
    (tail,) = await read(writing, cursor_at(0))
    assert values_of(tail) == ["x"]


async def test_reading_goes_on_from_where_it_was_read_to(writing: Appending) -> None:
    clocks = await asyncio.gather(*(writing.append(n) for n in range(10)))
    cursor = cursor_at(clocks[0])
    (tail,) = await read(writing, cursor, read_to={cursor: clocks[7]})
    assert values_of(tail) == [8, 9]


async def test_a_long_tail_comes_in_parts(writing: Appending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catchup_module, "ENTRIES_PER_READ", 4)
    await asyncio.gather(*(writing.append(n) for n in range(10)))
    await asyncio.gather(*(writing.append(n, ATTIC) for n in range(3)))
    den, attic = cursor_at(0), cursor_at(0, ATTIC)
    read_to: dict[Cursor, int] = {}
    seen: dict[Cursor, list[Any]] = {den: [], attic: []}
    reads = 0
    unread: list[Cursor] = [den, attic]
    while unread:
        answers = await read(writing, *unread, read_to=read_to)
        for cursor, tail in zip(list(unread), answers, strict=True):
            assert isinstance(tail, Tail)
            seen[cursor] += values_of(tail)
            if tail.entries:
                read_to[cursor] = tail.entries[-1][0]
            if tail.complete:
                unread.remove(cursor)
        reads += 1
    assert seen == {den: list(range(10)), attic: [0, 1, 2]}
    assert reads == 4, "4 entries each time: 4, 4, 2 + 2, 1"


async def test_a_tail_of_exactly_one_part_is_complete(writing: Appending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catchup_module, "ENTRIES_PER_READ", 5)
    await asyncio.gather(*(writing.append(n) for n in range(5)))
    (tail,) = await read(writing, cursor_at(0))
    assert isinstance(tail, Tail)
    assert tail.complete
    assert values_of(tail) == [0, 1, 2, 3, 4]


async def test_a_log_read_for_the_first_time_tells_where_it_stands_and_who_is_there(
    redis_server: RedisServer, key_prefix: str
) -> None:
    async with bare_node(redis_server.url, key_prefix) as node:
        sockets = [await node.socket(DEN, nickname=f"n{n}") for n in range(3)]
        await node.cluster.roster.rename(sockets[0], DEN, "a b  c")
        renamed = int(redis_server.command("GET", node.cluster.keys.room(DEN).last))
        reader = TailReader(node.cluster.store, node.cluster.keys, INBOX)
        answers = await reader.read([cursor_at(None), cursor_at(None, RoomId("/", None))], {}, MARKER)
        assert answers == [
            Standing(renamed, {sockets[0].sid: "a b  c", sockets[1].sid: "n1", sockets[2].sid: "n2"}),
            Standing(0, {}),
        ]
        assert isinstance(answers[0], Standing)
        assert list(answers[0].members) == [socket.sid for socket in sockets], "in order of entering"


async def test_a_log_that_was_trimmed_beyond_the_position_is_lost(writing: Appending) -> None:
    clocks = await asyncio.gather(*(writing.append(n) for n in range(10)))
    writing.redis.command("XTRIM", writing.keys.room(DEN).log, "MAXLEN", 3)
    lost, not_lost = await read(writing, cursor_at(clocks[5]), cursor_at(clocks[6]))
    assert lost == Lost(clocks[9], {"somebody": ""})
    assert values_of(not_lost) == [7, 8, 9]


async def test_a_position_that_redis_has_no_memory_of_is_lost(writing: Appending) -> None:
    last = await writing.append("x")
    ahead, gone = await read(writing, cursor_at(last + 1), cursor_at(last, RoomId("/", "never")))
    assert ahead == Lost(last, {"somebody": ""})
    assert gone == Lost(0, {})
    writing.redis.command("FLUSHALL")
    assert await read(writing, cursor_at(last)) == [Lost(0, {})]


async def test_a_position_of_another_past_is_lost(writing: Appending) -> None:
    """After a failover to a copy that lacked an entry: others were appended in its place."""
    clocks = [await writing.append(n) for n in range(3)]
    writing.redis.command("XDEL", writing.keys.room(DEN).log, f"{clocks[2]}-0")
    writing.redis.command("SET", writing.keys.room(DEN).last, clocks[1])
    other = await writing.append("other")
    lost, tail = await read(writing, cursor_at(clocks[2]), cursor_at(clocks[1]))
    assert lost == Lost(other, {"somebody": ""})
    assert values_of(tail) == ["other"]


async def test_a_sockets_own_log_is_read_like_a_rooms(redis_server: RedisServer, key_prefix: str) -> None:
    async with bare_node(redis_server.url, key_prefix) as node:
        socket = await node.socket()
        clocks = [
            await node.cluster.log.append_to_socket("/", socket.sid, event_packet("/", "said", n))
            for n in range(3)
        ]
        reader = TailReader(node.cluster.store, node.cluster.keys, INBOX)
        cursor = LocalSocket(socket.sid, socket.eio_sid, "/")
        (tail,) = await reader.read([cursor], {cursor: clocks[0]}, MARKER)
        assert isinstance(tail, Tail)
        assert [clock for clock, _, _ in tail.entries] == clocks[1:]


async def test_the_marker_stands_between_what_is_in_the_answer_and_what_is_not(
    writing: Appending, own_redis: RedisServer
) -> None:
    channel = writing.keys.room(DEN).channel
    async with own_redis.client() as client, client.pubsub() as heard:
        await heard.subscribe(INBOX, channel)
        before = [writing.append(n) for n in range(20)]
        reading = asyncio.create_task(read(writing, cursor_at(0)))
        after = [writing.append(n) for n in range(20, 300)]
        (tail,) = await reading
        await asyncio.gather(*before, *after)
        published: list[str] = []
        while len(published) < 301:
            message = await heard.get_message(timeout=5)
            assert message is not None
            if message["type"] == "message":
                published.append(message["data"])
    assert published.count(MARKER.decode()) == 1
    assert len(values_of(tail)) == published.index(MARKER.decode())


async def test_a_read_that_redis_does_not_answer_is_unavailable(writing: Appending) -> None:
    writing.redis.pause()
    with pytest.raises(StoreUnavailable):
        await read(writing, cursor_at(0))
    writing.redis.resume()


# --- end to end --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nodes of one cluster: `near` reaches Redis through `proxy`, `far` directly."""

    near: Node
    far: Node
    proxy: RedisProxy
    redis: RedisServer
    keys: Keys

    async def say(self, *events: tuple[str, Any]) -> None:
        """Events to rooms, (room, value), in this order, from the far node."""
        for room, value in events:
            await self.far.server.emit("said", value, room=room)

    def cut(self) -> None:
        """The near node loses Redis, until `mend`."""
        self.proxy.refusing = True
        self.proxy.cut_all()

    async def mend(self) -> None:
        """The near node has Redis back, and has caught up with it."""
        relay = self.near.manager.cluster.relay
        self.proxy.refusing = False
        await eventually(lambda: relay.listening and not relay._due and not relay._holding, every_s=0.005)

    async def said(self, *clients: PyClient) -> list[list[Any]]:
        """What each has received of all that was said so far."""
        received = await self.far.received(*clients)
        return [[args[0] for name, args in events if name == "said"] for events in received]


@pytest.fixture
async def pair(own_redis: RedisServer, key_prefix: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(supervision_module, "PAUSE_MAX_S", 0.05)
    async with contextlib.AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(redis_proxy(own_redis.port))
        near = await stack.enter_async_context(cluster_manager_node(proxy.url, key_prefix))
        far = await stack.enter_async_context(cluster_manager_node(own_redis.url, key_prefix))
        yield Pair(near, far, proxy, own_redis, Keys(key_prefix))


async def test_what_was_published_while_the_listener_was_cut_comes_once_and_in_order_across_rooms(
    pair: Pair,
) -> None:
    both = await pair.near.client(rooms=["a", "b"])
    one = await pair.near.client(rooms=["a"])
    await pair.say(("a", "before"))
    assert await pair.said(both, one) == [["before"], ["before"]]
    pair.cut()
    await pair.say(*(("ab"[n * 7 // 3 % 2], n) for n in range(40)))
    await pair.far.server.emit("said", "you", to=both.sid)
    await pair.far.server.emit("said", "both", room=["a", "b"])
    await pair.mend()
    await pair.say(("b", "after"), ("a", "after"))
    heard_both, heard_one = await pair.said(both, one)
    assert heard_both == ["before", *range(40), "you", "both", "after", "after"]
    in_a = [n for n in range(40) if "ab"[n * 7 // 3 % 2] == "a"]
    assert heard_one == ["before", *in_a, "both", "after"]
    assert both.disconnects == one.disconnects == []


async def test_more_than_one_page_is_caught_up_with(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catchup_module, "ENTRIES_PER_READ", 7)
    monkeypatch.setattr(relay_module, "CURSORS_PER_READ", 2)
    rooms = ["a", "b", "c"]
    client = await pair.near.client(rooms=rooms)
    pair.cut()
    await pair.say(*((rooms[n * n % 3], n) for n in range(60)))
    await pair.mend()
    assert await pair.said(client) == [list(range(60))]
    assert client.disconnects == []


async def test_members_on_both_nodes_see_one_order_while_one_node_is_cut_again_and_again(pair: Pair) -> None:
    near, far = await pair.near.client(rooms=["a", "b"]), await pair.far.client(rooms=["a", "b"])
    random_ = random.Random(3)
    for n in range(200):
        if n % 40 == 20:
            pair.proxy.cut_all()
        await pair.say((random_.choice("ab"), n))
    await pair.mend()
    heard_near, heard_far = await pair.said(near, far)
    assert heard_near == heard_far == list(range(200))
    assert near.disconnects == []


async def test_a_gap_is_filled_as_soon_as_the_next_entry_shows_it(pair: Pair) -> None:
    client = await pair.near.client(rooms=["a", "b"])
    await pair.say(("a", 1))
    keys = pair.keys.room(RoomId("/", "a"))
    last = int(pair.redis.command("GET", keys.last))
    body = encode_body(Event(event_packet("/", "said", "unheard")))
    pair.redis.command("XADD", keys.log, f"{last + 1}-0", "p", last, "b", body)
    pair.redis.command("SET", keys.last, last + 1)
    await pair.say(("b", 2), ("a", 3), ("b", 4))
    (heard,) = await pair.said(client)
    # The lost one is older than 2, but nothing showed that before 3 did.
    assert heard == [1, 2, "unheard", 3, 4]
    assert pair.near.manager.cluster.metrics.gaps_filled == 1
    assert client.disconnects == []


async def test_a_gap_that_cannot_be_filled_closes_the_connections_of_members_there_and_only_theirs(
    pair: Pair,
) -> None:
    inside = [await pair.near.client(rooms=["a"]), await pair.near.client(rooms=["a", "b"])]
    told = [namespace_ends(client) for client in inside]
    outside = [await pair.near.client(rooms=["b"]), await pair.near.client()]
    elsewhere = await pair.far.client(rooms=["a"])
    pair.cut()
    await pair.say(("a", 1), ("b", 2), ("a", 3), ("a", 4))
    pair.redis.command("XTRIM", pair.keys.room(RoomId("/", "a")).log, "MAXLEN", 2)
    await pair.mend()
    await eventually(lambda: all(client.disconnects for client in inside))
    assert told == [[], []], "a stock client does not come back to a namespace that the server ended"
    await pair.say(("b", 5), ("a", 6))
    assert await pair.said(*outside, elsewhere) == [[2, 5], [], [1, 3, 4, 6]]
    assert all(client.disconnects == [] for client in (*outside, elsewhere))
    metrics = pair.near.manager.cluster.metrics
    assert metrics.gaps_unfillable == 1
    again = await pair.near.client(rooms=["a"])
    await pair.say(("a", 7))
    assert await pair.said(again) == [[7]]
    assert await pair.far.manager.count("a") == 2, "those who were closed have left"


def namespace_ends(client: PyClient) -> list[str]:
    """The namespaces that the server will have told this client to be disconnected from."""
    told: list[str] = []
    handle = client.io._handle_disconnect

    async def note(namespace: str) -> None:
        told.append(namespace)
        await handle(namespace)

    client.io._handle_disconnect = note
    return told


async def test_a_python_client_whose_connection_is_closed_comes_back(pair: Pair) -> None:
    client = PyClient(reconnection=True, reconnection_delay=0.05)
    pair.near.clients.append(client)
    await client.connect(pair.near.url)
    sid = client.sid
    await pair.near.server.enter_room(sid, "a")
    pair.cut()
    await pair.say(*(("a", n) for n in range(3)))
    pair.redis.command("XTRIM", pair.keys.room(RoomId("/", "a")).log, "MAXLEN", 1)
    await pair.mend()
    await eventually(lambda: client.disconnects)
    await eventually(lambda: client.connected and client.sid != sid, within_s=2)


async def test_the_roster_follows_what_happened_while_the_listener_was_cut(pair: Pair) -> None:
    client = await pair.near.client(rooms=["a"])
    stays, goes = await pair.far.client(rooms=["a"]), await pair.far.client(rooms=["a"])
    room = pair.near.manager.cluster.locals.rooms[RoomId("/", "a")]
    await eventually(lambda: set(room.roster) == {client.sid, stays.sid, goes.sid})
    gone = goes.sid
    pair.cut()
    await pair.far.server.leave_room(gone, "a")
    comes = await pair.far.client(rooms=["a"])
    assert set(room.roster) == {client.sid, stays.sid, gone}
    await pair.mend()
    await eventually(lambda: set(room.roster) == {client.sid, stays.sid, comes.sid})
