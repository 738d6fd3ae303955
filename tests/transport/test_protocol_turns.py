"""What one client sends at once costs the others a turn at a time, and what was closed stays closed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

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
# What a loop turn of another client may take while the flood is handled; all of it at once took 660 ms.
ANSWER_WITHIN_S = 0.4


@pytest.fixture(scope="module")
def cluster(redis_server: RedisServer, cluster_prefix: str) -> Iterator[WireCluster]:
    """One node, sound at the end."""
    yield from shared_wire_cluster(redis_server.url, cluster_prefix, 1)


@pytest.mark.parametrize("frame", [text("431[]"), client_frame(PING), text("3")], ids=["acks", "pings", "pongs"])
async def test_a_flood_of_small_frames_leaves_the_others_their_turn(cluster: WireCluster, frame: bytes) -> None:
    async with raw_websocket(cluster.url) as flooding, raw_websocket(cluster.url) as other:
        await flooding.send(frame * FLOOD_FRAMES)
        started_s = time.monotonic()
        await other.say(event("answer", "here", ack=1))
        await other.message_for('43/wire,1["here"]')
        assert time.monotonic() - started_s < ANSWER_WITHIN_S
        await flooding.say(event("answer", "all read", ack=2))
        while (await flooding.frame()).payload != b'43/wire,2["all read"]':
            pass


async def test_a_close_frame_behind_a_goodbye_ends_the_connection_at_once(cluster: WireCluster) -> None:
    async with raw_websocket(cluster.url) as ws:
        await ws.send(text("1") + client_frame(CLOSE, close_payload(1000)))
        started_s = time.monotonic()
        assert await ws.close_code() == 1000
        await ws.rest()
        assert time.monotonic() - started_s < 0.8  # it waits a second for a client's close frame


async def test_a_goodbye_in_a_post_that_outlasts_an_upgrade_ends_the_websocket(
    cluster: WireCluster, http: aiohttp.ClientSession
) -> None:
    session = await Session.open(http, cluster.url)
    await session.connect(namespace="/wire")

    upgraded: list[bool] = []

    async def slowly() -> AsyncIterator[bytes]:
        yield event("echo", "before").encode()
        await eventually(lambda: upgraded)
        yield b"\x1e" + b"\x1e".join([b"3"] * 10 + [b"1"])

    posting = asyncio.ensure_future(http.post(session.poll_url(), data=slowly()))
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
    """What a connection tells of its end."""

    class reason:
        SERVER_DISCONNECT = "server disconnect"

    class pings:
        @staticmethod
        def discard(connection: object) -> None:
            """Is not asked."""

    def end_later(self, connection: object, reason: str) -> None:
        """The handlers are nobody here."""
