"""Upgrades from long-polling to a WebSocket, packet by packet: nothing is lost, doubled or moved, whenever it
is said, and an upgrade that fails leaves the session as it was.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest

from app.settings import load_settings
from app.transport import protocol
from app.transport.protocol import WebSocketConnection
from tests.support.eventually import eventually, steadily
from tests.support.raw_websocket import (
    CLOSE,
    TARGET,
    TEXT,
    RawWebSocket,
    announced,
    answering,
    client_frame,
    close_payload,
    event,
    raw_upgrade,
    raw_websocket,
    text,
)
from tests.support.redis_server import RedisServer
from tests.support.serving import serve
from tests.support.wire_app import create_app
from tests.support.wire_node import WireCluster, shared_wire_cluster, wire_cluster

from .engine import Refusal, Session

MAX_MESSAGE_BYTES = 50_000
EVENT_QUEUE_MAX = 8
ROOM = "room"
SAID = '42/wire,["said"'


@pytest.fixture(scope="module")
def cluster(redis_server: RedisServer, cluster_prefix: str) -> Iterator[WireCluster]:
    """Two nodes, sound at the end."""
    settings = {"MAX_MESSAGE_BYTES": str(MAX_MESSAGE_BYTES), "EVENT_QUEUE_MAX": str(EVENT_QUEUE_MAX)}
    yield from shared_wire_cluster(redis_server.url, cluster_prefix, 2, **settings)


@pytest.fixture(params=["its own node", "another node"])
def at(request: pytest.FixtureRequest, cluster: WireCluster) -> str:
    """Where upgrades of the first node's sessions go."""
    return cluster[0 if request.param == "its own node" else 1].url


@pytest.fixture
async def speaker(cluster: WireCluster) -> AsyncIterator[RawWebSocket]:
    """A member of the room that hears itself."""
    async with raw_websocket(cluster.url) as ws:
        await ws.say(event("join", ROOM, ack=1))
        await ws.message_for("43/wire,1")
        yield ws


@pytest.fixture
async def listener(http: aiohttp.ClientSession, cluster: WireCluster) -> Session:
    """A member of the room by long-polling."""
    return await member(http, cluster.url)


async def member(http: aiohttp.ClientSession, url: str) -> Session:
    session = await Session.open(http, url)
    await session.connect(namespace="/wire")
    await session.post(event("join", ROOM, ack=1))
    await session.poll_for("43/wire,1")
    return session


async def tell(speaker: RawWebSocket, *words: str) -> None:
    """Says them in the room and waits until they have come back: the room's others have them then, too."""
    await speaker.say(*(event("say", ROOM, word) for word in words))
    assert [heard(await speaker.message_for(SAID)) for _ in words] == list(words)


def heard(packet: str) -> str:
    """What was said."""
    word: str = orjson.loads(packet[packet.index("[") :])[1]
    return word


async def read(ws: RawWebSocket, count: int) -> list[str]:
    return [heard(await ws.message_for(SAID)) for _ in range(count)]


async def still_works(ws: RawWebSocket, speaker: RawWebSocket) -> None:
    """Both directions of a session that was upgraded."""
    await ws.say(event("answer", "own", ack=9))
    assert await ws.message_for("43/wire,9") == '43/wire,9["own"]'
    await tell(speaker, "afterwards")
    assert await read(ws, 1) == ["afterwards"]


async def sessions(cluster: WireCluster) -> int:
    count: int = (await cluster.state())["sessions"]
    return count


@pytest.mark.parametrize("poll", ["a poll in flight", "no poll in flight"])
async def test_what_is_said_at_any_step_of_an_upgrade_arrives_once_and_in_order(
    cluster: WireCluster, speaker: RawWebSocket, listener: Session, at: str, poll: str
) -> None:
    polls, got = poll == "a poll in flight", []
    pending = asyncio.create_task(listener.poll()) if polls else None
    await tell(speaker, "before", "still before")
    async with raw_upgrade(at, listener.sid) as ws:
        await tell(speaker, "opened")
        if pending is not None:
            got += await pending
            while [heard(packet) for packet in got] != ["before", "still before", "opened"]:
                got += await listener.poll()
            pending = asyncio.create_task(listener.poll())
            await cluster.state()  # the poll is there
        await ws.say("2probe")
        assert await ws.message() == "3probe"
        await tell(speaker, "probed")
        if pending is not None:
            assert [packet for packet in await pending if packet == "6"] == ["6"]
            got += [packet for packet in pending.result() if packet != "6"]
        assert await listener.poll() == ["6"]
        await tell(speaker, "between", "and between")
        await ws.say("5", event("say", ROOM, "own, behind the 5"), event("say", ROOM, "own, behind that"))
        await speaker.message_for(SAID)
        await speaker.message_for(SAID)
        await tell(speaker, "upgraded")
        words = ["before", "still before", "opened", "probed", "between", "and between"]
        words += ["own, behind the 5", "own, behind that", "upgraded"]
        assert [heard(packet) for packet in got] + await read(ws, len(words) - len(got)) == words
        await still_works(ws, speaker)


