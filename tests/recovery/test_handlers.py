"""What an application's own handlers see of a client that comes back: that it does, its rooms, and its data."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import socketio

from app.hub.manager import ClusterManager
from app.hub.socketio_server import ClusterServer
from app.settings import load_settings
from tests.support.eventually import eventually
from tests.support.js_client import JsClients
from tests.support.redis_server import RedisServer
from tests.support.serving import serve

from .door import Door
from .people import away, back

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRACE_S = 2.0
ASKING = {"auth": {"recover": True}, "transports": ["websocket"], "reconnectionDelay": 50}


class App:
    """A node with handlers of its own; `seen` is what they saw, in order."""

    def __init__(self, manager: ClusterManager) -> None:
        self.manager = manager
        self.server = ClusterServer(manager)
        self.seen: list[tuple[Any, ...]] = []
        self.url = ""
        self.server.on("connect", self.connect)
        self.server.on("disconnect", self.disconnect)
        self.server.on("join", self.join)

    async def connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Notes what is there already."""
        rooms = sorted(set(self.server.rooms(sid)) - {sid})
        number = await self.manager.get(sid, "number")
        self.seen.append((self.manager.is_recovered(sid), rooms, number))
        if not self.manager.is_recovered(sid):
            await self.server.enter_room(sid, "all")

    async def disconnect(self, sid: str, reason: str) -> None:
        """Notes why."""
        self.seen.append((reason,))

    async def join(self, sid: str, room: str) -> bool:
        """Enters a room and binds data."""
        await self.server.enter_room(sid, room)
        await self.manager.set(sid, "number", {"of": room})
        return True


