"""A node dies with all its clients, and they come back at the same moment: all are whole, and others go on."""

import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator

import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster

from .breakdowns import killed
from .visitor import Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLIENTS = 1_000
CONNECTING_MAX = 50  # at first; they come back all at once
ROOMS = 50
MISSED = 40  # in each room
PADDING = "x" * 500
WITHIN_S = 60.0
# No message of the others may take longer, which a node that only replays would exceed at once: reading and
# sending all that was missed takes it several seconds. What latency is usual is the benchmark's matter.
STALL_S = 1.0
QUIET_S = 1.0  # to compare with

Talk = list[tuple[float, float]]  # when a message was sent, how long it took


@contextlib.asynccontextmanager
async def conversation(*urls: str) -> AsyncIterator[Talk]:
    """Two who talk while the block runs; what it took is there afterwards."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.recovery.conversation", *urls),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    assert process.stdin is not None and process.stdout is not None
    talk: Talk = []
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield talk
        process.stdin.close()
        said, _ = await process.communicate()
        talk += json.loads(said)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def told(talk: Talk, begin_s: float, end_s: float) -> str:
    took_ms = [took_s * 1000 for sent_s, took_s in talk if begin_s <= sent_s <= end_s]
    longest = max(took_ms)
    return f"median {statistics.median(took_ms):.1f} ms, longest {longest:.1f} ms of {len(took_ms)} messages"


def room_of(number: int) -> str:
    return f"storm-{number % ROOMS}"


def steps(client: Visitor) -> list[int]:
    return [n for n, _ in client.told("step")]


async def come_back(client: Visitor, url: str) -> None:
    """Recovers and reads all that was missed."""
    sid = client.sid
    await client.come(url)
    assert (client.recovered, client.sid) == (True, sid)
    await client.read_until(lambda: steps(client)[-1] == MISSED - 1, WITHIN_S)


async def emit_to_all_rooms(emitter: Emitter, first: int, count: int) -> None:
    await asyncio.gather(
        *(
            emitter.emit("step", [n, PADDING], room=room_of(number))
            for n in range(first, first + count)
            for number in range(ROOMS)
        )
    )


async def test_a_thousand_clients_of_a_killed_node_come_back_at_once(
    cluster: RunningCluster, emitter: Emitter, capsys: pytest.CaptureFixture[str]
) -> None:
    clients = [Visitor({"room": room_of(number)}) for number in range(CLIENTS)]
    for at in range(0, CLIENTS, CONNECTING_MAX):
        await asyncio.gather(*(client.come(cluster[0].url) for client in clients[at : at + CONNECTING_MAX]))
    await emit_to_all_rooms(emitter, -1, 1)
    for client in clients:
        await client.read_until(lambda client=client: steps(client))
    async with conversation(cluster[1].url, cluster[2].url) as talk, killed(cluster, 0):
        await emit_to_all_rooms(emitter, 0, MISSED)
        quiet_s = time.monotonic()
        await asyncio.sleep(QUIET_S)
        started_s = time.monotonic()
        urls = [cluster[1 + number % 2].url for number in range(CLIENTS)]
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*map(come_back, clients, urls))
        ended_s = time.monotonic()
        await emit_to_all_rooms(emitter, MISSED, 1)
        for client in clients:
            await client.read_until(lambda client=client: steps(client)[-1] == MISSED)
    with capsys.disabled():
        print(f"\n{CLIENTS} clients were back and whole after {ended_s - started_s:.2f} s")
        print(f"others' messages before that: {told(talk, quiet_s, started_s)}")
        print(f"meanwhile: {told(talk, started_s, ended_s)}")
    assert max(took_s for sent_s, took_s in talk if started_s <= sent_s <= ended_s) < STALL_S
    for client in clients:
        assert steps(client) == list(range(-1, MISSED + 1))
        assert client.offsets == sorted(set(client.offsets))
        assert not [text for text in client.told() if text.endswith(" has left.")]
        client.cut()
