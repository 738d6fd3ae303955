"""What of python-engineio's inside the transport stands on: an upgrade that moves it fails here, by name.

`app/transport/engineio_socket.py` and `engineio_server.py` override private methods and set attributes that
no documentation promises; here is where the installed python-engineio calls and reads them.
"""

import ast
import asyncio
import inspect
import re
import textwrap
from importlib.metadata import version
from types import ModuleType

import pytest
import uvicorn
from engineio import async_server, base_server, base_socket, exceptions, packet
from engineio.async_drivers import asgi
from engineio.async_socket import AsyncSocket
from uvicorn.server import ServerState

from app.metrics import Metrics
from app.node import Node
from app.transport import engineio_packet, engineio_server, engineio_socket
from app.transport.engineio_server import EngineServer
from app.transport.engineio_socket import EngineSocket, PacketQueue
from app.transport.protocol import WebSocketConnection

MOVED = f"python-engineio {version('python-engineio')} has changed: see app/transport/ before adapting this test. "
UPSTREAM = (base_server.BaseServer, async_server.AsyncServer, base_socket.BaseSocket, AsyncSocket)

# (class, method) -> its parameters behind self, as they are called and overridden
OVERRIDDEN = {
    (async_server.AsyncServer, "_handle_connect"): ["environ", "transport", "jsonp_index"],
    (async_server.AsyncServer, "handle_request"): ["args", "kwargs"],
    (async_server.AsyncServer, "shutdown"): [],
    (base_server.BaseServer, "generate_id"): [],
    (AsyncSocket, "_websocket_handler"): ["ws"],
    (AsyncSocket, "handle_get_request"): ["environ"],
    (AsyncSocket, "handle_post_request"): ["environ"],
    (AsyncSocket, "schedule_ping"): [],
    (AsyncSocket, "check_ping_timeout"): [],
    (AsyncSocket, "close"): ["wait", "abort", "reason"],
}
# (class, method) -> what of ours it must call or read
CALLERS = {
    (async_server.AsyncServer, "handle_request"): [
        "self._async['translate_request']",
        "self._handle_connect(environ, transport,",
        "socket.handle_get_request(",
        "socket.handle_post_request(environ)",
        "socket.connected",
        "socket.upgraded",
        "except exceptions.EngineIOError",
        "isinstance(packets, list)",
        # what `EngineServer._is_accepted` says, too
        "if self.cors_allowed_origins != []:",
        "origin = environ.get('HTTP_ORIGIN')",
        "allowed_origins = self._cors_allowed_origins(environ)",
        "if allowed_origins is not None and origin not in",
    ],
    (async_server.AsyncServer, "shutdown"): ["if self.service_task_event:"],
    (async_server.AsyncServer, "_trigger_event"): ["self.handlers[event](*args)"],
    (base_server.BaseServer, "_get_socket"): ["s.closed", "del self.sockets[sid]"],
    (AsyncSocket, "_upgrade_websocket"): ["self._websocket_handler", "self.upgraded"],
    (AsyncSocket, "handle_get_request"): [
        "self.upgrading or self.upgraded",
        "self.poll()",
        "'_upgrade_' + transport",
    ],
    (AsyncSocket, "poll"): [
        "self.queue.get()",
        "self.queue.get_nowait()",
        "packets == [None]",
        "return []",
        "exceptions.QueueEmpty",
    ],
    (AsyncSocket, "send"): ["await self.check_ping_timeout()", "self.queue.put(pkt)"],
    (asgi, "translate_request"): [
        "'wsgi.input': AwaitablePayload(event)",
        "self.event = await receive()",
        "return {}",
    ],
    (asgi.WebSocket, "wait"): ["raise OSError"],
    (asgi.WebSocket, "close"): ["websocket.close"],
    (asyncio.Queue, "put_nowait"): ["self._put(item)"],
    (asyncio.Queue, "get_nowait"): ["self._get()"],
}
ATTRIBUTES = ["queue", "connected", "upgrading", "upgraded", "closing", "closed", "sid", "server"]
# What a socket is called in the methods of python-engineio's servers.
SOCKETS = {"socket", "s", "client", "self._get_socket(sid)", "self.sockets[sid]"}
# What python-engineio's server calls of a session that is no WebSocket yet, and a WebSocketConnection always is.
OF_POLLING_ONLY = {"handle_get_request", "handle_post_request"}


