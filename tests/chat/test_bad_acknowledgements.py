"""What a client acknowledges is its own affair, too: the hub's server asked, and any JSON may come back."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import socketio

from app.hub.manager import ClusterManager
from app.hub.socketio_server import ClusterServer
from app.settings import load_settings
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.serving import serve

from .raw_clients import PATH


class Asking:
    """A node that asks one raw client."""

    def __init__(self, server: ClusterServer, manager: ClusterManager, url: str) -> None:
        self.server = server
        self.manager = manager
        self.url = url

    @property
    def restarts(self) -> int:
        """How often one of the node's loops had to be started again."""
        return self.manager.cluster.metrics.task_restarts

    async def answers(self, *acknowledgements: str, attachment: bytes | None = None) -> list[tuple[Any, ...]]:
        """What the callbacks get of these, sent as they are behind the packet's number; the last one must come."""
        got: list[tuple[Any, ...]] = []
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{self.url}{PATH}websocket") as ws:
            await ws.receive_str()
            await ws.send_str("40")
            sid = json.loads((await ws.receive_str())[2:])["sid"]
            for payload in acknowledgements:
                await self.server.emit("question", 1, to=sid, callback=lambda *args: got.append(args))
                question = await ws.receive_str(timeout=5)
                number = question[2 : question.index("[")]
                kind = "461-" if attachment is not None and "_placeholder" in payload else "43"
                await ws.send_str(f"{kind}{number}{payload}")
                if kind == "461-":
                    await ws.send_bytes(attachment or b"")
            await eventually(lambda: got[-1:] == [tuple(json.loads(acknowledgements[-1]))], 2)
        return got


@pytest_asyncio.fixture
async def asking(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[Asking]:
    """The node, within this process."""
    manager = ClusterManager(load_settings(redis_url=redis_server.url, key_prefix=key_prefix))
    server = ClusterServer(manager)
    await manager.start()
    async with serve(socketio.ASGIApp(server)) as url:
        await eventually(lambda: manager.readiness().ready)
        yield Asking(server, manager, url)
        await server.drain()
    await manager.stop()


async def test_any_json_is_an_answer(asking: Asking) -> None:
    payloads = ["[]", "[null]", '[{"a":[1,"b"]},2]', '[{"_placeholder":false,"num":0}]', '["end"]']
    assert await asking.answers(*payloads) == [tuple(json.loads(payload)) for payload in payloads]
    assert asking.restarts == 0


async def test_bytes_are_an_answer(asking: Asking) -> None:
    got = await asking.answers('[{"a":{"_placeholder":true,"num":0}}]', '["end"]', attachment=b"\x00\xff")
    assert got == [({"a": b"\x00\xff"},), ("end",)]


@pytest.mark.parametrize("number", ["5", '"x"'])
async def test_a_placeholder_for_nothing_does_not_end_the_relay(
    asking: Asking, caplog: pytest.LogCaptureFixture, number: str
) -> None:
    await asking.answers(f'[{{"_placeholder":true,"num":{number}}}]', '["end"]')
    assert asking.restarts == 0
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("depth", [300, 1_000])
async def test_an_answer_that_is_nested_too_deeply_is_no_traceback(
    asking: Asking, caplog: pytest.LogCaptureFixture, depth: int
) -> None:
    await asking.answers("[" * depth + "]" * depth, '["end"]')
    assert asking.restarts == 0
    assert "Traceback" not in caplog.text