async def test_binary_that_waited_for_a_poll_comes_as_frames_after_the_upgrade(
    cluster: WireCluster, speaker: RawWebSocket, listener: Session
) -> None:
    placeholder = {"_placeholder": True, "num": 0}
    data = bytes(range(256)) * 5
    packet = event("say", ROOM, placeholder).replace("42/wire,", "451-/wire,")
    await speaker.send(text(packet) + client_frame(2, data))
    await speaker.message_for('451-/wire,["said"')
    assert await speaker.message() == data
    async with raw_upgrade(cluster.url, listener.sid) as ws:
        await ws.say("2probe", "5")
        assert await ws.message() == "3probe"
        assert orjson.loads((await ws.message_for("451-/wire,")).partition(",")[2]) == ["said", placeholder]
        assert await ws.message() == data
        await still_works(ws, speaker)


@pytest.mark.parametrize("way", ["left alone", "broken off"])
async def test_a_poll_in_flight_does_not_end_a_session_that_was_upgraded_meanwhile(
    redis_server: RedisServer, key_prefix: str, http: aiohttp.ClientSession, way: str
) -> None:
    """The probe and the upgrade's end come in one segment; the poll's end is not the session's by then."""
    settings = {"PING_INTERVAL_S": "0.5", "PING_TIMEOUT_S": "0.5"}
    async with wire_cluster(redis_server.url, key_prefix, **settings) as running:
        session = await Session.open(http, running.url)
        await session.connect(namespace="/wire")
        pending = asyncio.create_task(session.poll())
        await eventually(lambda: polls(running))
        async with raw_upgrade(running.url, session.sid) as ws:
            await ws.say("2probe", "5")
            assert await ws.message() == "3probe"
            if way == "broken off":
                pending.cancel()
            async with answering(ws) as inbox:
                await steadily(lambda: session_is_there(running), 1.5)
                await ws.say(event("answer", "still here", ack=1))
                await eventually(lambda: '43/wire,1["still here"]' in inbox)
            pending.cancel()


async def polls(running: WireCluster) -> bool:
    """Whether a poll has come."""
    return bool((await running.state())["polls"])


async def session_is_there(running: WireCluster) -> bool:
    return await sessions(running) == 1


async def test_a_poll_in_flight_is_ended_by_an_upgrade_whose_probe_and_end_come_in_one_segment(
    cluster: WireCluster, listener: Session
) -> None:
    pending = asyncio.create_task(listener.poll())
    await eventually(lambda: polls(cluster))
    async with raw_upgrade(cluster.url, listener.sid) as ws:
        await ws.say("2probe", "5")
        assert await ws.message() == "3probe"
        await eventually(pending.done, 2)
        assert pending.result() == ["6"]


async def test_a_frame_that_is_too_big_right_behind_the_5_ends_the_session_at_once(
    cluster: WireCluster, speaker: RawWebSocket, listener: Session
) -> None:
    before = await sessions(cluster)
    async with raw_upgrade(cluster.url, listener.sid) as ws:
        await ws.say("2probe")
        assert await ws.message() == "3probe"
        await ws.send(text("5") + announced(TEXT, MAX_MESSAGE_BYTES + 1))
        assert await ws.close_code() == 1009

        async def gone() -> bool:
            return await sessions(cluster) == before - 1

        await eventually(gone, 2.0)
        await tell(speaker, "to nobody")


# --- rivals --------------------------------------------------------------------------------------------------


async def test_of_two_upgrades_the_first_to_probe_wins(
    cluster: WireCluster, speaker: RawWebSocket, listener: Session, at: str
) -> None:
    async with raw_upgrade(at, listener.sid) as slow, raw_upgrade(cluster.url, listener.sid) as fast:
        await fast.say("2probe")
        assert await fast.message() == "3probe"
        await slow.say("2probe")
        assert await slow.close_code() == 1000
        await tell(speaker, "between")
        await fast.say("5")
        assert await read(fast, 1) == ["between"]
        await still_works(fast, speaker)


@pytest.mark.parametrize("word", ["5", "2probe", "4hello", "1", "3"])
async def test_a_rival_changes_nothing_whatever_it_says(
    cluster: WireCluster, speaker: RawWebSocket, listener: Session, word: str
) -> None:
    async with raw_upgrade(cluster.url, listener.sid) as rival, raw_upgrade(cluster.url, listener.sid) as ws:
        await ws.say("2probe")
        assert await ws.message() == "3probe"
        await rival.say(word)
        assert await rival.close_code() == 1000
        await tell(speaker, "between")
        await ws.say("5")
        assert await read(ws, 1) == ["between"]
        await still_works(ws, speaker)


async def test_while_an_upgrade_is_under_way_another_is_not_opened(
    cluster: WireCluster, speaker: RawWebSocket, listener: Session, at: str
) -> None:
    async with raw_upgrade(cluster.url, listener.sid) as ws:
        await ws.say("2probe")
        assert await ws.message() == "3probe"
        rival = await RawWebSocket.connect(at)
        with contextlib.suppress(AssertionError):
            await rival.shake_hands(f"{TARGET}&sid={listener.sid}")
            await rival.say("2probe")
            assert await rival.close_code() in (1000, 1008, 1011)
        rival.close()
        await ws.say("5")
        await still_works(ws, speaker)


