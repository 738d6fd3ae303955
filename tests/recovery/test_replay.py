"""What was missed comes page by page, over as many connections as it takes: all of it, once, in order."""

import asyncio
from collections.abc import Iterable

import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster
from tests.support.eventually import eventually
from tests.support.raw_websocket import Ended

from .visitor import Visitor, visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Many pages, and far more than the buffers between a node and its client hold.
MISSED = 2_000
PADDING = "x" * 4_000
# So small that a node cannot send ahead of what is read.
RECEIVE_BUFFER_BYTES = 8_192
WITHIN_S = 20.0


@pytest.fixture(scope="module")
def cluster_nodes() -> int:
    """One for the client to come from, one to come to."""
    return 2


async def emit(emitter: Emitter, room: str, numbers: Iterable[int]) -> None:
    """So many numbered events, in order."""
    await asyncio.gather(*(emitter.emit("step", [n, PADDING], room=room) for n in numbers))


def steps(client: Visitor) -> list[int]:
    """The numbers it has got, on all connections together."""
    return [n for n, _ in client.told("step")]


async def read_steps(client: Visitor, count: int) -> None:
    """Reads on until it has got so many."""
    await client.read_until(lambda: len(steps(client)) >= count, WITHIN_S)


def assert_whole(client: Visitor, count: int) -> None:
    assert steps(client) == list(range(count))
    assert client.offsets == sorted(set(client.offsets))


async def test_a_client_that_is_cut_again_and_again_during_the_replay_gets_everything_once(
    cluster: RunningCluster, emitter: Emitter, room: str
) -> None:
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        sid = ann.sid
        ann.cut()
        await emit(emitter, room, range(MISSED))
        for number, count in ((1, 1), (0, 300), (1, 301), (1, 1_000)):
            await ann.come(cluster[number].url, RECEIVE_BUFFER_BYTES)
            assert (ann.recovered, ann.sid) == (True, sid)
            await read_steps(ann, count)
            assert len(steps(ann)) < MISSED
            ann.cut()
        await ann.come(cluster[0].url)
        assert (ann.recovered, ann.sid) == (True, sid)
        await read_steps(ann, MISSED)
        await emit(emitter, room, [MISSED])
        await read_steps(ann, MISSED + 1)
        assert_whole(ann, MISSED + 1)


async def test_what_is_sent_during_the_replay_comes_behind_it(
    cluster: RunningCluster, emitter: Emitter, room: str
) -> None:
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        ann.cut()
        await emit(emitter, room, range(MISSED))
        live = asyncio.create_task(_emit_slowly(emitter, room, range(MISSED, MISSED + 400)))
        await ann.come(cluster[1].url, RECEIVE_BUFFER_BYTES)
        await read_steps(ann, 200)
        ann.cut()
        await ann.come(cluster[0].url)
        await read_steps(ann, MISSED + 400)
        await live
        assert_whole(ann, MISSED + 400)


async def _emit_slowly(emitter: Emitter, room: str, numbers: range) -> None:
    for n in numbers:
        await emitter.emit("step", [n, PADDING], room=room)


async def test_what_a_client_sends_during_the_replay_is_done_and_seen_behind_it(
    cluster: RunningCluster, emitter: Emitter, room: str
) -> None:
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        ann.cut()
        await emit(emitter, room, range(MISSED))
        await ann.come(cluster[1].url, RECEIVE_BUFFER_BYTES)
        await ann.send("send_msg", {"to": "ALL", "msg": "hello"}, 7)
        await read_steps(ann, MISSED)
        await ann.read_until(lambda: ann.answers and ann.told()[-1:] == ["ann : hello"])
        assert ann.answers == [(7, [{"ok": True}])]
        assert [name for name, _ in ann.events if name in ("step", "broadcast_msg")][-1] == "broadcast_msg"
        assert_whole(ann, MISSED)


async def test_clients_that_do_not_read_their_replay_hold_nobody_up(
    cluster: RunningCluster, emitter: Emitter, room: str
) -> None:
    idlers = [Visitor({"room": room}) for _ in range(40)]
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        for idler in idlers:
            await idler.come(cluster[0].url)
            idler.cut()
        ann.cut()
        await emit(emitter, room, range(MISSED))
        try:
            for idler in idlers:
                await idler.come(cluster[1].url, RECEIVE_BUFFER_BYTES)
            async with asyncio.timeout(WITHIN_S):
                await ann.come(cluster[1].url)
                await read_steps(ann, MISSED)
        finally:
            for idler in idlers:
                idler.cut()
        assert_whole(ann, MISSED)


async def test_a_client_that_takes_its_own_session_over_during_the_replay_goes_on_there(
    cluster: RunningCluster, emitter: Emitter, room: str
) -> None:
    """The former connection is open and unread when the next one comes, to the same node and to another."""
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        ann.cut()
        await emit(emitter, room, range(MISSED))
        former = []
        for number in (1, 1, 0):
            await ann.come(cluster[number].url, RECEIVE_BUFFER_BYTES)
            assert ann.recovered
            former.append(ann.ws)
            await read_steps(ann, len(steps(ann)) + 100)
        await ann.come(cluster[1].url)
        await read_steps(ann, MISSED)
        assert_whole(ann, MISSED)
        for ws in former:
            assert ws is not None
            await eventually(lambda ws=ws: _has_ended(ws), WITHIN_S)
        assert (await ann.call("send_msg", {"to": "ALL", "msg": "hello"}))["ok"]


async def _has_ended(ws) -> bool:  # type: ignore[no-untyped-def]
    try:
        return not await ws.more(1.0)
    except (Ended, OSError):
        return True
    except TimeoutError:
        return False
