"""Stock clients that are cut at random while everything is sent to them: each gets all of it, once, in order.

SOAK_S in the environment makes it longer, SOAK_SEED repeats a run's cuts.
"""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator

import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients

from .door import Door
from .people import WAYS, offsets, stock

SOAK_S = float(os.environ.get("SOAK_S", "3"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1_000_000)
CLIENTS = 9
UNCUT_S = (0.1, 1.0)
SAY_EVERY_S = 0.01
WITHIN_S = 20.0

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.time_limit(SOAK_S + 60)]


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """Nobody leaves, however slow the machine is."""
    return {"LEAVE_GRACE_S": "60"}


class Sent:
    """What was sent, with its clock, and to whom."""

    def __init__(self, emitter: Emitter, room: str, clients: list[JsClient], kinds: int) -> None:
        self._emitter = emitter
        self._kinds = kinds
        self._room = room
        self._sids = [str(client.sid) for client in clients]
        self._entries: list[tuple[int, str, str]] = []  # clock, text, sid or ""

    async def send(self, number: int, chance: random.Random) -> None:
        """One event, to the room, to everybody or to one of them."""
        sid, text = "", f"step {number}"
        match number % self._kinds:
            case 0:
                clock = await self._emitter.emit("step", text, room=self._room)
            case 1:
                clock = await self._emitter.emit("step", text)
            case _:
                sid = chance.choice(self._sids)
                clock = await self._emitter.emit("step", text, to=sid)
        self._entries.append((clock, text, sid))

    def expected(self, number: int) -> list[tuple[str, str]]:
        """What a client was sent: texts with their offsets."""
        mine = sorted(each for each in self._entries if each[2] in ("", self._sids[number]))
        return [(text, str(clock)) for clock, text, _ in mine]


async def cut_at_random(client: JsClient, door: Door, cluster: RunningCluster, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.uniform(*UNCUT_S))
        door.lead_to(chance.choice(cluster.nodes).url)
        chance.choice((door.cut, door.cut_off, client.drop, client.engine_close))()


@contextlib.asynccontextmanager
async def all_cut(
    clients: list[JsClient], doors: list[Door], cluster: RunningCluster, chance: random.Random
) -> AsyncIterator[None]:
    """While the block runs."""
    cutting = [
        asyncio.create_task(cut_at_random(client, door, cluster, random.Random(chance.random())))
        for client, door in zip(clients, doors, strict=True)
    ]
    try:
        yield
    finally:
        for task in cutting:
            task.cancel()
        await asyncio.gather(*cutting, return_exceptions=True)


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(2, id="room and namespace"),
        pytest.param(3, id="and one client"),
    ],
)
async def test_clients_that_are_cut_at_random_get_everything_once_and_in_order(
    cluster: RunningCluster, js: JsClients, emitter: Emitter, room: str, kinds: int
) -> None:
    chance, ways = random.Random(SEED), list(WAYS)
    async with contextlib.AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(Door(node.url)) for node in cluster.nodes * (CLIENTS // 3)]
        clients = [
            await stock(js, door.url, room, f"c{number}", ways[number % len(ways)])
            for number, door in enumerate(doors)
        ]
        sids = [client.sid for client in clients]
        sent = Sent(emitter, room, clients, kinds)
        number, end_s = 0, time.monotonic() + SOAK_S
        async with all_cut(clients, doors, cluster, chance):
            while time.monotonic() < end_s:
                await asyncio.gather(*(sent.send(number + n, chance) for n in range(3)))
                number += 3
                await asyncio.sleep(SAY_EVERY_S)
        await asyncio.gather(*(sent.send(number + n, chance) for n in range(2)))
        print(f"seed {SEED}: {number} events, {sum(client.reconnects for client in clients)} reconnects")
        for index, client in enumerate(clients):

            def has_everything(client: JsClient = client, index: int = index) -> None:
                assert difference(client.args_of("step"), sent.expected(index)) == "", repr(client)

            await eventually(has_everything, WITHIN_S, message=f"seed {SEED}, client {index}")
            assert offsets(client) == sorted(set(offsets(client)))
            assert client.recovered or not client.reconnects
        assert [client.sid for client in clients] == sids


def difference(came: list[tuple[str, ...]], expected: list[tuple[str, str]]) -> str:
    """Empty where there is none."""
    if came == expected:
        return ""
    missing = [each for each in expected if each not in came]
    place = next(
        (at for at, (one, other) in enumerate(zip(came, expected, strict=False)) if one != other), len(came)
    )
    around = f"{came[place - 2 : place + 3]} where {expected[place - 2 : place + 3]} was sent"
    return f"{len(came)} came of {len(expected)}, {len(came) - len(set(came))} twice, missing {missing}, {around}"
