"""What of uvicorn's inside the transport stands on: an upgrade that moves it fails here, by name.

`app/transport/protocol.py` is made and called by uvicorn's HTTP protocols in ways that no documentation
promises, makes uvicorn's own WebSocket protocol itself, and reads uvicorn's configuration
(`app/transport/opening.py`).
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any, ClassVar

import pytest
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from app.transport.protocol import STATE, WebSocketConnection
from tests.support.eventually import eventually
from tests.support.serving import serve

MOVED = f"uvicorn {version('uvicorn')} has changed: see app/transport/protocol.py before adapting this test. "
REQUEST = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
    b"Host: a.example\r\nUpgrade: WebSocket\r\nCONNECTION: keep-alive, Upgrade\r\nX-Empty:\r\nX-Twice: 1\r\n"
    b"x-twice: 2\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HEAD = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
    b"host: a.example\r\nupgrade: WebSocket\r\nconnection: keep-alive, Upgrade\r\nx-empty: \r\nx-twice: 1\r\n"
    b"x-twice: 2\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)

http_protocols = pytest.mark.parametrize("http", [HttpToolsProtocol, H11Protocol])


class Transport:
    """A transport without a network; notes which protocols it is given."""

    def __init__(self, calls: list[Any]) -> None:
        self.calls = calls
        self.written = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses."""
        return {"peername": ("10.0.0.1", 1234), "sockname": ("10.0.0.2", 80)}.get(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Notes."""
        self.calls.append(("set_protocol", protocol))

    def write(self, data: bytes) -> None:
        """Notes."""
        self.written += data

    def is_closing(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing."""


class Recorder(asyncio.Protocol):
    """A WebSocket protocol that notes how uvicorn uses it."""

    made: ClassVar["list[Recorder]"] = []

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.calls: list[tuple[str, Any]] = []
        self.made.append(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Notes."""
        if isinstance(transport, Transport):
            transport.calls = self.calls
        self.calls.append(("connection_made", transport))

    def data_received(self, data: bytes) -> None:
        """Notes."""
        self.calls.append(("data_received", data))

    def connection_lost(self, exc: Exception | None) -> None:
        """Notes."""
        self.calls.append(("connection_lost", exc))


@pytest.fixture(autouse=True)
def _nothing_made() -> None:
    Recorder.made.clear()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Ends every WebSocket, and gives the lifespan a state."""
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["key"] = "value"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await receive()
        await send({"type": "websocket.close"})


def config(ws: Any = Recorder, **options: Any) -> uvicorn.Config:
    """A loaded configuration."""
    loaded = uvicorn.Config(app, ws=ws, log_level="error", **options)
    loaded.load()
    return loaded


def upgraded_by(http: Any, state: ServerState, ws: Any = Recorder, app_state: Any = None) -> tuple[Any, Transport]:
    """An HTTP protocol that has got the request, and its transport."""
    transport = Transport([])
    protocol = http(config(ws), state, {} if app_state is None else app_state)
    protocol.connection_made(transport)
    protocol.data_received(REQUEST)
    return protocol, transport


def test_a_class_is_taken_for_the_websocket_protocol() -> None:
    assert config(WebSocketConnection).ws_protocol_class is WebSocketConnection, f"{MOVED}ws takes no class"


@http_protocols
async def test_the_http_protocols_make_call_and_install_it_as_expected(http: Any) -> None:
    state, app_state = ServerState(), {"key": "value"}
    _, transport = upgraded_by(http, state, app_state=app_state)
    (made,) = Recorder.made
    assert list(made.arguments) == ["config", "server_state", "app_state"], f"{MOVED}it is made with others"
    assert made.arguments["server_state"] is state, MOVED
    assert made.arguments["app_state"] is app_state, MOVED
    assert made.calls == [
        ("connection_made", transport),
        ("data_received", HEAD),
        ("set_protocol", made),
    ], MOVED
    assert not state.connections, f"{MOVED}the HTTP protocol stays among the connections"


def test_it_takes_what_uvicorn_s_own_protocol_takes() -> None:
    own = inspect.signature(WebSocketsSansIOProtocol)
    assert list(own.parameters) == ["config", "server_state", "app_state", "_loop"], MOVED
    assert list(inspect.signature(WebSocketConnection).parameters) == list(own.parameters), MOVED
    for name in ("eof_received", "pause_writing", "resume_writing", "shutdown"):
        assert callable(getattr(WebSocketsSansIOProtocol, name, None)), f"{MOVED}it has no {name}"
        assert callable(getattr(WebSocketConnection, name, None)), name


@http_protocols
async def test_a_request_that_is_not_ours_is_served_by_uvicorn_s_own_protocol(http: Any) -> None:
    state = ServerState()
    _, transport = upgraded_by(http, state, WebSocketConnection)  # its lifespan has no Engine.IO server
    await eventually(lambda: len(transport.calls) == 2, 2, message="two protocols")
    (_, ours), (_, theirs) = transport.calls
    assert isinstance(ours, WebSocketConnection), MOVED
    assert isinstance(theirs, WebSocketsSansIOProtocol), MOVED
    assert state.connections == {theirs}, f"{MOVED}ServerState.connections"
    assert theirs.request.path == "/socket.io/?EIO=4&transport=websocket", f"{MOVED}it did not get the request"
    await eventually(lambda: b" 403 " in transport.written, 2, message="the app's answer")


class Ended(asyncio.Protocol):
    """A connection that is gone when uvicorn tells it to end."""

    def __init__(self, state: ServerState) -> None:
        self.state = state

    def shutdown(self) -> None:
        """Gone."""
        self.state.connections.discard(self)


async def test_uvicorn_tells_every_connection_to_end() -> None:
    server = uvicorn.Server(config(lifespan="off"))
    server.lifespan = server.config.lifespan_class(server.config)
    server.servers = []
    server.server_state.connections.add(Ended(server.server_state))  # type: ignore[arg-type]
    await asyncio.wait_for(server.shutdown(sockets=[]), 5)
    assert not server.server_state.connections, f"{MOVED}shutdown() is not called"


@contextlib.asynccontextmanager
async def requested(url: str) -> AsyncIterator[None]:
    """A connection on which the request was sent."""
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(REQUEST)
    try:
        yield
    finally:
        writer.close()


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_it_gets_the_lifespan_s_state(http: str) -> None:
    async with serve(app, ws=Recorder, http=http, lifespan="on") as url, requested(url):
        await eventually(lambda: Recorder.made)
        assert Recorder.made[0].arguments["app_state"] == {"key": "value"}, f"{MOVED}app_state is something else"
        await eventually(lambda: ("data_received", HEAD) in Recorder.made[0].calls)


def test_the_state_has_a_name_of_ours() -> None:
    assert STATE.startswith("clusterkit.")


def test_proxies_are_trusted_as_the_configuration_says() -> None:
    trusting = config(forwarded_allow_ips="10.0.0.1", proxy_headers=True)
    assert isinstance(trusting.loaded_app, ProxyHeadersMiddleware), f"{MOVED}proxy_headers is something else"
    assert "10.0.0.1" in trusting.loaded_app.trusted_hosts, MOVED
    assert trusting.forwarded_allow_ips == "10.0.0.1", MOVED
    assert not isinstance(config(proxy_headers=False).loaded_app, ProxyHeadersMiddleware), MOVED
    parameters = list(inspect.signature(ProxyHeadersMiddleware).parameters)
    assert parameters == ["app", "trusted_hosts"], f"{MOVED}ProxyHeadersMiddleware takes {parameters}"
