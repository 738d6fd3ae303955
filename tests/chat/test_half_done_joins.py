"""Redis fails in the middle of `joinroom`: there is no acknowledgement, the client tries again, and all is well.

The real application and a real client; only one answer of Redis is taken away.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from app.errors import OutcomeUnknown
from app.main import Application, create_app
from app.settings import load_settings
from app.wire import RoomId
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.redis_server import RedisServer
from tests.support.serving import serve

from .people import told

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Node(NamedTuple):
    """The application within this process, and its client."""

    app: Application
    client: JsClient

    async def names(self, room: str) -> list[str]:
        """Who is in a room, by Redis."""
        return [member.nickname for member in await self.app.manager.members(room)]

    async def unacknowledged(self, event: str, data: dict[str, Any]) -> None:
        """Sends an event whose outcome the server does not know: it is told, and not acknowledged."""
        before = len(told(self.client, "error_msg"))
        answer = asyncio.ensure_future(self.client.emit(event, data, within_s=0.5))
        await eventually(lambda: len(told(self.client, "error_msg")) > before)
        assert told(self.client, "error_msg")[-1]["code"] == "unknown_outcome"
        with pytest.raises(TimeoutError):
            await answer


@pytest_asyncio.fixture(loop_scope="module")
async def node(redis_server: RedisServer, key_prefix: str, js: JsClients) -> AsyncIterator[Node]:
    """One."""
    app = create_app(load_settings(redis_url=redis_server.url, key_prefix=key_prefix))
    async with serve(app) as url:
        await eventually(lambda: app.manager.readiness().ready)
        client = await js.open(url, transports=["websocket"])
        yield Node(app, client)
        await client.close()


def lose_answer(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call is carried out, and its answer never comes; those after it are as ever."""
    real = getattr(owner, name)

    def once(*args: Any, **options: Any) -> "asyncio.Future[int]":
        monkeypatch.setattr(owner, name, real)

        async def lost() -> int:
            await real(*args, **options)
            raise OutcomeUnknown("the test has taken the answer away")

        return asyncio.ensure_future(lost())

    monkeypatch.setattr(owner, name, once)


def refuse(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call is not carried out; those after it are as ever."""
    real = getattr(owner, name)

    def once(*args: Any, **options: Any) -> "asyncio.Future[int]":
        monkeypatch.setattr(owner, name, real)
        failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        failed.set_exception(OutcomeUnknown("the test has let it fail"))
        return failed

    monkeypatch.setattr(owner, name, once)


async def test_a_join_whose_answer_is_lost_succeeds_when_tried_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answer(node.app.manager.cluster.roster, "_submit_enter", monkeypatch)
    await node.unacknowledged("joinroom", {"room": "방", "nickname": "나"})
    assert (await node.client.emit("joinroom", {"room": "방", "nickname": "나"}))["ok"]
    assert await node.names("방") == ["나"]
    assert await node.client.emit("send_msg", {"to": "나", "msg": "나"}) == {"ok": True}
    await node.client.wait_for("broadcast_msg", lambda data: data["type"] == "whisper", within_s=2)


async def test_a_guest_whose_answer_is_lost_has_the_nickname_it_is_told(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answer(node.app.manager.cluster.roster, "_submit_enter", monkeypatch)
    await node.unacknowledged("joinroom", {"room": "방"})
    answer = await node.client.emit("joinroom", {"room": "방"})
    assert await node.names("방") == [answer["nickname"]]


async def test_a_client_that_gives_up_after_a_lost_answer_leaves_nobody_behind(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answer(node.app.manager.cluster.roster, "_submit_enter", monkeypatch)
    await node.unacknowledged("joinroom", {"room": "방", "nickname": "나"})
    node.client.disconnect()
    await eventually(lambda: not node.app.manager.cluster.locals.sockets)

    async def empty() -> bool:
        return await node.names("방") == [] and await node.app.manager.members(None) == []

    await eventually(empty, 2)


async def test_a_change_of_rooms_whose_leave_failed_is_completed_when_tried_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await node.client.emit("joinroom", {"room": "옛날", "nickname": "나"}))["ok"]
    refuse(node.app.manager.cluster.roster, "leave", monkeypatch)
    await node.unacknowledged("joinroom", {"room": "지금", "nickname": "나"})
    assert (await node.client.emit("joinroom", {"room": "지금", "nickname": "나"}))["ok"]
    assert await node.names("지금") == ["나"]
    await eventually(lambda: RoomId("/", "옛날") not in node.app.manager.cluster.locals.rooms, 2)
    assert await node.names("옛날") == []


async def test_after_a_rename_whose_answer_is_lost_one_speaks_under_the_nickname_of_the_roster(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await node.client.emit("joinroom", {"room": "방", "nickname": "옛날"}))["ok"]
    lose_answer(node.app.manager.cluster.roster, "rename", monkeypatch)
    await node.unacknowledged("changename", {"nickname": "지금"})
    await node.client.emit("send_msg", {"to": "ALL", "msg": "누구"})
    (data,) = await node.client.wait_for("broadcast_msg", lambda data: data["type"] == "message")
    assert [data["nickname"]] == await node.names("방")
