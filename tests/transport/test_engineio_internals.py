"""What of python-engineio's inside the transport stands on: an upgrade that moves it fails here, by name.

`app/transport/engineio_socket.py` and `engineio_server.py` override private methods and set attributes that
no documentation promises; here is where the installed python-engineio calls and reads them.
"""

import ast
import inspect
import re
from importlib.metadata import version
from types import ModuleType

import pytest
from engineio import async_server, base_server, base_socket, exceptions
from engineio.async_drivers import asgi
from engineio.async_socket import AsyncSocket

from app.node import Node
from app.transport import engineio_server, engineio_socket
from app.transport.engineio_server import EngineServer
from app.transport.engineio_socket import EngineSocket

MOVED = f"python-engineio {version('python-engineio')} has changed: see app/transport/ before adapting this test. "
UPSTREAM = (base_server.BaseServer, async_server.AsyncServer, base_socket.BaseSocket, AsyncSocket)

# (class, method) -> its parameters behind self, as they are called and overridden
OVERRIDDEN = {
    (async_server.AsyncServer, "_handle_connect"): ["environ", "transport", "jsonp_index"],
    (base_server.BaseServer, "generate_id"): [],
    (AsyncSocket, "_websocket_handler"): ["ws"],
    (AsyncSocket, "handle_get_request"): ["environ"],
    (AsyncSocket, "handle_post_request"): ["environ"],
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
        "self.cors_allowed_origins",
    ],
    (async_server.AsyncServer, "_service_task"): ["s.closed", "s.closing", "s.check_ping_timeout()"],
    (base_server.BaseServer, "_get_socket"): ["s.closed", "del self.sockets[sid]"],
    (AsyncSocket, "_upgrade_websocket"): ["self._websocket_handler", "self.upgraded"],
    (AsyncSocket, "handle_get_request"): [
        "self.upgrading or self.upgraded",
        "self.poll()",
        "'_upgrade_' + transport",
    ],
    (AsyncSocket, "poll"): ["self.queue.get()", "packets == [None]", "return []", "exceptions.QueueEmpty"],
    (AsyncSocket, "receive"): ["self.schedule_ping()", "exceptions.UnknownPacketError", "self.close("],
    (AsyncSocket, "check_ping_timeout"): ["self.closed", "self.last_ping", "self.close("],
    (AsyncSocket, "_send_ping"): ["self.closing", "self.closed"],
    (asgi, "translate_request"): [
        "'wsgi.input': AwaitablePayload(event)",
        "self.event = await receive()",
        "return {}",
    ],
    (asgi.WebSocket, "wait"): ["raise OSError"],
    (asgi.WebSocket, "close"): ["websocket.close"],
}
ATTRIBUTES = ["queue", "connected", "upgrading", "upgraded", "closing", "closed", "sid", "server"]


@pytest.fixture
def server() -> EngineServer:
    """A server that is never started."""
    return EngineServer(node=Node(), async_mode="asgi")


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
    assert isinstance(EngineSocket(server, server.generate_id()), AsyncSocket)


def test_a_socket_has_the_attributes_that_are_set(server: EngineServer) -> None:
    source = inspect.getsource(base_socket.BaseSocket.__init__)
    stock = AsyncSocket(server, "x")
    for name in ATTRIBUTES:
        assert hasattr(stock, name), f"{MOVED}sockets have no {name}"
        assert f"self.{name} = " in source, f"{MOVED}BaseSocket does not set {name}"
    flags = [getattr(stock, name) for name in ("connected", "upgrading", "upgraded", "closing", "closed")]
    assert flags == [False] * 5, f"{MOVED}a new socket's flags are {flags}"


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
    for name in ("start_service_task", "service_task_handle", "ping_interval", "ping_timeout"):
        assert hasattr(server, name), f"{MOVED}there is no {name}"
    assert server.start_service_task is True, f"{MOVED}clients are not watched unless asked"
    assert server.sockets == {}
    for reason in ("SERVER_DISCONNECT", "TRANSPORT_CLOSE", "TRANSPORT_ERROR", "PING_TIMEOUT"):
        assert hasattr(server.reason, reason), f"{MOVED}there is no reason {reason}"


def test_the_errors_raised_for_the_server_are_its_own() -> None:
    for name in ("SocketIsClosedError", "ContentTooLongError", "UnknownPacketError", "QueueEmpty"):
        assert issubclass(getattr(exceptions, name), exceptions.EngineIOError), f"{MOVED}{name}"
    assert issubclass(engineio_socket.BadMessage, exceptions.EngineIOError)


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
