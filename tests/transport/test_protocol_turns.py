"""What one client sends at once costs the others a turn at a time, and what was closed stays closed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from types import SimpleNamespace

import aiohttp
import pytest

from app.transport.frames import FrameReader
from app.transport.protocol import FRAMES_PER_TURN
from app.wire import Packet
from tests.support.eventually import eventually
from tests.support.raw_websocket import (
    CLOSE,
    PING,
    client_frame,
    close_payload,
    event,
    raw_upgrade,
    raw_websocket,
    text,
)
from tests.support.redis_server import RedisServer
from tests.support.wire_node import WireCluster, shared_wire_cluster

from .engine import Session
from .members import Node, Room

FLOOD_FRAMES = 20_000


@pytest.fixture(scope="module")
def cluster(redis_server: RedisServer, cluster_prefix: str) -> Iterator[WireCluster]:
    """One node, sound at the end."""
    yield from shared_wire_cluster(redis_server.url, cluster_prefix, 1)


@pytest.mark.parametrize("frame", [text("431[]"), client_frame(PING), text("3")], ids=["acks", "pings", "pongs"])
async def test_all_of_a_flood_of_small_frames_is_read(cluster: WireCluster, frame: bytes) -> None:
    async with raw_websocket(cluster.url) as flooding, raw_websocket(cluster.url) as other:
        await flooding.send(frame * FLOOD_FRAMES)
        await flooding.say(event("answer", "all read", ack=2))
        await other.say(event("answer", "here", ack=1))
        await other.message_for('43/wire,1["here"]')
        while (await flooding.frame()).payload != b'43/wire,2["all read"]':
            pass


async def test_a_flood_of_small_frames_leaves_the_others_their_turn() -> None:
    node = Node()
    node.websocket("flooding")
    connection = node.connections["flooding"]
    connection.engine, connection.reader = Engine(), FrameReader(100)
    flood = b"".join(text(f"4{number}") for number in range(FLOOD_FRAMES))
    connection.data_received(flood)
    seen = [len(connection.engine.received)]
    while connection.transport.paused:
        await asyncio.sleep(0)
        seen.append(len(connection.engine.received))
    assert connection.engine.received == [str(number) for number in range(FLOOD_FRAMES)]
    assert max(later - sooner for sooner, later in pairwise(seen)) <= FRAMES_PER_TURN
    assert seen[0] == FRAMES_PER_TURN


async def test_a_close_frame_behind_a_goodbye_ends_the_connection_at_once() -> None:
    """It would wait a second for one that is still to come."""
    node = Node()
    node.websocket("leaving")
    connection = node.connections["leaving"]
    connection.engine, connection.reader = Engine(), FrameReader(100)
    connection.data_received(text("1") + client_frame(CLOSE, close_payload(1000)))
    await asyncio.sleep(0)
    assert connection.transport.closed
    connection.connection_lost(None)


async def test_a_goodbye_in_a_post_that_outlasts_an_upgrade_ends_the_websocket(
    cluster: WireCluster, http: aiohttp.ClientSession
) -> None:
    session = await Session.open(http, cluster.url)
    await session.connect(namespace="/wire")

    begun: list[bool] = []
    upgraded: list[bool] = []

    async def slowly() -> AsyncIterator[bytes]:
        yield event("echo", "before").encode()
        begun.append(True)
        await eventually(lambda: upgraded)
        yield b"\x1e" + b"\x1e".join([b"3"] * 10 + [b"1"])

    posting = asyncio.ensure_future(http.post(session.poll_url(), data=slowly()))
    await eventually(lambda: begun)
    async with http.get(f"{cluster.url}/healthz") as answer:  # what was written before it has been read then
        assert answer.status == 200
    async with raw_upgrade(cluster.url, session.sid) as ws:
        await ws.say("2probe")
        assert await ws.message() == "3probe"
        await ws.say("5")
        await ws.say(event("answer", "upgraded", ack=1))
        await ws.message_for('43/wire,1["upgraded"]')
        upgraded.append(True)
        assert await ws.close_code() == 1000
        (await posting).close()


async def test_nothing_is_written_to_a_websocket_behind_its_closing() -> None:
    node, room = Node(), Room()
    member = node.member(room)
    connection = node.connections[member.eio_sid]
    connection.engine = Engine()
    node.fanout.broadcast(room, Packet("before"))
    node.fanout.close(member, "entries lost")
    written = len(connection.transport.writes)
    node.fanout.flush()
    assert connection.closing
    assert len(connection.transport.writes) == written


class Engine:
    """What a connection tells of its messages, and of its end."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.receiver = SimpleNamespace(received=lambda sid, data: self.received.append(data))

    class reason:
        SERVER_DISCONNECT = "server disconnect"
        CLIENT_DISCONNECT = "client disconnect"
        TRANSPORT_CLOSE = "transport close"

    class pings:
        @staticmethod
        def discard(connection: object) -> None:
            """Is not asked."""

    def end_later(self, connection: object, reason: str) -> None:
        """The handlers are nobody here."""
