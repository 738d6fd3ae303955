"""The kit's app with a namespace and a page for tests of the wire, in the place of `app.main`.

`clusterkit serve --app tests.support.wire_app:create_app` serves it, and so does
`uvicorn --factory tests.support.wire_app:app_from_environment`. In `/wire` a client gets back what it
sends, by any of the ways that packets take; `/state` is what the node holds, as JSON.
"""

import asyncio
import resource
from pathlib import Path
from typing import Any

import orjson
from socketio import AsyncNamespace

from app.main import Application
from app.metrics import described
from app.settings import Settings, load_settings

NAMESPACE = "/wire"
STATE_PATH = "/state"


def create_app(settings: Settings) -> "WireApp":
    """The app, for `--app`."""
    return WireApp(settings)


def app_from_environment() -> "WireApp":
    """The app, for `--factory`."""
    return WireApp(load_settings())


class Wire(AsyncNamespace):  # type: ignore[misc]
    """Events whose handlers do what their names say; `handled` is what came to `note` and `hold`, in order."""

    def __init__(self, app: "WireApp") -> None:
        super().__init__(NAMESPACE)
        self._app = app
        self.handled: list[Any] = []
        self.gate = asyncio.Event()

    async def on_answer(self, sid: str, *values: Any) -> Any:
        """The same values as the acknowledgement."""
        return values

    async def on_echo(self, sid: str, *values: Any) -> None:
        """The same values to the sender, by way of the log."""
        await self.emit("echo", values, to=sid)

    async def on_join(self, sid: str, room: str) -> bool:
        """Enters a room; acknowledged when that is done."""
        await self.enter_room(sid, room)
        return True

    async def on_say(self, sid: str, room: str, *values: Any) -> None:
        """The same values to everybody in a room."""
        await self.emit("said", values, room=room)

    async def on_note(self, sid: str, value: Any) -> Any:
        """Remembers the value, at once."""
        self.handled.append(value)
        return value

    async def on_hold(self, sid: str, value: Any) -> Any:
        """Remembers the value once the gate is open."""
        await self.gate.wait()
        self.handled.append(value)
        return value

    async def on_gate(self, sid: str, *, opened: bool = True) -> None:
        """Opens the gate."""
        self.gate.set()

    async def on_shut(self, sid: str) -> bool:
        """Shuts the gate, and forgets what was handled."""
        self.gate.clear()
        self.handled.clear()
        return True

    async def on_busy(self, sid: str, slice_s: float, for_s: float) -> None:
        """Keeps the event loop busy, so long at a time; the sender's line goes on."""
        self._app.busy(slice_s, for_s)

    async def on_linger(self, sid: str) -> bool:
        """From now on, the end of this client waits for the gate."""
        self._app.lingering.add(sid)
        return True

    async def on_disconnect(self, sid: str, reason: str) -> None:
        """The end of a client; who lingers waits for the gate."""
        self._app.ended.append(reason)
        if sid in self._app.lingering:
            self._app.lingering.discard(sid)
            await self.gate.wait()


class WireApp(Application):
    """The app and its inside."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.wire = Wire(self)
        self.server.register_namespace(self.wire)
        self.lingering: set[str] = set()
        self.ended: list[str] = []  # reasons, in order
        self._hog: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The state, else as the app."""
        if scope["type"] != "http" or scope["path"] != STATE_PATH:
            await super().__call__(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps(self.state())})

    def state(self) -> dict[str, Any]:
        """What the node holds now."""
        server, metrics, locals_ = self.server, self.manager.metrics, self.manager.cluster.locals
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "sessions": len(server.eio.sockets),
            "polls": sum(getattr(socket, "polling", None) is True for socket in server.eio.sockets.values()),
            "pinged": len(server.eio.pings),
            "sockets": len(locals_.sockets),
            "rooms": len(locals_.rooms),
            "lines": len(server._turns._lines),
            "unfinished_max": max((line.unfinished for line in server._turns._lines.values()), default=0),
            "half_packets": len(server._binary_packet),
            "tasks": len(asyncio.all_tasks()),
            "handled": self.wire.handled,
            "ended": self.ended,
            "rss_kb": _rss_kb(),
            "cpu_s": used.ru_utime + used.ru_stime,
            **{name: value for name in described() if isinstance(value := getattr(metrics, name), int)},
        }

    def busy(self, slice_s: float, for_s: float) -> None:
        """Leaves the event loop only a moment between two slices."""
        self._hog = asyncio.get_running_loop().create_task(_hog(slice_s, for_s))


async def _hog(slice_s: float, for_s: float) -> None:
    loop = asyncio.get_running_loop()
    end_s = loop.time() + for_s
    while (now_s := loop.time()) < end_s:
        while loop.time() < now_s + slice_s:
            pass
        await asyncio.sleep(0)


def _rss_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