# --- broken off ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["a close frame", "an end", "a reset", "a wrong word"])
@pytest.mark.parametrize("probed", [True, False])
async def test_an_upgrade_broken_off_leaves_polling_as_it_was(
    cluster: WireCluster, speaker: RawWebSocket, listener: Session, at: str, how: str, probed: bool
) -> None:
    await tell(speaker, "before")
    async with raw_upgrade(at, listener.sid) as ws:
        if probed:
            await ws.say("2probe")
            assert await ws.message() == "3probe"
            await tell(speaker, "probed")
            assert await listener.poll() == ["6"]
        if how == "a close frame":
            await ws.send(client_frame(CLOSE, close_payload(1001)))
            assert await ws.close_code() == 1001
        elif how == "a wrong word":
            await ws.say("4hello")
            assert await ws.close_code() == 1000
        elif how == "a reset":
            ws.reset()
    words = ["before", "probed"] if probed else ["before"]
    assert [heard(packet) for packet in await listener.poll_many(SAID, len(words))] == words
    await tell(speaker, "after")
    assert heard(await listener.poll_for(SAID)) == "after"
    async with raw_upgrade(at, listener.sid) as ws:
        await ws.say("2probe")
        assert await ws.message() == "3probe"
        await ws.say("5")
        await still_works(ws, speaker)


@asynccontextmanager
async def node_of_this_process(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[str]:
    """For what must be shortened; yields its URL."""
    app = create_app(load_settings(redis_url=redis_server.url, key_prefix=key_prefix))
    async with serve(app, ws=WebSocketConnection, lifespan="on") as url:
        yield url


@pytest.mark.parametrize("words", [[], ["2probe"]])
async def test_an_upgrade_that_is_never_finished_ends_after_its_time(
    redis_server: RedisServer,
    key_prefix: str,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    monkeypatch.setattr(protocol, "UPGRADE_TIMEOUT_S", 0.3)
    async with node_of_this_process(redis_server, key_prefix) as url:
        session = await Session.open(http, url)
        await session.connect(namespace="/wire")
        async with raw_upgrade(url, session.sid) as ws:
            await ws.say(*words)
            assert await ws.close_code(2) == 1000
        await session.post(event("answer", "still here", ack=1))
        assert await session.poll_for("43/wire,1") == '43/wire,1["still here"]'


# --- sessions that end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("probed", [True, False])
@pytest.mark.parametrize("who", ["the client", "the server"])
async def test_a_session_that_ends_cannot_be_upgraded_any_more(
    cluster: WireCluster, listener: Session, at: str, probed: bool, who: str
) -> None:
    before = await sessions(cluster)
    async with raw_upgrade(at, listener.sid) as ws:
        if probed:
            await ws.say("2probe")
            assert await ws.message() == "3probe"
        if who == "the client":
            await listener.post("1")
        else:
            with contextlib.suppress(Refusal):
                await listener.post("4garbage")  # which a session does not survive
        await ws.say("5" if probed else "2probe")
        assert await ws.close_code() == 1000

    async def gone() -> bool:
        return await sessions(cluster) == before - 1

    await eventually(gone)
    refused = await RawWebSocket.connect(cluster.url)
    with pytest.raises(AssertionError, match=r"\(40[03],"):
        await refused.shake_hands(f"{TARGET}&sid={listener.sid}")
    refused.close()


async def test_a_post_that_waits_while_its_session_is_upgraded_is_handled_to_its_end(
    cluster: WireCluster, speaker: RawWebSocket, listener: Session
) -> None:
    """Reading is paused while too much is unhandled; that must not be for ever."""
    await speaker.say(event("shut", ack=2))
    await speaker.message_for("43/wire,2")
    count = EVENT_QUEUE_MAX + 4
    posting = asyncio.create_task(listener.post(*(event("hold", n) for n in range(count))))
    try:
        await eventually(lambda: is_held(cluster))
        async with raw_upgrade(cluster.url, listener.sid) as ws:
            await ws.say("2probe")
            assert await ws.message() == "3probe"
            await ws.say("5")
            await still_open(ws, speaker)
            await speaker.say(event("gate"))
            await eventually(posting.done)
            assert await posting == b"OK"

            async def handled() -> bool:
                return bool((await cluster.state())["handled"] == list(range(count)))

            await eventually(handled)
    finally:
        posting.cancel()
        await speaker.say(event("gate"))


async def is_held(cluster: WireCluster) -> bool:
    """Whether a client's events wait."""
    return bool((await cluster.state())["lines"])


async def still_open(ws: RawWebSocket, speaker: RawWebSocket) -> None:
    """What the server sends comes by the WebSocket."""
    await tell(speaker, "while held")
    assert await read(ws, 1) == ["while held"]
