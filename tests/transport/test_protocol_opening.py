"""Openings of WebSockets: what is refused is refused in HTTP, and what is broken off leaves nothing behind."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson
import pytest

from tests.support.eventually import eventually
from tests.support.raw_websocket import (
    TARGET,
    RawWebSocket,
    client_frame,
    event,
    opening,
    raw_websocket,
    text,
)
from tests.support.redis_server import RedisServer
from tests.support.wire_node import WireCluster, shared_wire_cluster

POLLING = "/socket.io/?EIO=4&transport=polling"
ELSEWHERE = "0123abcd" + "A" * 20  # the sid of a session of a node that is no more
BROKEN_OFF = 1_000
AT_ONCE = 20

REFUSED: dict[str, tuple[str, dict[str, str], tuple[int, ...]]] = {
    "a foreign origin": (TARGET, {"Origin": "http://evil.example"}, (400, 403)),
    "a foreign origin to upgrade": (f"{TARGET}&sid=x", {"Origin": "http://evil.example"}, (400, 403)),
    "a null origin": (TARGET, {"Origin": "null"}, (400, 403)),
    "Engine.IO 3": ("/socket.io/?EIO=3&transport=websocket", {}, (400, 403)),
    "no Engine.IO": ("/socket.io/?transport=websocket", {}, (400, 403)),
    "an unknown session": (f"{TARGET}&sid=nobody", {}, (400, 403)),
    "a dead node's session": (f"{TARGET}&sid={ELSEWHERE}", {}, (400, 403)),
    "two sessions": (f"{TARGET}&sid=a&sid=b", {}, (400, 403)),
    "an unknown transport": ("/socket.io/?EIO=4&transport=carrier", {}, (400, 403)),
    "JSONP": (f"{TARGET}&j=0", {}, (400, 403)),
    "another path": ("/elsewhere?EIO=4&transport=websocket", {}, (400, 403, 404)),
    "version 8": (TARGET, {"Sec-WebSocket-Version": "8"}, (400, 426)),
    "no version": (TARGET, {"Sec-WebSocket-Version": ""}, (400, 426)),
    "no key": (TARGET, {"Sec-WebSocket-Key": ""}, (400,)),
    "a short key": (TARGET, {"Sec-WebSocket-Key": "c2hvcnQ="}, (400,)),
    "a key that is no base64": (TARGET, {"Sec-WebSocket-Key": "!" * 24}, (400,)),
    "an upgrade to something else": (TARGET, {"Upgrade": "h2c"}, (400,)),
    "no upgrade": (TARGET, {"Upgrade": "", "Connection": ""}, (400,)),
    "a folded header": (TARGET, {"X-Folded": "a\r\n b"}, (400,)),
}


@pytest.fixture(scope="module")
def cluster(redis_server: RedisServer, cluster_prefix: str) -> Iterator[WireCluster]:
    """One node, sound at the end."""
    yield from shared_wire_cluster(redis_server.url, cluster_prefix, 1)


async def holds_nothing(cluster: WireCluster) -> bool:
    state = await cluster.state()
    held = {name: state[name] for name in ("sessions", "pinged", "sockets", "rooms", "lines", "half_packets")}
    assert not any(held.values()), held
    return True


@pytest.mark.parametrize("what", REFUSED)
async def test_who_is_refused_is_told_so_in_http(cluster: WireCluster, what: str) -> None:
    target, headers, statuses = REFUSED[what]
    ws = await RawWebSocket.connect(cluster.url)
    await ws.send(opening(ws.host, target, headers.items()))
    status, answered, _ = await ws.answer()
    assert status in statuses, (status, answered)
    assert "date" in answered
    if answered.get("connection") == "close":
        assert await ws.rest() == b""
    ws.close()
    assert await holds_nothing(cluster)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("announced", ["Content-Length: 2", "Transfer-Encoding: chunked"])
async def test_an_opening_has_no_body(cluster: WireCluster, method: str, announced: str) -> None:
    ws = await RawWebSocket.connect(cluster.url)
    head = opening(ws.host).replace(b"GET", method.encode(), 1)
    await ws.send(head.replace(b"\r\n\r\n", f"\r\n{announced}\r\n\r\n2:".encode()))
    status, _, _ = await ws.answer()
    assert status == 400
    assert await ws.rest() == b""
    ws.close()
    assert await holds_nothing(cluster)


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS"])
async def test_only_get_opens_a_websocket(cluster: WireCluster, method: str) -> None:
    ws = await RawWebSocket.connect(cluster.url)
    await ws.send(opening(ws.host).replace(b"GET", method.encode(), 1))
    status, _, _ = await ws.answer()
    assert status in (400, 405)
    ws.close()
    assert await holds_nothing(cluster)


async def test_a_websocket_that_asks_for_polling_is_refused(cluster: WireCluster) -> None:
    ws = await RawWebSocket.connect(cluster.url)
    await ws.send(opening(ws.host, POLLING))
    status, _, _ = await ws.answer()
    sessions = (await cluster.state())["sessions"]
    ws.close()
    if sessions:
        await end_all(cluster)
    assert (status, sessions) in ((400, 0), (403, 0))


async def end_all(cluster: WireCluster) -> None:
    """The session that is left has no client; its node forgets it with a new start."""
    await asyncio.to_thread(cluster[0].kill)
    cluster[0].start()
    await cluster.ready()


async def test_a_request_for_extensions_and_protocols_is_answered_without_them(cluster: WireCluster) -> None:
    ws = await RawWebSocket.connect(cluster.url)
    offered = {"Sec-WebSocket-Extensions": "permessage-deflate", "Sec-WebSocket-Protocol": "chat"}
    await ws.send(opening(ws.host, TARGET, offered.items()))
    status, answered, _ = await ws.answer()
    assert status == 101
    assert {"sec-websocket-extensions", "sec-websocket-protocol"}.isdisjoint(answered)
    await ws.open_engine()
    await ws.enter()
    ws.close()


async def works(ws: RawWebSocket) -> None:
    await ws.open_engine()
    await ws.enter()
    await ws.say(event("answer", "works", ack=1))
    assert await ws.message() == '43/wire,1["works"]'
    ws.close()


async def test_a_request_may_come_byte_by_byte(cluster: WireCluster) -> None:
    ws = await RawWebSocket.connect(cluster.url)
    await ws.send_bytewise(opening(ws.host))
    assert (await ws.answer())[0] == 101
    await works(ws)


async def test_a_request_may_be_cut_anywhere(cluster: WireCluster) -> None:
    chance = random.Random(3)
    for _ in range(10):
        ws = await RawWebSocket.connect(cluster.url)
        request = opening(ws.host, headers={"X-Long": "x" * 5_000}.items())
        cuts = sorted(chance.randrange(len(request)) for _ in range(5))
        for start, end in itertools.pairwise([0, *cuts, len(request)]):
            await ws.send(request[start:end])
            await asyncio.sleep(0)
        assert (await ws.answer())[0] == 101
        await works(ws)


async def test_a_connection_that_made_requests_before_may_become_a_websocket(cluster: WireCluster) -> None:
    ws = await RawWebSocket.connect(cluster.url)
    for path in ("/healthz", "/api/nodes", "/healthz"):
        await ws.send(f"GET {path} HTTP/1.1\r\nHost: {ws.host}\r\n\r\n".encode())
        status, headers, _ = await ws.answer()
        assert (status, headers.get("connection")) == (200, None)
    await ws.shake_hands()
    await works(ws)


async def test_a_session_may_be_polled_and_upgraded_on_one_connection(cluster: WireCluster) -> None:
    ws = await RawWebSocket.connect(cluster.url)
    sid = await open_by_polling(ws)
    await ws.shake_hands(f"{TARGET}&sid={sid}")
    await ws.say("2probe")
    assert await ws.message() == "3probe"
    await ws.say("5", "40/wire,")
    assert str(await ws.message()).startswith("40/wire,")
    ws.close()


async def open_by_polling(ws: RawWebSocket) -> str:
    """A new session, by a request on this connection."""
    await ws.send(f"GET {POLLING} HTTP/1.1\r\nHost: {ws.host}\r\n\r\n".encode())
    _, _, body = await ws.answer()
    sid: str = orjson.loads(body[1:])["sid"]
    return sid


# --- broken off ------------------------------------------------------------------------------------------------


async def half_a_head(ws: RawWebSocket) -> None:
    await ws.send(opening(ws.host)[:60])


async def a_head(ws: RawWebSocket) -> None:
    await ws.send(opening(ws.host))


async def an_answer(ws: RawWebSocket) -> None:
    await ws.shake_hands()


async def a_session(ws: RawWebSocket) -> None:
    await ws.shake_hands()
    await ws.open_engine()


async def half_a_frame(ws: RawWebSocket) -> None:
    await a_session(ws)
    await ws.send(text("40/wire,{}")[:7])


async def a_connect(ws: RawWebSocket) -> None:
    await a_session(ws)
    await ws.say("40/wire,{}", '40{"room":"broken off"}', "40/lobby,")


async def a_join(ws: RawWebSocket) -> None:
    await a_session(ws)
    await ws.enter("/", {"room": "broken off"})
    await ws.enter()
    await ws.say(event("join", "broken off", ack=1), event("say", "broken off", "hello"), "41")


async def an_attachment(ws: RawWebSocket) -> None:
    await a_session(ws)
    await ws.enter()
    holder = {"_placeholder": True, "num": 0}
    await ws.say(event("answer", holder).replace("42", "452-", 1).replace("452-/", "452-/"))
    await ws.send(client_frame(2, b"one"))


async def an_upgrade(ws: RawWebSocket) -> None:
    sid = await open_by_polling(ws)
    await ws.shake_hands(f"{TARGET}&sid={sid}")
    await ws.say("2probe", "5", '40{"room":"broken off"}')


STEPS: list[Callable[[RawWebSocket], Awaitable[Any]]] = [
    *(half_a_head, a_head, an_answer, a_session, half_a_frame, a_connect, a_join, an_attachment, an_upgrade)
]


async def test_a_thousand_connections_that_break_off_at_any_step_leave_nothing(
    redis_server: RedisServer, cluster_prefix: str, cluster: WireCluster
) -> None:
    free = asyncio.Semaphore(AT_ONCE)

    async def break_off(number: int) -> None:
        async with free:
            ws = await RawWebSocket.connect(cluster.url)
            await STEPS[number % len(STEPS)](ws)
            if number // len(STEPS) % 2:
                ws.reset()
            else:
                ws.close()

    await asyncio.gather(*map(break_off, range(BROKEN_OFF)))

    await eventually(lambda: holds_nothing(cluster), 10)

    async def nothing_is_listed() -> bool:
        (node,) = (await cluster.get("/api/nodes"))["nodes"][-1:]
        assert node["connections"] == 0, node
        return True

    await eventually(nothing_is_listed)
    keys = await asyncio.to_thread(redis_server.command, "KEYS", f"{cluster_prefix}:*")
    left = [key for key in keys if key.endswith((":members", ":roster", ":sockets")) or ":socket:" in key]
    assert left == []
    assert (await cluster.state())["tasks"] < 30
    async with raw_websocket(cluster.url) as ws:
        await ws.say(event("answer", "still here", ack=1))
        assert await ws.message_for("43") == '43/wire,1["still here"]'