@pytest.fixture
def server() -> EngineServer:
    """A server that is never started."""
    return EngineServer(node=Node(), metrics=Metrics(), send_buffer_bytes=100_000, async_mode="asgi")


@pytest.fixture
def connection() -> WebSocketConnection:
    """A connection that is never made."""
    return WebSocketConnection(uvicorn.Config("app.main:app"), ServerState(), {})


@pytest.mark.parametrize(("owner", "name"), OVERRIDDEN, ids=lambda value: getattr(value, "__name__", value))
def test_what_is_overridden_takes_what_it_took(owner: type, name: str) -> None:
    method = vars(owner).get(name)
    assert method is not None, f"{MOVED}{owner.__name__}.{name} is gone"
    parameters = list(inspect.signature(method).parameters)[1:]
    assert parameters == OVERRIDDEN[owner, name], f"{MOVED}{owner.__name__}.{name} takes {parameters}"


@pytest.mark.parametrize(("owner", "name"), CALLERS, ids=lambda value: getattr(value, "__name__", value))
def test_what_is_overridden_is_called_where_it_was(owner: type, name: str) -> None:
    source = " ".join(inspect.getsource(getattr(owner, name)).split())
    missing = [call for call in CALLERS[owner, name] if call not in source]
    assert not missing, f"{MOVED}{owner.__name__}.{name} has no {missing} any more"


def test_the_sockets_are_ours(server: EngineServer) -> None:
    """Whoever else makes an AsyncSocket would make a stock one."""
    source = inspect.getsource(async_server)
    assert source.count("AsyncSocket(") == 1, f"{MOVED}sockets are made in other places than _handle_connect"
    assert "AsyncSocket(" in inspect.getsource(async_server.AsyncServer._handle_connect), MOVED
    assert isinstance(EngineSocket(server, server.generate_id(), {}), AsyncSocket)


def test_a_socket_has_the_attributes_that_are_set(server: EngineServer) -> None:
    source = inspect.getsource(base_socket.BaseSocket.__init__)
    stock = AsyncSocket(server, "x")
    for name in ATTRIBUTES:
        assert hasattr(stock, name), f"{MOVED}sockets have no {name}"
        assert f"self.{name} = " in source, f"{MOVED}BaseSocket does not set {name}"
    for socket in (stock, EngineSocket(server, "y", {})):
        flags = [getattr(socket, name) for name in ("connected", "upgrading", "upgraded", "closing", "closed")]
        assert flags == [False] * 5, f"{MOVED}a new socket's flags are {flags}"


def test_a_connection_has_all_that_the_server_asks_of_a_socket(
    server: EngineServer, connection: WebSocketConnection
) -> None:
    asked = _asked_of_a_socket(async_server.AsyncServer) | _asked_of_a_socket(base_server.BaseServer)
    assert {"close", "send", "session", "upgraded", "connected", "closed"} <= asked, (
        f"{MOVED}only {asked} is asked"
    )
    missing = {name for name in asked - OF_POLLING_ONLY if not hasattr(connection, name)}
    assert not missing, f"{MOVED}WebSocketConnection has no {missing}"
    assert connection.upgraded, "long-polling requests would ask for more"
    for name in ("close", "send", "check_ping_timeout"):
        theirs, ours = getattr(AsyncSocket, name), getattr(WebSocketConnection, name)
        assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters), (
            f"{MOVED}{name}"
        )
        assert inspect.iscoroutinefunction(theirs) == inspect.iscoroutinefunction(ours), f"{MOVED}{name}"


def test_a_connection_keeps_an_app_s_session_as_a_socket_does(
    server: EngineServer, connection: WebSocketConnection
) -> None:
    for socket in (AsyncSocket(server, "x"), EngineSocket(server, "y", {}), connection):
        assert socket.session == {}
        socket.session["key"] = "value"
        assert socket.session == {"key": "value"}
        socket.session = {"other": 1}
        assert socket.session == {"other": 1}


def test_a_queue_may_be_overridden_where_it_is() -> None:
    source = inspect.getsource(asyncio.Queue)
    assert "overridable in subclasses" in source, "asyncio.Queue does not offer _put and _get any more"