@contextlib.asynccontextmanager
async def app(redis: RedisServer, key_prefix: str) -> AsyncIterator[App]:
    """One node."""
    settings = load_settings(
        redis_url=redis.url, key_prefix=key_prefix, leave_grace_s=GRACE_S, recovery_window_s=30, lease_s=2
    )
    made = App(ClusterManager(settings))
    await made.manager.start()
    try:
        async with serve(socketio.ASGIApp(made.server)) as made.url:
            yield made
            await made.server.shutdown()
    finally:
        await made.manager.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def apps(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[tuple[App, App]]:
    """Two nodes."""
    async with app(redis_server, key_prefix) as first, app(redis_server, key_prefix) as second:
        yield first, second


@pytest.mark.parametrize("after_the_grace", [False, True], ids=["within the grace", "after the grace"])
async def test_rooms_and_data_are_there_when_the_connect_handler_of_a_client_that_comes_back_runs(
    apps: tuple[App, App], js: JsClients, after_the_grace: bool
) -> None:
    first, second = apps
    async with Door(first.url) as door:
        ann = await js.open(door.url, **ASKING)
        sid = ann.sid
        for room in ("den", "hall"):
            assert await ann.emit("join", room)
        door.shut()
        await away(ann, door.cut)
        if after_the_grace:
            await eventually(lambda: _is_empty(first, "den", "hall", "all"), GRACE_S + 5)
        await first.server.emit("news", "while away", room="hall")
        await first.server.emit("news", "to it alone", to=sid)
        door.lead_to(second.url)
        await back(ann)
        assert (ann.recovered, ann.sid) == (True, sid)
        await second.server.emit("news", "the end", room="den")
        await ann.wait_for("news", lambda text, _: text == "the end")
        for room in ("all", "den", "hall"):
            assert [member.sid for member in await first.manager.members(room)] == [sid]
    assert first.seen == [(False, [], None), ("transport close",)]
    assert second.seen[:1] == [(True, ["all", "den", "hall"], {"of": "hall"})]
    heard = [args[0] for args in ann.args_of("news")]
    assert heard == (["to it alone", "the end"] if after_the_grace else ["while away", "to it alone", "the end"])


async def _is_empty(node: App, *rooms: str) -> bool:
    return [await node.manager.count(room) for room in rooms] == [0] * len(rooms)


async def test_a_room_that_was_left_before_the_break_is_not_there(apps: tuple[App, App], js: JsClients) -> None:
    first, second = apps
    async with Door(first.url) as door:
        ann = await js.open(door.url, **ASKING)
        assert await ann.emit("join", "den")
        await first.server.leave_room(ann.sid, "den")
        door.shut()
        await away(ann, door.cut)
        door.lead_to(second.url)
        await back(ann)
    assert second.seen[0] == (True, ["all"], {"of": "den"})


async def test_a_client_that_was_closed_out_of_a_room_while_it_was_away_is_not_in_it(
    apps: tuple[App, App], js: JsClients
) -> None:
    first, second = apps
    async with Door(first.url) as door:
        ann = await js.open(door.url, **ASKING)
        assert await ann.emit("join", "den")
        door.shut()
        await away(ann, door.cut)
        await second.server.close_room("den")
        door.lead_to(second.url)
        await back(ann)
    assert second.seen[0] == (True, ["all"], {"of": "den"})


async def test_a_client_that_the_server_disconnects_while_it_is_away_is_told_when_it_comes_back(
    apps: tuple[App, App], js: JsClients
) -> None:
    first, second = apps
    async with Door(first.url) as door:
        ann = await js.open(door.url, **ASKING)
        sid = ann.sid
        door.shut()
        await away(ann, door.cut)
        await first.server.emit("news", "your last", to=sid)
        await second.server.disconnect(sid)
        door.lead_to(second.url)
        await ann.wait_until(lambda: ann.disconnects[-1:] == ["io server disconnect"])
        assert [args[0] for args in ann.args_of("news")] == ["your last"]
    assert second.seen[-1] == ("server disconnect",)


async def test_a_text_at_the_end_of_an_event_past_the_log_does_not_spoil_the_offset(
    apps: tuple[App, App], js: JsClients
) -> None:
    first, _ = apps
    ann = await js.open(first.url, **ASKING)
    await first.server.emit("news", "in the log", to=ann.sid)
    await ann.wait_for("news")
    offset = (await ann.state())["offset"]
    for data in ("17", ("x", "18"), None, (b"bytes", "19")):
        await first.server.emit("volatile", data, to=ann.sid, ignore_queue=True)
    await ann.wait_until(lambda: len(ann.args_of("volatile")) == 4)
    assert ann.args_of("volatile") == [("17", None), ("x", "18", None), (None,), (b"bytes", "19", None)]
    assert (await ann.state())["offset"] == offset


async def test_data_that_is_bound_while_a_client_is_away_is_there_when_it_comes_back(
    apps: tuple[App, App], js: JsClients
) -> None:
    first, second = apps
    async with Door(first.url) as door:
        ann = await js.open(door.url, **ASKING)
        sid = ann.sid
        assert sid is not None
        door.shut()
        await away(ann, door.cut)
        await second.manager.set(sid, "number", 17)
        assert await first.manager.get(sid, "number") == 17
        door.lead_to(second.url)
        await back(ann)
    assert second.seen[0] == (True, ["all"], 17)


@pytest.mark.parametrize("how", ["leave_room", "close_room"])
async def test_what_was_sent_to_a_room_before_an_absent_client_was_taken_out_of_it_is_replayed(
    apps: tuple[App, App], js: JsClients, how: str
) -> None:
    """As for a client that is connected: an emit before a leave_room still arrives."""
    first, second = apps
    async with Door(first.url) as door:
        ann = await js.open(door.url, **ASKING)
        sid = ann.sid
        assert await ann.emit("join", "den")
        door.shut()
        await away(ann, door.cut)
        await second.server.emit("news", "before", room="den")
        await getattr(second.server, how)(*([sid] if how == "leave_room" else []), "den")
        await second.server.emit("news", "after", room="den")
        door.lead_to(second.url)
        await back(ann)
        assert ann.recovered
        await second.server.emit("news", "the end", room="all")
        await ann.wait_for("news", lambda text, _: text == "the end")
    assert [args[0] for args in ann.args_of("news")] == ["before", "the end"]
