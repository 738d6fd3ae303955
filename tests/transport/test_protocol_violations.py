"""Clients that break RFC 6455: the connection ends with the code that is due, and nobody else notices."""

import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    RawWebSocket,
    announced,
    client_frame,
    close_payload,
    event,
    raw_upgrade,
    raw_websocket,
    server_frame,
    text,
)
from tests.support.redis_server import RedisServer
from tests.support.wire_node import WireCluster, shared_wire_cluster

from .engine import Session

MAX_MESSAGE_BYTES = 50_000
PROTOCOL_ERROR, INVALID_TEXT, TOO_BIG = 1002, 1007, 1009
# The server waits a second for the client's close frame.
ENDS_WITHIN_S = 3.0

BAD = {
    "no mask": (client_frame(TEXT, "4", mask=None), PROTOCOL_ERROR),
    "no mask on a close": (client_frame(CLOSE, mask=None), PROTOCOL_ERROR),
    "RSV1": (client_frame(TEXT, "4", reserved=0x40), PROTOCOL_ERROR),
    "RSV2": (client_frame(TEXT, "4", reserved=0x20), PROTOCOL_ERROR),
    "RSV3": (client_frame(PING, "4", reserved=0x10), PROTOCOL_ERROR),
    **{f"opcode {each}": (client_frame(each, "4"), PROTOCOL_ERROR) for each in (3, 7, 11, 15)},
    "a fragmented ping": (client_frame(PING, "4", final=False), PROTOCOL_ERROR),
    "a fragmented close": (client_frame(CLOSE, final=False), PROTOCOL_ERROR),
    "a long ping": (client_frame(PING, "x" * 126), PROTOCOL_ERROR),
    "a long pong": (client_frame(PONG, "x" * 70_000), PROTOCOL_ERROR),
    "a long close": (client_frame(CLOSE, close_payload(1000, b"x" * 124)), PROTOCOL_ERROR),
    "a continuation of nothing": (client_frame(CONTINUATION, "4"), PROTOCOL_ERROR),
    "a new message within one": (client_frame(TEXT, "4", final=False) + text("4"), PROTOCOL_ERROR),
    "a size in too many bytes": (b"\x81\xfe\x00\x05" + bytes(9), PROTOCOL_ERROR),
    "a size of 2**63": (b"\x81\xff\x80" + bytes(11), PROTOCOL_ERROR),
    "no UTF-8": (client_frame(TEXT, b"4\xff\xfe"), INVALID_TEXT),
    "half a character": (client_frame(TEXT, b"4" + "한".encode()[:2]), INVALID_TEXT),
    "a surrogate": (client_frame(TEXT, b"4\xed\xa0\x80"), INVALID_TEXT),
    "no UTF-8 in fragments": (
        client_frame(TEXT, b"4\xed", final=False) + client_frame(CONTINUATION, b"\x20"),
        INVALID_TEXT,
    ),
    "no UTF-8 in a long text": (client_frame(TEXT, b"4" + b"x" * 40_000 + b"\xff"), INVALID_TEXT),
    "no UTF-8 as a reason": (client_frame(CLOSE, close_payload(1000, b"\xff")), INVALID_TEXT),
    "a text too big": (client_frame(TEXT, "4" + "x" * MAX_MESSAGE_BYTES), TOO_BIG),
    "a text announced too big": (announced(TEXT, MAX_MESSAGE_BYTES + 1), TOO_BIG),
    "a text announced as a gigabyte": (announced(TEXT, 1 << 30), TOO_BIG),
    "binary announced too big": (announced(BINARY, MAX_MESSAGE_BYTES + 1), TOO_BIG),
    "fragments too big together": (
        client_frame(TEXT, b"4" * MAX_MESSAGE_BYTES, final=False) + announced(CONTINUATION, 1),
        TOO_BIG,
    ),
    "half a close code": (client_frame(CLOSE, b"\x03"), PROTOCOL_ERROR),
    **{
        f"close code {code}": (client_frame(CLOSE, close_payload(code)), PROTOCOL_ERROR)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
    },
}


@pytest.fixture(scope="module")
def cluster(redis_server: RedisServer, cluster_prefix: str) -> Iterator[WireCluster]:
    """One node, sound at the end: no client's fault is a traceback in its log."""
    limits = {"MAX_MESSAGE_BYTES": str(MAX_MESSAGE_BYTES)}
    yield from shared_wire_cluster(redis_server.url, cluster_prefix, 1, **limits)


@pytest.fixture
async def witness(cluster: WireCluster) -> AsyncIterator[RawWebSocket]:
    """Another client, which the end of the test finds as it was."""
    async with raw_websocket(cluster.url) as ws:
        yield ws
        await ws.say(event("answer", "undisturbed", ack=1))
        due = server_frame(TEXT, b'43/wire,1["undisturbed"]')
        assert await ws.take(len(due)) == due


