"""Events to a sid alone, sent at the very moment at which its client comes back: all arrive, in order, at once."""

import asyncio

import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster

from .visitor import Visitor, visitor

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
]

TIMES = 30
WITHIN_S = 3.0


@pytest.fixture(scope="module")
def cluster_nodes() -> int:
    """One for the client to come from, one to come to."""
    return 2


class Stream:
    """Sends numbered events while the block runs: to the sid alone, or in turn to it and to its room."""

    def __init__(self, emitter: Emitter, sid: str, room: str | None) -> None:
        self._emitter = emitter
        self._targets = [sid] if room is None else [sid, room]
        self._task: asyncio.Task[None] | None = None
        self.count = 0

    async def __aenter__(self) -> "Stream":
        self._task = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            sending = self._emitter.emit("step", self.count, room=self._targets[self.count % len(self._targets)])
            self.count += 1
            await asyncio.shield(asyncio.ensure_future(sending))


async def read_all(client: Visitor, count: int) -> None:
    async with asyncio.timeout(WITHIN_S):
        await client.read_until(lambda: len(client.told("step")) >= count)


async def test_events_to_a_sid_keep_their_place_among_those_to_its_room(
    cluster: RunningCluster, emitter: Emitter, room: str
) -> None:
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        stream = Stream(emitter, ann.sid, room)
        for number in range(TIMES):
            ann.cut()
            async with stream:
                await ann.come(cluster[number % 2].url)
                assert ann.recovered
                await read_all(ann, stream.count)
        await read_all(ann, stream.count)
        assert ann.told("step") == list(range(stream.count))
        assert ann.offsets == sorted(set(ann.offsets))


async def test_the_last_event_to_a_sid_does_not_wait_for_another(
    cluster: RunningCluster, emitter: Emitter, room: str
) -> None:
    async with visitor(cluster[0].url, room=room, nickname="ann") as ann:
        sent = 0
        for number in range(TIMES):
            ann.cut()
            coming = asyncio.create_task(ann.come(cluster[number % 2].url))
            await asyncio.sleep(number / 5_000)  # somewhere between the first packet and the answer
            await emitter.emit("step", sent, to=ann.sid)
            sent += 1
            await coming
            assert ann.recovered
            await read_all(ann, sent)
        assert ann.told("step") == list(range(sent))