async def test_a_queue_knows_how_many_bytes_wait_in_it() -> None:
    queue = PacketQueue()
    await queue.put(packet.Packet(packet.MESSAGE, "12345"))
    queue.put_nowait(packet.Packet(packet.MESSAGE, b"123"))
    queue.put_nowait(packet.Packet(packet.PING))
    queue.put_nowait(None)
    assert queue.waiting_bytes == 8
    await queue.get()
    assert queue.waiting_bytes == 3
    while not queue.empty():
        queue.get_nowait()
    assert queue.waiting_bytes == 0


@pytest.mark.parametrize("module", [engineio_socket, engineio_server], ids=lambda module: module.__name__)
def test_everything_private_that_is_used_is_there(module: ModuleType, server: EngineServer) -> None:
    stock = AsyncSocket(server, "x")
    for name in _private_names(module) - _own_names(module):
        assert hasattr(server, name) or hasattr(stock, name), f"{MOVED}there is no {name}"


@pytest.mark.parametrize("module", [engineio_socket, engineio_server], ids=lambda module: module.__name__)
def test_every_private_override_is_named_in_the_docstring(module: ModuleType) -> None:
    upstream = {name for owner in UPSTREAM for name in vars(owner) if re.fullmatch("_[a-z].*", name)}
    overridden = _own_names(module) & upstream
    assert overridden, "nothing private is overridden, and this test has nothing to do"
    assert not [name for name in overridden if f"`{name}`" not in (module.__doc__ or "")]


def test_the_server_has_what_opening_a_session_needs(server: EngineServer) -> None:
    for name in ("ping_interval", "ping_timeout", "transports", "allow_upgrades", "cors_allowed_origins"):
        assert hasattr(server, name), f"{MOVED}there is no {name}"
    assert server.sockets == {}
    assert server._cors_allowed_origins({"HTTP_ORIGIN": "https://a", "wsgi.url_scheme": "http"}) == [], MOVED
    for reason in (
        "CLIENT_DISCONNECT",
        "SERVER_DISCONNECT",
        "TRANSPORT_CLOSE",
        "TRANSPORT_ERROR",
        "PING_TIMEOUT",
    ):
        assert hasattr(server.reason, reason), f"{MOVED}there is no reason {reason}"


async def test_nobody_but_the_wheel_looks_for_silent_clients(server: EngineServer) -> None:
    assert server.start_service_task is False, f"{MOVED}monitor_clients=False watches the clients"
    started = inspect.getsource(async_server).count("self._service_task)")
    assert started == 1, f"{MOVED}the service task is started in {started} places"
    assert "self._service_task)" in inspect.getsource(async_server.AsyncServer._handle_connect), MOVED
    await server.shutdown()
    assert server.service_task_handle is None, MOVED


def test_the_types_of_packets_are_python_engineio_s(server: EngineServer) -> None:
    for name in ("OPEN", "CLOSE", "PING", "PONG", "MESSAGE", "UPGRADE", "NOOP"):
        encoded = packet.Packet(getattr(packet, name)).encode()
        assert encoded == getattr(engineio_packet, name), f"{MOVED}{name} is {encoded!r}"


def test_the_errors_raised_for_the_server_are_its_own() -> None:
    for name in ("SocketIsClosedError", "ContentTooLongError", "UnknownPacketError", "QueueEmpty"):
        assert issubclass(getattr(exceptions, name), exceptions.EngineIOError), f"{MOVED}{name}"
    assert issubclass(engineio_packet.BadMessage, exceptions.EngineIOError)


def _asked_of_a_socket(owner: type) -> set[str]:
    """The attributes that a server's methods use of `socket`, `s`, `client` or what they looked up."""
    found: set[str] = set()
    for name, method in vars(owner).items():
        if inspect.isfunction(method) and name != "_handle_connect":  # which is ours, with our sockets
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(method)))):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) in SOCKETS:
                    found.add(node.attr)
    return found


def _private_names(module: ModuleType) -> set[str]:
    nodes = ast.walk(ast.parse(inspect.getsource(module)))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr)}


def _own_names(module: ModuleType) -> set[str]:
    tree = ast.parse(inspect.getsource(module))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assigned = {
        target.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute)
    }
    return functions | assigned
