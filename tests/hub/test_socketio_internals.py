"""What of python-socketio's inside the hub stands on: an upgrade that moves it fails here, by name.

`app/hub/socketio_server.py` overrides or calls private methods of AsyncServer; `app/hub/manager.py` replaces
the books of BaseManager, so nothing that the server asks of a manager may be inherited.
"""

import ast
import inspect
import re
import textwrap

import engineio
import pytest
import socketio
from socketio import async_namespace, async_server, base_server, packet

from app.hub import socketio_server
from app.hub.manager import ClusterManager
from app.hub.socketio_server import ClusterServer, OrjsonModule
from app.settings import load_settings
from app.transport import engineio_server
from app.transport.engineio_server import EngineServer

# method -> its parameters behind self, as they are called and overridden
METHODS = {
    "_handle_eio_disconnect": ["eio_sid", "reason"],
    "_handle_connect": ["eio_sid", "namespace", "data"],
    "_handle_disconnect": ["eio_sid", "namespace", "reason"],
    "_handle_ack": ["eio_sid", "namespace", "id", "data"],
    "_trigger_event": ["event", "namespace", "args"],
    "_send_packet": ["eio_sid", "pkt"],
}
MOVED = "python-socketio has changed: see app/hub/socketio_server.py before adapting this test. "


