"""The clients of a run: thirty stock JavaScript ones and ten of ours, spread over three rooms.

A few of the JavaScript ones begin with HTTP long-polling and upgrade, as the stock client does where it is not
told otherwise; the others use WebSocket alone. Some of ours do not ask for recovery, in the same rooms.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import aiohttp

from tests.support.eventually import eventually

from .js_clients import JsClients, Pace
from .record import History
from .recovering_client import RecoveringClient

ROOMS = ("A", "B", "C")
JS_CLIENTS = 30
JS_POLLING = 4
PY_CLIENTS = 10
PY_PLAIN = 3

CONNECTED_WITHIN_S = 20.0


class Crowd:
    """All clients. `histories` are what they saw."""

    def __init__(self, js: JsClients, js_histories: list[History], ours: list[RecoveringClient]) -> None:
        self.histories = js_histories + [client.history for client in ours]
        self._js = js
        self._js_histories = js_histories
        self._ours = {client.history.name: client for client in ours}

    async def all_connected(self) -> None:
        """Waits until every client is. Raises AssertionError with the names of those that are not."""

        def nobody_is_missing() -> None:
            assert not (missing := self.missing()), f"not connected: {missing}"

        await eventually(nobody_is_missing, CONNECTED_WITHIN_S, message="every client connects")

    def send(self) -> None:
        """All begin to send."""
        self._js.send()
        for client in self._ours.values():
            client.send()

    def stop(self) -> None:
        """None sends anything new."""
        self._js.stop()
        for client in self._ours.values():
            client.stop()

    def cut(self, count: int, chance: random.Random) -> list[str]:
        """Breaks the TCP connections of so many clients; returns their names."""
        present = [history.name for history in self.histories if history.online and not history.doomed]
        chosen = chance.sample(present, min(count, len(present)))
        for name in chosen:
            if name in self._ours:
                self._ours[name].cut()
            else:
                self._js.cut(name)
        return chosen

    def vanish(self, count: int, chance: random.Random, *, node: str | None = None) -> list[str]:
        """Makes so many JavaScript clients go for good and returns their names: at once, or where they are
        connected to `node` as soon as that connection ends."""
        present = [
            history.name
            for history in self._js_histories
            if history.online and not history.doomed and node in (None, history.node)
        ]
        chosen = chance.sample(present, min(count, len(present)))
        for name in chosen:
            self._js.vanish(name, now=node is None)
        return chosen

    def missing(self) -> list[str]:
        """Who should be connected and is not."""
        return [history.name for history in self.histories if not history.online and not history.doomed]

    def undone(self) -> list[str]:
        """Who is connected, and has sent what is not acknowledged."""
        return [history.name for history in self.histories if history.online and history.unanswered]


@contextlib.asynccontextmanager
async def crowd(url: str, pace: Pace) -> AsyncIterator[Crowd]:
    """The clients while the block runs. They connect at once, and do not send before they are told to."""
    js_histories = [History(f"js{number:02}", room_of(number)) for number in range(JS_CLIENTS)]
    transports = {history.name: ["polling", "websocket"] for history in js_histories[-JS_POLLING:]}
    recovering = PY_CLIENTS - PY_PLAIN
    histories = [
        History(f"py{number}" if number < recovering else f"plain{number}", room_of(number), number < recovering)
        for number in range(PY_CLIENTS)
    ]
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        JsClients(url, pace, js_histories, transports) as js,
    ):
        ours = [RecoveringClient(http, url, pace, history) for history in histories]
        running = [asyncio.create_task(client.run(), name=client.history.name) for client in ours]
        try:
            yield Crowd(js, js_histories, ours)
        finally:
            for task in running:
                task.cancel()
            ended = await asyncio.gather(*running, return_exceptions=True)
        for outcome in ended:
            if not isinstance(outcome, asyncio.CancelledError):
                raise RuntimeError("a client of ours has failed") from outcome


def room_of(number: int) -> str:
    """Clients take the rooms in turn."""
    return ROOMS[number % len(ROOMS)]