async def has_sessions(cluster: WireCluster, count: int) -> bool:
    return bool((await cluster.state())["sessions"] == count)


@pytest.mark.parametrize("what", BAD)
async def test_who_breaks_the_protocol_is_told_how_and_is_gone(
    cluster: WireCluster, witness: RawWebSocket, what: str
) -> None:
    bad, code = BAD[what]
    async with raw_websocket(cluster.url) as ws:
        await ws.send(text(event("note", f"before {what}")) + bad + text(event("note", "behind")))
        due = server_frame(CLOSE, close_payload(code))
        assert await ws.take(len(due)) == due
        await eventually(lambda: has_sessions(cluster, 1), ENDS_WITHIN_S)
        await ws.send(text(event("note", "behind")) + client_frame(CLOSE, close_payload(code)))
    handled = (await cluster.state())["handled"]
    assert f"before {what}" in handled
    assert "behind" not in handled


async def test_who_does_not_answer_a_close_frame_is_cut_off(cluster: WireCluster, witness: RawWebSocket) -> None:
    async with raw_websocket(cluster.url) as ws:
        started_s = time.monotonic()
        await ws.send(BAD["RSV1"][0])
        assert await ws.rest(ENDS_WITHIN_S) == server_frame(CLOSE, close_payload(PROTOCOL_ERROR))
        assert time.monotonic() - started_s < ENDS_WITHIN_S


async def test_who_goes_on_sending_what_is_too_big_is_cut_off(cluster: WireCluster, witness: RawWebSocket) -> None:
    async with raw_websocket(cluster.url) as ws:
        before = await cluster.state()
        await ws.send(announced(TEXT, 1 << 40))
        started_s = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() - started_s < ENDS_WITHIN_S:
                await ws.send(bytes(100_000))
        assert (await cluster.state())["rss_kb"] - before["rss_kb"] < 8_000


@pytest.mark.parametrize(
    "behind",
    [text(event("note", "behind")), client_frame(PING), BAD["RSV1"][0], client_frame(CLOSE), b"\0" * 1000],
)
async def test_nothing_behind_a_close_frame_is_read(
    cluster: WireCluster, witness: RawWebSocket, behind: bytes
) -> None:
    async with raw_websocket(cluster.url) as ws:
        await ws.send(client_frame(CLOSE, close_payload(1001)) + behind)
        assert await ws.rest(ENDS_WITHIN_S) == server_frame(CLOSE, close_payload(1001))
        await eventually(lambda: has_sessions(cluster, 1), ENDS_WITHIN_S)
    assert "behind" not in (await cluster.state())["handled"]


@pytest.mark.parametrize("packet", ["", "9", "2", "5", "6", "0{}", "bnot base64!", "2probe", "4", "4x", "4999"])
async def test_what_is_no_packet_ends_the_session(
    cluster: WireCluster, witness: RawWebSocket, packet: str
) -> None:
    async with raw_websocket(cluster.url) as ws:
        await ws.say(packet)
        assert await ws.close_code() == 1000
        await eventually(lambda: has_sessions(cluster, 1), ENDS_WITHIN_S)


@pytest.mark.parametrize("what", ["no mask", "no UTF-8", "a text announced too big", "close code 1005"])
async def test_who_breaks_the_protocol_while_it_upgrades_keeps_polling(
    cluster: WireCluster, witness: RawWebSocket, http: aiohttp.ClientSession, what: str
) -> None:
    bad, code = BAD[what]
    session = await Session.open(http, cluster.url)
    await session.connect(namespace="/wire")
    for probes in ([], ["2probe"]):
        async with raw_upgrade(cluster.url, session.sid) as ws:
            await ws.say(*probes)
            for _ in probes:
                assert await ws.message() == "3probe"
            await ws.send(bad)
            assert await ws.close_code() == code
        await session.post(event("answer", "still here", ack=1))
        assert await session.poll_for("43/wire,1") == '43/wire,1["still here"]'
    await session.post("1")


@pytest.mark.parametrize("what", ["no mask", "no UTF-8", "a text too big", "close code 1005"])
async def test_who_breaks_the_protocol_after_its_upgrade_is_gone(
    cluster: WireCluster, witness: RawWebSocket, http: aiohttp.ClientSession, what: str
) -> None:
    bad, code = BAD[what]
    session = await Session.open(http, cluster.url)
    await session.connect(namespace="/wire")
    async with raw_upgrade(cluster.url, session.sid) as ws:
        await ws.say("2probe")
        assert await ws.message() == "3probe"
        await ws.send(text("5") + bad)
        assert await ws.close_code() == code
        await eventually(lambda: has_sessions(cluster, 1), ENDS_WITHIN_S)