def asked_of_the_manager(module: object) -> set[str]:
    """The names in `self.manager.<name>` of a module's source."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "manager"
    }


@pytest.fixture
def server() -> ClusterServer:
    """A server that is never started."""
    return ClusterServer(ClusterManager(load_settings(redis_url="redis://127.0.0.1:1/0")))


@pytest.mark.parametrize("name", METHODS)
def test_the_private_methods_take_what_they_took(name: str) -> None:
    method = inspect.getattr_static(socketio.AsyncServer, name, None)
    assert method is not None, f"{MOVED}AsyncServer.{name} is gone"
    assert inspect.iscoroutinefunction(method), f"{MOVED}AsyncServer.{name} is no coroutine function"
    assert list(inspect.signature(method).parameters)[1:] == METHODS[name], f"{MOVED}{name}'s parameters"


def test_the_engineio_server_is_made_by_the_method_that_is_overridden(server: ClusterServer) -> None:
    assert list(inspect.signature(socketio.AsyncServer._engineio_server_class).parameters) == ["self"], MOVED
    assert isinstance(server.eio, EngineServer), f"{MOVED}_engineio_server_class is not asked any more"


def test_the_engineio_server_calls_the_overridden_handler(server: ClusterServer) -> None:
    assert server.eio.handlers["disconnect"] == server._handle_eio_disconnect, MOVED


def test_the_engineio_server_hands_over_what_comes_in(server: ClusterServer) -> None:
    assert server.eio.receiver is server
    raised = re.findall(r'_trigger_event\(\s*"(\w+)"', inspect.getsource(engineio_server))
    assert raised == ["disconnect"], "sessions begin, and messages come, without events of python-engineio"


def test_a_session_s_beginning_is_all_that_python_socketio_does_then(
    server: ClusterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = ast.parse(textwrap.dedent(inspect.getsource(socketio.AsyncServer._handle_eio_connect))).body[0]
    assert isinstance(theirs, ast.AsyncFunctionDef)
    assert [ast.unparse(statement) for statement in theirs.body[1:]] == [
        "if not self.manager_initialized:\n    self.manager_initialized = True\n    self.manager.initialize()",
        "self.environ[eio_sid] = environ",
    ], f"{MOVED}what `opened` stands for does something else now"
    initialized: list[bool] = []
    monkeypatch.setattr(server.manager, "initialize", lambda: initialized.append(True))
    server.opened("x")
    server.opened("y")
    assert initialized == [True]


def test_environs_are_only_asked_for_by_their_connections() -> None:
    """Which is what `Environs` can do."""
    used = set()
    for module in (async_server, base_server):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            inner = list(ast.iter_child_nodes(node))
            if any(isinstance(each, ast.Attribute) and each.attr == "environ" for each in inner):
                used.add(ast.unparse(node))
    assert used == {
        "self.environ = {}",
        "self.environ[eio_sid]",
        "self.environ.get",
        "eio_sid in self.environ",
    }, MOVED


def test_the_attributes_that_are_used_are_there(server: ClusterServer) -> None:
    assert server._binary_packet == {}, f"{MOVED}_binary_packet"
    assert server.environ == {}, f"{MOVED}environ"
    assert server.packet_class is packet.Packet, f"{MOVED}packet_class"
    assert server.not_handled is not None, f"{MOVED}not_handled"
    for reason in ("CLIENT_DISCONNECT", "SERVER_DISCONNECT", "TRANSPORT_ERROR", "TRANSPORT_CLOSE", "PING_TIMEOUT"):
        assert hasattr(server.reason, reason), f"{MOVED}reason.{reason}"


def test_the_engineio_server_keeps_its_sockets_where_the_fan_out_looks(server: ClusterServer) -> None:
    assert server.eio.sockets == {}, f"{MOVED}eio.sockets"
    assert server.eio.max_http_buffer_size == server.manager.settings.max_message_bytes, MOVED


def test_packets_are_made_of_the_json_module_that_is_given(server: ClusterServer) -> None:
    assert server.packet_class.json is OrjsonModule, MOVED
    assert engineio.packet.Packet.json is OrjsonModule, MOVED


def test_a_packet_has_what_the_server_reads_of_it() -> None:
    pkt = packet.Packet(encoded_packet='51-/a,7["x",{"_placeholder":true,"num":0}]')
    assert (pkt.packet_type, pkt.namespace, pkt.id, pkt.attachment_count) == (packet.BINARY_EVENT, "/a", 7, 1), (
        MOVED
    )
    assert pkt.attachments == [], MOVED
    assert pkt.add_attachment(b"bytes") is True, MOVED
    assert pkt.data == ["x", b"bytes"], MOVED
    assert packet.Packet.deconstruct_binary(["x", b"b"]) == (["x", {"_placeholder": True, "num": 0}], [b"b"]), (
        MOVED
    )


def test_a_namespace_is_asked_by_trigger_event() -> None:
    trigger = async_namespace.AsyncNamespace.trigger_event
    assert inspect.iscoroutinefunction(trigger), MOVED
    assert list(inspect.signature(trigger).parameters) == ["self", "event", "args"], MOVED


@pytest.mark.parametrize("module", [async_server, base_server], ids=lambda module: module.__name__)
def test_the_manager_itself_has_everything_the_server_asks_of_one(module: object) -> None:
    asked = asked_of_the_manager(module)
    assert "set_server" in asked or "pre_connect" in asked, f"{MOVED}nothing is asked as self.manager.<name>"
    inherited = {name for name in asked if name not in vars(ClusterManager)}
    assert not inherited, f"{MOVED}ClusterManager inherits what its books do not serve: {sorted(inherited)}"


def test_the_methods_of_the_manager_take_what_the_managers_of_python_socketio_take() -> None:
    """Positionally; what ClusterManager adds behind is its own."""
    for name in asked_of_the_manager(async_server) | asked_of_the_manager(base_server):
        theirs = list(inspect.signature(getattr(socketio.AsyncManager, name)).parameters)
        ours = inspect.signature(getattr(ClusterManager, name)).parameters
        takes_more = any(each.kind is each.VAR_KEYWORD for each in ours.values())
        missing = [each for each in theirs if each not in ours and not (takes_more and each == "kwargs")]
        assert not missing, f"{MOVED}{name}() is called with {missing}"


def test_the_docstring_names_every_private_thing_that_is_overridden() -> None:
    overridden = {
        name
        for name in vars(ClusterServer)
        if name.startswith("_") and not name.startswith("__") and hasattr(socketio.AsyncServer, name)
    }
    named = set(re.findall(r"`(_\w+)`", socketio_server.__doc__ or ""))
    unnamed = overridden - named
    assert not unnamed, f"app/hub/socketio_server.py overrides, and does not name: {sorted(unnamed)}"
