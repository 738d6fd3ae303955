"""Frames on the wire of a running node, byte for byte, in both directions and however they are cut."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator

import aiohttp
import orjson
import pytest

from tests.support.raw_websocket import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    RawWebSocket,
    client_frame,
    close_payload,
    event,
    fragments,
    raw_upgrade,
    raw_websocket,
    server_frame,
    text,
)
from tests.support.redis_server import RedisServer
from tests.support.wire_node import WireCluster, shared_wire_cluster

from .engine import Session

# Of the whole frame's payload, on both sides of where its head grows; 0 and 1 only fit an attachment.
SIZES = (125, 126, 65_535, 65_536, 1_000_000)
ANY_SIZES = (0, 1, *SIZES)
LETTERS = {"ascii": "x", "korean": "한", "emoji": "👩‍👩‍👧‍👦🇰🇷"}
ACK = 1


@pytest.fixture(scope="module")
def cluster(redis_server: RedisServer, cluster_prefix: str) -> Iterator[WireCluster]:
    """One node that takes a little more than a megabyte, sound at the end."""
    limits = {"MAX_MESSAGE_BYTES": "1200000", "SEND_BUFFER_BYTES": "8000000"}
    yield from shared_wire_cluster(redis_server.url, cluster_prefix, 1, **limits)


@pytest.fixture
async def ws(cluster: WireCluster) -> AsyncIterator[RawWebSocket]:
    """A client in `/wire`."""
    async with raw_websocket(cluster.url) as ws:
        yield ws


def filled(start: str, end: str, size: int, letters: str = "x") -> str:
    """`start` and `end` with so many letters between them that all is exactly `size` bytes long."""
    room = size - len((start + end).encode())
    many = letters * (room // len(letters.encode()))
    return start + many + "x" * (room - len(many.encode())) + end


def value_in(packet: str) -> str:
    value: str = orjson.loads(packet[packet.index("[") :])[-1]
    return value


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("size", SIZES)
async def test_an_acknowledgement_is_one_frame_to_the_byte(ws: RawWebSocket, size: int, letters: str) -> None:
    due = filled('43/wire,1["', '"]', size, LETTERS[letters])
    await ws.send(text(event("answer", value_in(due), ack=ACK)))
    frame = server_frame(TEXT, due.encode())
    assert await ws.take(len(frame)) == frame


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("size", SIZES)
async def test_a_message_to_a_room_is_one_frame_to_the_byte(
    cluster: WireCluster, ws: RawWebSocket, size: int, letters: str
) -> None:
    due = filled('42/wire,["said","', '"]', size, LETTERS[letters])
    room = f"{letters}-{size}"
    async with raw_websocket(cluster.url) as other:
        for each in (ws, other):
            await each.say(event("join", room, ack=ACK))
            assert await each.message() == "43/wire,1[true]"
        await ws.send(text(event("say", room, value_in(due))) + text(event("say", room, "next")))
        frames = server_frame(TEXT, due.encode()) + server_frame(TEXT, b'42/wire,["said","next"]')
        for each in (ws, other):
            assert await each.take(len(frames)) == frames


@pytest.mark.parametrize("size", SIZES)
async def test_what_waited_for_a_poll_is_one_frame_to_the_byte_after_the_upgrade(
    cluster: WireCluster, http: aiohttp.ClientSession, size: int
) -> None:
    due = filled('42/wire,["echo","', '"]', size, "한")
    session = await Session.open(http, cluster.url)
    await session.connect(namespace="/wire")
    async with raw_upgrade(cluster.url, session.sid) as ws:
        await ws.say("2probe")
        probed = server_frame(TEXT, b"3probe")
        assert await ws.take(len(probed)) == probed
        await session.post(event("answer", value_in(due), ack=ACK))
        await ws.say("5", event("answer", "behind", ack=2))
        acknowledged = due.replace('42/wire,["echo",', f"43/wire,{ACK}[")
        frames = server_frame(TEXT, acknowledged.encode()) + server_frame(TEXT, b'43/wire,2["behind"]')
        assert await ws.take(len(frames)) == frames


def binary_event(name: str, count: int, *values: object) -> str:
    holders = [{"_placeholder": True, "num": n} for n in range(count)]
    return event(name, *values, *holders, ack=ACK).replace("42/wire,", f"45{count}-/wire,")


async def test_attachments_of_all_sizes_are_frames_to_the_byte(ws: RawWebSocket) -> None:
    data = [random.Random(size).randbytes(size) for size in ANY_SIZES[:-1]]
    await ws.send(text(binary_event("answer", len(data))) + b"".join(client_frame(BINARY, each) for each in data))
    holders = orjson.dumps([{"_placeholder": True, "num": n} for n in range(len(data))])
    due = server_frame(TEXT, b"46%d-/wire,%d%b" % (len(data), ACK, holders))
    due += b"".join(server_frame(BINARY, each) for each in data)
    assert await ws.take(len(due)) == due


@pytest.mark.parametrize("size", ANY_SIZES)
async def test_an_attachment_to_a_room_is_a_frame_to_the_byte(ws: RawWebSocket, size: int) -> None:
    data = random.Random(size).randbytes(size)
    await ws.say(event("join", f"binary-{size}", ack=ACK))
    assert await ws.message() == "43/wire,1[true]"
    packet = binary_event("say", 1, f"binary-{size}").replace(f"wire,{ACK}[", "wire,[")
    await ws.send(text(packet) + client_frame(BINARY, data))
    due = server_frame(TEXT, b'451-/wire,["said",{"_placeholder":true,"num":0}]') + server_frame(BINARY, data)
    assert await ws.take(len(due)) == due


# --- what a client sends ---------------------------------------------------------------------------------------


async def comes_back(ws: RawWebSocket, value: str, ack: int = ACK) -> None:
    """That the server took a message as it was."""
    due = server_frame(TEXT, f"43/wire,{ack}{orjson.dumps([value]).decode()}".encode())
    assert await ws.take(len(due)) == due


@pytest.mark.parametrize("letters", LETTERS)
@pytest.mark.parametrize("size", SIZES)
async def test_a_message_of_any_size_is_taken_in_fragments(ws: RawWebSocket, size: int, letters: str) -> None:
    """Cut anywhere, inside characters as well, with pings, pongs and empty fragments between."""
    packet = filled('42/wire,1["answer","', '"]', size, LETTERS[letters]).encode()
    chance = random.Random(size)
    cuts = sorted(chance.randrange(size + 1) for _ in range(9))
    frames = fragments(TEXT, packet, cuts)
    between = [client_frame(PING, b"%d" % n) if n % 2 else client_frame(PONG, b"?") for n in range(len(frames))]
    await ws.send(b"".join(itertools.chain.from_iterable(zip(frames, between, strict=True))))
    # The last ping comes behind the last fragment.
    pongs = [server_frame(PONG, b"%d" % n) for n in range(1, len(frames), 2)]
    answer = server_frame(TEXT, f"43/wire,1{orjson.dumps([value_in(packet.decode())]).decode()}".encode())
    got = await ws.take(len(b"".join(pongs)) + len(answer))
    assert got in (b"".join([*pongs, answer]), b"".join([*pongs[:-1], answer, pongs[-1]]))


@pytest.mark.parametrize("word", ["한국어", "👩‍👩‍👧‍👦", "é\u0000ÿ"])
async def test_a_message_may_be_cut_at_any_byte(ws: RawWebSocket, word: str) -> None:
    packet = event("answer", word, ack=ACK).encode()
    for cut in range(len(packet) + 1):
        await ws.send(b"".join(fragments(TEXT, packet, [cut])))
        await comes_back(ws, word)
    await ws.send(b"".join(fragments(TEXT, packet, range(1, len(packet)))))
    await comes_back(ws, word)


@pytest.mark.parametrize("size", [1, 125, 126, 4_000])
async def test_frames_may_come_byte_by_byte(ws: RawWebSocket, size: int) -> None:
    await ws.send_bytewise(text(event("answer", "한" * size, ack=ACK)))
    await comes_back(ws, "한" * size)
    await ws.send_bytewise(client_frame(PING, "p" * min(size, 125)))
    due = server_frame(PONG, b"p" * min(size, 125))
    assert await ws.take(len(due)) == due


async def test_frames_may_be_cut_anywhere_by_the_network(ws: RawWebSocket) -> None:
    words = ["", "a", "한" * 40, "b" * 200, "👍" * 20_000]
    wire = b"".join(text(event("answer", word, ack=n)) for n, word in enumerate(words))
    wire += b"".join(fragments(TEXT, event("answer", "last", ack=9).encode(), [3, 3, 11]))
    chance = random.Random(7)
    for _ in range(20):
        cuts = sorted(chance.randrange(len(wire)) for _ in range(chance.randrange(1, 12)))
        for start, end in itertools.pairwise([0, *cuts, len(wire)]):
            await ws.send(wire[start:end])
            await asyncio.sleep(0)
        for n, word in enumerate(words):
            await comes_back(ws, word, n)
        await comes_back(ws, "last", 9)


async def test_a_thousand_messages_in_one_segment_are_all_taken_in_order(ws: RawWebSocket) -> None:
    await ws.send(b"".join(text(event("answer", str(n), ack=n)) for n in range(1_000)))
    for n in range(1_000):
        await comes_back(ws, str(n), n)


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x81\x00\x7f\x88"])
async def test_any_mask_is_taken_off(ws: RawWebSocket, mask: bytes) -> None:
    for word in ("", "한국어", "x" * 70_000):
        await ws.send(client_frame(TEXT, event("answer", word, ack=ACK), mask=mask))
        await comes_back(ws, word)


@pytest.mark.parametrize("size", [0, 1, 125])
async def test_a_ping_is_answered_with_what_it_carried(ws: RawWebSocket, size: int) -> None:
    payload = random.Random(size).randbytes(size)
    await ws.send(client_frame(PONG, b"nobody asked") + client_frame(PING, payload))
    due = server_frame(PONG, payload)
    assert await ws.take(len(due)) == due


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        (b"", b""),
        (close_payload(1000), close_payload(1000)),
        (close_payload(1001, b"going away"), close_payload(1001)),
        (close_payload(3000), close_payload(3000)),
        (close_payload(4999, "안녕".encode()), close_payload(4999)),
    ],
)
async def test_a_close_is_echoed_and_the_connection_ends(ws: RawWebSocket, sent: bytes, echoed: bytes) -> None:
    await ws.send(client_frame(CLOSE, sent))
    got = await ws.rest()
    assert got in (server_frame(CLOSE, echoed), server_frame(CLOSE, echoed or close_payload(1000)))
