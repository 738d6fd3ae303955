"""What a python-socketio client manager does, as facts that hold for AsyncManager and for ClusterManager.

Everything is seen from outside: a real AsyncServer around the manager, a real uvicorn, real clients. The
second half is what only ClusterManager can do: two nodes on one Redis that act as one server.

Where the two managers differ on purpose, `DIFFERENCES` says so, and the tests read it.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionError as SocketIOConnectionError
from socketio.exceptions import ConnectionRefusedError as SocketIOConnectionRefusedError
from socketio.exceptions import TimeoutError as SocketIOTimeoutError

from app.errors import NotConnected
from app.hub.emitter import Emitter
from app.settings import load_settings
from tests.support.eventually import eventually
from tests.support.hub_node import Node, async_manager_node, cluster_manager_node
from tests.support.js_client import JsClients, JsError
from tests.support.py_client import NEVER, PyClient
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.time_limit(10)

MANAGERS = ("AsyncManager", "ClusterManager")

# Where ClusterManager may differ on purpose. The tests ask for these reasons already: listing one in the
# table below switches the other expectation on.
UNKNOWN_SID = "entering a room as an unknown sid raises app.errors.NotConnected, not KeyError or ValueError"
CAN_DISCONNECT = "can_disconnect() disconnects through the log, and never lets the server do it by itself"

# manager -> the reasons for which it differs
DIFFERENCES: dict[str, tuple[str, ...]] = {
    "ClusterManager": (UNKNOWN_SID, CAN_DISCONNECT),
}


def differs(manager: object, why: str) -> bool:
    """Whether `manager` departs from AsyncManager on purpose, for the reason `why` in DIFFERENCES."""
    return why in DIFFERENCES.get(type(manager).__name__, ())


@contextlib.asynccontextmanager
async def serving(kind: str, redis_url: str, key_prefix: str, **options: Any) -> AsyncIterator[Node]:
    """A node with the manager that `kind` names."""
    opened = (
        async_manager_node(**options)
        if kind == "AsyncManager"
        else cluster_manager_node(redis_url, key_prefix, **options)
    )
    async with opened as node:
        yield node


@pytest.fixture(params=MANAGERS)
def manager_kind(request: pytest.FixtureRequest) -> str:
    """The manager's class, by name; a test that asks for it, or for `node`, runs with each."""
    return str(request.param)


@pytest.fixture
async def node(manager_kind: str, redis_server: RedisServer, key_prefix: str) -> AsyncIterator[Node]:
    """One node, of each kind."""
    async with serving(manager_kind, redis_server.url, key_prefix) as node:
        yield node


@pytest.fixture
async def js() -> AsyncIterator[JsClients]:
    """Stock JavaScript clients."""
    async with JsClients() as clients:
        yield clients


def test_every_listed_difference_is_asked_for_by_a_test() -> None:
    source = Path(__file__).read_text()
    named = {why: name for name, why in vars(sys.modules[__name__]).items() if isinstance(why, str)}
    for why in (why for reasons in DIFFERENCES.values() for why in reasons):
        assert source.count(f", {named[why]})") > 0, f"no test asks whether {why!r}"


# Emitting: to whom


async def test_an_emit_to_a_sid_reaches_that_socket_alone(node: Node) -> None:
    ann, bob = await node.client(), await node.client()
    await node.server.emit("hi", "only you", to=ann.sid)
    assert await node.received(ann, bob) == [[("hi", ("only you",))], []]


async def test_an_emit_without_a_room_reaches_everybody_in_the_namespace(node: Node) -> None:
    ann, bob, other = await node.client(), await node.client(), await node.client("/other")
    await node.server.emit("hi", 1)
    assert await node.received(ann, bob, other) == [[("hi", (1,))], [("hi", (1,))], []]


async def test_an_emit_to_a_room_reaches_its_members_alone(node: Node) -> None:
    ann, bob, eve = await node.client(rooms=["den"]), await node.client(rooms=["den"]), await node.client()
    await node.server.emit("hi", 1, room="den")
    assert await node.received(ann, bob, eve) == [[("hi", (1,))], [("hi", (1,))], []]


async def test_a_skipped_sid_gets_nothing(node: Node) -> None:
    ann, bob = await node.client(rooms=["den"]), await node.client(rooms=["den"])
    await node.server.emit("to the room", 1, room="den", skip_sid=ann.sid)
    await node.server.emit("to all", 2, skip_sid=ann.sid)
    assert await node.received(ann, bob) == [[], [("to the room", (1,)), ("to all", (2,))]]


async def test_a_list_of_skipped_sids_gets_nothing(node: Node) -> None:
    ann, bob, eve = [await node.client(rooms=["den"]) for _ in range(3)]
    await node.server.emit("to the room", 1, room="den", skip_sid=[ann.sid, bob.sid])
    await node.server.emit("to all", 2, skip_sid=[eve.sid, "nobody"])
    assert await node.received(ann, bob, eve) == [
        [("to all", (2,))],
        [("to all", (2,))],
        [("to the room", (1,))],
    ]


async def test_an_emit_to_several_rooms_reaches_each_socket_once(node: Node) -> None:
    both = await node.client(rooms=["den", "attic"])
    one, neither = await node.client(rooms=["attic"]), await node.client(rooms=["cellar"])
    await node.server.emit("hi", 1, to=["den", "attic", "no such room"])
    assert await node.received(both, one, neither) == [[("hi", (1,))], [("hi", (1,))], []]


async def test_a_list_of_rooms_may_hold_sids(node: Node) -> None:
    ann, bob, eve = await node.client(), await node.client(rooms=["den"]), await node.client()
    await node.server.emit("hi", 1, to=[ann.sid, "den"])
    assert await node.received(ann, bob, eve) == [[("hi", (1,))], [("hi", (1,))], []]


async def test_a_skipped_sid_gets_nothing_through_any_of_several_rooms(node: Node) -> None:
    ann, bob = await node.client(rooms=["den", "attic"]), await node.client(rooms=["attic"])
    await node.server.emit("hi", 1, to=["den", "attic"], skip_sid=ann.sid)
    assert await node.received(ann, bob) == [[], [("hi", (1,))]]


@pytest.mark.parametrize("room", ["no such room", ["no such room", "nor this"]])
async def test_an_emit_to_an_unknown_room_reaches_nobody_and_is_no_error(node: Node, room: Any) -> None:
    ann = await node.client()
    await node.server.emit("hi", 1, room=room)
    assert await node.received(ann) == [[]]


async def test_an_emit_into_a_namespace_without_sockets_is_no_error(node: Node) -> None:
    ann = await node.client()
    await node.server.emit("hi", 1, namespace="/empty")
    await node.server.emit("hi", 1, namespace="/empty", to=ann.sid)
    assert await node.received(ann) == [[]]


async def test_rooms_of_the_same_name_in_two_namespaces_are_two_rooms(node: Node) -> None:
    ann, bob = await node.client(rooms=["den"]), await node.client("/other", rooms=["den"])
    await node.server.emit("hi", 1, room="den", namespace="/other")
    assert await node.received(ann, bob) == [[], [("hi", (1,))]]


async def test_an_emit_that_ignores_the_queue_reaches_this_nodes_sockets(node: Node) -> None:
    ann, bob = await node.client(rooms=["den"]), await node.client()
    await node.server.emit("hi", 1, room="den", ignore_queue=True)
    assert await node.received(ann, bob) == [[("hi", (1,))], []]


# Emitting: what


@pytest.mark.parametrize(
    ("data", "args"),
    [
        pytest.param(None, (), id="none_is_no_argument"),
        pytest.param((), (), id="an_empty_tuple_is_no_argument"),
        pytest.param((1, "two", [3]), (1, "two", [3]), id="a_tuple_is_several_arguments"),
        pytest.param((None,), (None,), id="none_in_a_tuple_is_an_argument"),
        pytest.param([1, 2], ([1, 2],), id="a_list_is_one_argument"),
        pytest.param([], ([],), id="an_empty_list_is_one_argument"),
        pytest.param({}, ({},), id="an_empty_dict_is_one_argument"),
        pytest.param(0, (0,), id="zero_is_one_argument"),
        pytest.param(False, (False,), id="false_is_one_argument"),
        pytest.param("", ("",), id="an_empty_text_is_one_argument"),
        pytest.param('안녕 👋 " \\ \n \x00', ('안녕 👋 " \\ \n \x00',), id="any_text_is_unchanged"),
        pytest.param({"a": [1.5, {"b": None}]}, ({"a": [1.5, {"b": None}]},), id="nesting_is_unchanged"),
        pytest.param(b"\x00\xff", (b"\x00\xff",), id="bytes_are_one_argument"),
        pytest.param({"a": [b"1", {"b": b""}]}, ({"a": [b"1", {"b": b""}]},), id="bytes_may_be_nested"),
        pytest.param((b"1", {"b": b"2"}), (b"1", {"b": b"2"}), id="bytes_may_be_in_several_arguments"),
    ],
)
async def test_data_arrives_as_arguments(node: Node, data: Any, args: tuple[Any, ...]) -> None:
    ann = await node.client(rooms=["den"])
    await node.server.emit("to all", data)
    await node.server.emit("to the room", data, room="den")
    await node.server.emit("to one", data, to=ann.sid)
    assert await node.received(ann) == [[("to all", args), ("to the room", args), ("to one", args)]]


async def test_send_emits_the_event_message(node: Node) -> None:
    ann = await node.client()
    await node.server.send("hi", to=ann.sid)
    assert await node.received(ann) == [[("message", ("hi",))]]


async def test_any_event_name_arrives(node: Node) -> None:
    ann = await node.client()
    await node.server.emit('안녕 "quoted", [1]', 1)
    assert await node.received(ann) == [[('안녕 "quoted", [1]', (1,))]]


async def test_two_hundred_emits_arrive_in_order(node: Node) -> None:
    ann, bob = await node.client(rooms=["den"]), await node.client(rooms=["den"])
    for number in range(200):
        to = (None, "den", ["den", "attic"])[number % 3]
        await node.server.emit("count", {"number": number}, to=to)
    expected = [("count", ({"number": number},)) for number in range(200)]
    assert await node.received(ann, bob) == [expected, expected]


async def test_binary_and_text_emits_keep_their_order(node: Node) -> None:
    ann = await node.client()
    for number in range(50):
        await node.server.emit("count", {"number": number, "bytes": b"x" * (number % 2)})
        await node.server.emit("count", number)
    numbers = [args[0] if isinstance(args[0], int) else args[0]["number"] for args in await _counts(node, ann)]
    assert numbers == [number for number in range(50) for _ in range(2)]


async def _counts(node: Node, client: PyClient) -> list[tuple[Any, ...]]:
    (events,) = await node.received(client)
    return [args for _, args in events]


async def test_data_changed_after_the_emit_arrives_as_it_was(node: Node) -> None:
    ann = await node.client()
    data = {"number": 1}
    await node.server.emit("hi", data)
    data["number"] = 2
    assert await node.received(ann) == [[("hi", ({"number": 1},))]]


# Acknowledgements


@pytest.mark.parametrize(
    ("reply", "args"),
    [(None, ()), ("text", ("text",)), ((1, {"b": b"\x00"}), (1, {"b": b"\x00"})), ([1, 2], ([1, 2],))],
    ids=["without_a_value", "with_a_text", "with_several_values", "with_a_list"],
)
async def test_a_callback_gets_what_the_client_acknowledges(node: Node, reply: Any, args: tuple[Any, ...]) -> None:
    ann = await node.client()
    ann.replies["ask"] = reply
    answers: list[tuple[Any, ...]] = []
    await node.server.emit("ask", {"q": 1}, to=ann.sid, callback=lambda *got: answers.append(got))
    await eventually(lambda: answers == [args], message=f"answers {answers} become {[args]}")
    assert ann.events == [("ask", ({"q": 1},))]


async def test_a_callback_may_be_a_coroutine_function(node: Node) -> None:
    ann = await node.client()
    ann.replies["ask"] = "yes"
    answers: list[str] = []

    async def callback(answer: str) -> None:
        await asyncio.sleep(0)
        answers.append(answer)

    await node.server.emit("ask", to=ann.sid, callback=callback)
    await eventually(lambda: answers == ["yes"])


async def test_each_of_many_callbacks_gets_its_own_answer(node: Node) -> None:
    clients = [await node.client() for _ in range(3)]
    answers: dict[tuple[int, int], int] = {}
    for which, client in enumerate(clients):
        client.replies["double"] = lambda number: 2 * number
        for number in range(20):

            def callback(answer: int, key: tuple[int, int] = (which, number)) -> None:
                answers[key] = answer

            await node.server.emit("double", 100 * which + number, to=client.sid, callback=callback)
    expected = {(which, number): 2 * (100 * which + number) for which in range(3) for number in range(20)}
    await eventually(lambda: answers == expected)


async def test_a_callback_for_an_unknown_sid_is_never_called_and_no_error(node: Node) -> None:
    ann = await node.client()
    answers: list[tuple[Any, ...]] = []
    await node.server.emit("ask", 1, to="nobody", callback=lambda *args: answers.append(args))
    assert await node.received(ann) == [[]] and answers == []


async def test_an_acknowledgement_that_nobody_waits_for_is_ignored(node: Node) -> None:
    ann = await node.client()
    await node.manager.trigger_callback(ann.sid, 999, ["late"])
    await node.manager.trigger_callback("nobody", 1, [])
    assert await node.received(ann) == [[]]


@pytest.mark.parametrize("reply", [None, "text", (1, "two"), {"b": b"\x00"}])
async def test_call_returns_what_the_client_acknowledges(node: Node, reply: Any) -> None:
    ann = await node.client()
    ann.replies["ask"] = reply
    assert await node.server.call("ask", {"q": 1}, to=ann.sid, timeout=5) == reply


async def test_call_shows_the_client_the_arguments_and_nothing_else(node: Node) -> None:
    ann = await node.client()
    await node.server.call("ask", ("a", "text"), sid=ann.sid, timeout=5)
    await node.server.call("ask", to=ann.sid, timeout=5)
    assert ann.events == [("ask", ("a", "text")), ("ask", ())]


async def test_call_gives_up_after_its_timeout(node: Node) -> None:
    ann = await node.client()
    ann.replies["ask"] = NEVER
    with pytest.raises(SocketIOTimeoutError):
        await node.server.call("ask", to=ann.sid, timeout=0.05)


async def test_call_of_an_unknown_sid_gives_up_after_its_timeout(node: Node) -> None:
    await node.client()
    with pytest.raises(SocketIOTimeoutError):
        await node.server.call("ask", to="nobody", timeout=0.05)


async def test_call_to_everybody_is_refused(node: Node) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        await node.server.call("ask")


# Rooms


async def test_a_socket_is_in_the_room_of_its_own_sid_from_the_start(node: Node) -> None:
    ann = await node.client()
    assert node.server.rooms(ann.sid) == [ann.sid]
    assert node.manager.get_rooms(ann.sid, "/") == [ann.sid]


async def test_rooms_lists_what_was_entered_and_not_what_was_left(node: Node) -> None:
    ann = await node.client()
    for room in ("den", "attic", "den"):
        await node.server.enter_room(ann.sid, room)
    assert _rooms(node, ann) == sorted([ann.sid, "den", "attic"])
    await node.server.leave_room(ann.sid, "den")
    assert _rooms(node, ann) == sorted([ann.sid, "attic"])


def _rooms(node: Node, client: PyClient) -> list[str]:
    return sorted(node.server.rooms(client.sid, namespace=client.namespace))


async def test_an_unknown_sid_is_in_no_room(node: Node) -> None:
    ann = await node.client(rooms=["den"])
    assert node.server.rooms("nobody") == []
    assert node.server.rooms(ann.sid, namespace="/other") == []


async def test_entering_twice_is_entering_once(node: Node) -> None:
    ann = await node.client(rooms=["den", "den"])
    await node.server.emit("hi", 1, room="den")
    assert await node.received(ann) == [[("hi", (1,))]]
    await node.server.leave_room(ann.sid, "den")
    await node.server.emit("hi", 2, room="den")
    assert await node.received(ann) == [[("hi", (1,))]]


async def test_emits_before_a_join_and_after_a_leave_are_not_received(node: Node) -> None:
    ann, bob = await node.client(rooms=["den"]), await node.client()
    await node.server.emit("count", 1, room="den")
    await node.server.enter_room(bob.sid, "den")
    await node.server.emit("count", 2, room="den")
    await node.server.leave_room(bob.sid, "den")
    await node.server.emit("count", 3, room="den")
    assert await node.received(ann, bob) == [
        [("count", (1,)), ("count", (2,)), ("count", (3,))],
        [("count", (2,))],
    ]


async def test_leaving_a_room_one_is_not_in_is_no_error(node: Node) -> None:
    ann, bob = await node.client(), await node.client(rooms=["den"])
    await node.server.leave_room(ann.sid, "den")
    await node.server.leave_room(ann.sid, "no such room")
    await node.server.leave_room("nobody", "den")
    await node.server.emit("hi", 1, room="den")
    assert await node.received(ann, bob) == [[], [("hi", (1,))]]


async def test_entering_the_room_of_another_sid_is_refused(node: Node) -> None:
    ann, bob = await node.client(), await node.client()
    with pytest.raises(ValueError):
        await node.server.enter_room(ann.sid, bob.sid)
    await node.server.emit("hi", 1, to=bob.sid)
    assert await node.received(ann, bob) == [[], [("hi", (1,))]]


async def test_entering_the_room_of_ones_own_sid_changes_nothing(node: Node) -> None:
    ann = await node.client()
    await node.server.enter_room(ann.sid, ann.sid)
    await node.server.emit("hi", 1, to=ann.sid)
    assert await node.received(ann) == [[("hi", (1,))]]
    assert node.server.rooms(ann.sid) == [ann.sid]


async def test_entering_a_room_needs_a_connected_socket(node: Node) -> None:
    await node.client()
    with pytest.raises(NotConnected if differs(node.manager, UNKNOWN_SID) else KeyError):
        await node.server.enter_room("nobody", "den")


async def test_entering_a_room_in_a_namespace_without_sockets_is_refused(node: Node) -> None:
    ann = await node.client()
    with pytest.raises(NotConnected if differs(node.manager, UNKNOWN_SID) else ValueError):
        await node.server.enter_room(ann.sid, "den", namespace="/empty")


async def test_closing_a_room_removes_everybody_and_disconnects_nobody(node: Node) -> None:
    ann, bob = await node.client(rooms=["den", "attic"]), await node.client(rooms=["den"])
    await node.server.close_room("den")
    assert _rooms(node, ann) == sorted([ann.sid, "attic"])
    assert _rooms(node, bob) == [bob.sid]
    await node.server.emit("hi", 1, to=["den", "attic"])
    assert await node.received(ann, bob) == [[("hi", (1,))], []]


async def test_closing_an_unknown_room_is_no_error(node: Node) -> None:
    ann = await node.client()
    await node.server.close_room("no such room")
    await node.server.close_room("no such room", namespace="/empty")
    assert ann.connected


async def test_closing_the_room_of_a_sid_is_refused(node: Node) -> None:
    ann = await node.client()
    with pytest.raises(ValueError):
        await node.server.close_room(ann.sid)
    await node.server.emit("hi", 1, to=ann.sid)
    assert await node.received(ann) == [[("hi", (1,))]]


async def test_a_closed_room_can_be_entered_again(node: Node) -> None:
    ann = await node.client(rooms=["den"])
    await node.server.close_room("den")
    await node.server.enter_room(ann.sid, "den")
    await node.server.emit("hi", 1, room="den")
    assert await node.received(ann) == [[("hi", (1,))]]


@pytest.mark.parametrize("room", ["방", "a|b", "{0}", "a:b", "*", " ", "x" * 500, "sio:{0}:clock", "a\nb"])
async def test_any_text_can_name_a_room(node: Node, room: str) -> None:
    ann, bob = await node.client(rooms=[room]), await node.client(rooms=[f"{room}2"])
    await node.server.emit("hi", 1, room=room)
    assert await node.received(ann, bob) == [[("hi", (1,))], []]


# Who is there


async def test_participants_are_pairs_of_sid_and_engine_sid(node: Node) -> None:
    ann, bob, eve = await node.client(rooms=["den"]), await node.client(rooms=["den"]), await node.client()
    assert _participants(node, "den") == _pairs(ann, bob)
    assert _participants(node, None) == _pairs(ann, bob, eve)
    assert _participants(node, ann.sid) == _pairs(ann)


def _participants(node: Node, room: Any, namespace: str = "/") -> list[tuple[str, str]]:
    return sorted(node.manager.get_participants(namespace, room))


def _pairs(*clients: PyClient) -> list[tuple[str, str]]:
    return sorted((client.sid, client.io.sid) for client in clients)


async def test_participants_of_several_rooms_are_named_once(node: Node) -> None:
    ann, bob = await node.client(rooms=["den", "attic"]), await node.client(rooms=["attic"])
    rooms = ["no such room", "den", "attic"]
    assert _participants(node, rooms) == _pairs(ann, bob)


async def test_unknown_rooms_and_namespaces_have_no_participants(node: Node) -> None:
    await node.client()
    assert _participants(node, "no such room") == []
    assert _participants(node, None, "/empty") == []


async def test_participants_may_leave_while_they_are_named(node: Node) -> None:
    for _ in range(3):
        await node.client(rooms=["den"])
    assert len(_participants(node, "den")) == 3
    for sid, _ in node.manager.get_participants("/", "den"):
        await node.server.leave_room(sid, "den")
    assert _participants(node, "den") == []


async def test_namespaces_are_those_with_sockets(node: Node) -> None:
    assert list(node.manager.get_namespaces()) == []
    await node.client("/chat")
    bob = await node.client("/lobby")
    assert sorted(node.manager.get_namespaces()) == ["/chat", "/lobby"]
    await bob.close()
    await eventually(lambda: list(node.manager.get_namespaces()) == ["/chat"])


async def test_a_socket_is_connected_in_its_namespace_alone(node: Node) -> None:
    ann = await node.client("/chat")
    assert node.manager.is_connected(ann.sid, "/chat") is True
    assert node.manager.is_connected(ann.sid, "/") is False
    assert node.manager.is_connected("nobody", "/chat") is False
    assert node.manager.is_connected(None, "/chat") is False


async def test_sid_and_engine_sid_lead_to_each_other(node: Node) -> None:
    ann, bob = await node.client("/chat"), await node.client("/chat")
    for client in (ann, bob):
        assert node.manager.eio_sid_from_sid(client.sid, "/chat") == client.io.sid
        assert node.manager.sid_from_eio_sid(client.io.sid, "/chat") == client.sid


async def test_unknown_sids_lead_to_nothing(node: Node) -> None:
    ann = await node.client("/chat")
    assert node.manager.eio_sid_from_sid("nobody", "/chat") is None
    assert node.manager.sid_from_eio_sid("nobody", "/chat") is None
    assert node.manager.eio_sid_from_sid(ann.sid, "/") is None
    assert node.manager.sid_from_eio_sid(ann.io.sid, "/") is None


async def test_one_connection_has_a_sid_for_each_of_its_namespaces(node: Node) -> None:
    async with _raw_client(node, ["/chat", "/lobby"]) as client:
        chat, lobby = client.get_sid("/chat"), client.get_sid("/lobby")
        assert len({chat, lobby, client.sid}) == 3
        assert node.manager.eio_sid_from_sid(chat, "/chat") == client.sid
        assert node.manager.eio_sid_from_sid(lobby, "/lobby") == client.sid


@contextlib.asynccontextmanager
async def _raw_client(node: Node, namespaces: list[str]) -> AsyncIterator[socketio.AsyncClient]:
    client = socketio.AsyncClient(reconnection=False, handle_sigint=False)
    await client.connect(node.url, transports=["websocket"], namespaces=namespaces)
    try:
        yield client
    finally:
        await client.shutdown()


async def test_environ_and_transport_are_found_by_sid(node: Node) -> None:
    ann, bob = await node.client(), await node.client("/chat", transports=("polling",))
    assert node.server.get_environ(ann.sid)["PATH_INFO"] == "/socket.io/"
    assert node.server.transport(ann.sid) == "websocket"
    assert node.server.transport(bob.sid, namespace="/chat") == "polling"


# Connecting


async def test_while_the_connect_handler_runs_the_socket_counts_as_not_connected(node: Node) -> None:
    seen: list[tuple[bool, bool]] = []

    @node.server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        seen.append((node.manager.is_pre_connected(sid, "/"), node.manager.is_connected(sid, "/")))

    ann = await node.client()
    assert seen == [(True, False)]
    await eventually(lambda: node.manager.is_connected(ann.sid, "/"))
    assert node.manager.is_pre_connected(ann.sid, "/") is False


async def test_rooms_entered_in_the_connect_handler_count_at_once(node: Node) -> None:
    rooms: list[list[str]] = []

    @node.server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await node.server.enter_room(sid, "den")
        assert "den" in node.server.rooms(sid)
        rooms.append(sorted(node.server.rooms(sid)))
        await node.server.emit("hi", 1, room="den")

    ann = await node.client()
    assert await node.received(ann) == [[("hi", (1,))]]
    assert rooms == [sorted([ann.sid, "den"])]


async def test_an_emit_from_the_connect_handler_to_its_own_sid_arrives(node: Node) -> None:
    @node.server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await node.server.emit("welcome", {"sid": sid}, to=sid)
        await node.server.emit("joined", sid)

    ann = await node.client()
    assert await node.received(ann) == [[("welcome", ({"sid": ann.sid},)), ("joined", (ann.sid,))]]


async def test_a_stock_client_gets_what_was_emitted_before_it_was_connected(node: Node, js: JsClients) -> None:
    @node.server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await node.server.emit("welcome", 1, to=sid)

    client = await js.open(node.url, transports=["websocket"])
    assert await client.wait_for("welcome") == (1,)


async def test_the_connect_handler_gets_what_the_client_sent_as_auth(node: Node) -> None:
    seen: list[Any] = []

    @node.server.on("connect")
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        seen.append(auth)

    await node.client(auth={"name": "안"})
    await node.client()
    assert seen == [{"name": "안"}, None]


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (SocketIOConnectionRefusedError("full", {"code": 7}), {"message": "full", "data": {"code": 7}}),
        (SocketIOConnectionRefusedError("full", 1, 2), {"message": "full", "data": [1, 2]}),
        (SocketIOConnectionRefusedError("full"), {"message": "full"}),
        (SocketIOConnectionRefusedError(), {"message": "Connection rejected by server"}),
        (ConnectionRefusedError("a secret"), {"message": "Connection refused by server"}),
        (None, {"message": "Connection rejected by server"}),
    ],
    ids=["message_and_data", "message_and_more", "message", "nothing", "pythons_own_error", "false"],
)
async def test_a_refused_client_is_told_why_and_leaves_nothing(
    node: Node, refusal: Exception | None, told: dict[str, Any]
) -> None:
    sids: list[str] = []

    @node.server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> bool:
        sids.append(sid)
        await node.server.enter_room(sid, "den")
        if refusal is not None:
            raise refusal
        return False

    ann = node.unconnected()
    with pytest.raises(SocketIOConnectionError):
        await ann.connect(node.url)
    assert ann.errors == [told]
    await eventually(lambda: _participants(node, None) == [])
    await eventually(lambda: _participants(node, "den") == [])
    assert node.server.rooms(sids[0]) == [] and not node.manager.is_connected(sids[0], "/")
    assert list(node.manager.get_namespaces()) == []
    assert node.disconnected == []


async def test_a_refused_stock_client_gets_message_and_data(node: Node, js: JsClients) -> None:
    @node.server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        raise SocketIOConnectionRefusedError("full", {"code": 7})

    with pytest.raises(JsError, match="full") as refusal:
        await js.open(node.url, transports=["websocket"])
    assert refusal.value.data == {"code": 7}


async def test_a_refused_client_may_try_again(node: Node, js: JsClients) -> None:
    @node.server.on("connect")
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> bool:
        return bool(auth)

    client = await js.open(node.url, transports=["websocket"], wait=False)
    await client.wait_until(lambda: client.errors)
    client.set_auth({"now": "it works"})
    client.connect()
    await client.wait_connected()
    await node.server.emit("hi", 1, to=client.sid)
    assert await client.wait_for("hi") == (1,)


async def test_with_always_connect_a_refused_client_is_thrown_out_and_leaves_nothing(
    manager_kind: str, redis_server: RedisServer, key_prefix: str, js: JsClients
) -> None:
    async with serving(manager_kind, redis_server.url, key_prefix, always_connect=True) as node:

        @node.server.on("connect")
        async def connect(sid: str, environ: dict[str, Any]) -> bool:
            await node.server.enter_room(sid, "den")
            return False

        client = await js.open(node.url, transports=["websocket"], reconnection=False)
        # Seen with python-socketio 5.18: its DISCONNECT carries the refusal's data here, which the stock
        # client takes for a parse error. It is out all the same.
        await client.wait_until(lambda: client.disconnects)
        await eventually(lambda: _participants(node, None) == _participants(node, "den") == [])


async def test_a_connection_gets_a_namespace_once(node: Node) -> None:
    ann = await node.client("/chat")
    assert await node.manager.pre_connect(ann.io.sid, "/chat") is None
    assert node.manager.sid_from_eio_sid(ann.io.sid, "/chat") == ann.sid


async def test_a_socket_is_registered_in_two_steps_and_removed_in_one(node: Node) -> None:
    ann = await node.client()
    sid = await node.manager.pre_connect(ann.io.sid, "/chat")
    assert (node.manager.is_pre_connected(sid, "/chat"), node.manager.is_connected(sid, "/chat")) == (
        True,
        False,
    )
    assert await node.manager.connect(sid, "/chat") == sid
    assert (node.manager.is_pre_connected(sid, "/chat"), node.manager.is_connected(sid, "/chat")) == (
        False,
        True,
    )
    await node.manager.disconnect(sid, "/chat", ignore_queue=True)
    assert not node.manager.is_connected(sid, "/chat")
    assert _participants(node, None, "/chat") == []
    assert node.manager.eio_sid_from_sid(sid, "/chat") is None


# Disconnecting


async def test_a_socket_that_the_server_disconnects_is_gone_from_everything(node: Node) -> None:
    ann, bob = await node.client(rooms=["den"]), await node.client(rooms=["den"])
    sid = ann.sid
    await node.server.disconnect(sid)
    assert not node.manager.is_connected(sid, "/")
    await eventually(lambda: not ann.connected)
    assert node.server.rooms(sid) == []
    assert node.manager.eio_sid_from_sid(sid, "/") is None
    assert _participants(node, "den") == _participants(node, None) == _pairs(bob)
    assert node.disconnected == [(sid, "server disconnect")]


async def test_an_emit_before_a_disconnect_still_arrives(node: Node) -> None:
    ann, bob = await node.client(), await node.client()
    sid = ann.sid
    await node.server.emit("bye", 1, to=sid)
    await node.server.disconnect(sid)
    await node.server.emit("too late", 2, to=sid)
    await eventually(lambda: not ann.connected)
    assert await node.received(bob) == [[]]
    assert ann.events == [("bye", (1,))]


async def test_a_stock_client_knows_that_the_server_disconnected_it(node: Node, js: JsClients) -> None:
    client = await js.open(node.url, transports=["websocket"])
    sid = client.sid
    await node.server.disconnect(sid)
    await client.wait_until(lambda: client.disconnects)
    assert client.disconnects == ["io server disconnect"]
    assert node.disconnected == [(sid, "server disconnect")]


async def test_a_socket_leaves_one_namespace_and_stays_in_the_others(node: Node) -> None:
    async with _raw_client(node, ["/chat", "/lobby"]) as client:
        chat, lobby = client.get_sid("/chat"), client.get_sid("/lobby")
        await node.server.disconnect(chat, namespace="/chat")
        await eventually(lambda: "/chat" not in client.namespaces)
        await eventually(lambda: not node.manager.is_connected(chat, "/chat"))
        assert node.manager.is_connected(lobby, "/lobby")
        assert node.manager.eio_sid_from_sid(lobby, "/lobby") == client.sid


async def test_disconnecting_an_unknown_sid_is_no_error(node: Node) -> None:
    ann = await node.client()
    await node.server.disconnect("nobody")
    await node.server.disconnect(ann.sid, namespace="/empty")
    assert node.manager.is_connected(ann.sid, "/") and node.disconnected == []


async def test_disconnecting_twice_is_disconnecting_once(node: Node) -> None:
    ann = await node.client()
    sid = ann.sid
    await asyncio.gather(node.server.disconnect(sid), node.server.disconnect(sid))
    await node.server.disconnect(sid)
    await eventually(lambda: not ann.connected)
    await eventually(lambda: node.disconnected == [(sid, "server disconnect")])


async def test_can_disconnect_tells_the_server_whether_the_socket_is_its_own(node: Node) -> None:
    ann = await node.client()
    own = not differs(node.manager, CAN_DISCONNECT)
    assert not await node.manager.can_disconnect("nobody", "/")
    assert bool(await node.manager.can_disconnect(ann.sid, "/")) is own
    assert node.manager.is_connected(ann.sid, "/") is own


async def test_a_client_that_says_goodbye_is_a_client_disconnect(node: Node) -> None:
    ann = await node.client(rooms=["den"])
    sid = ann.sid
    await ann.close()
    await eventually(lambda: node.disconnected == [(sid, "client disconnect")])
    await eventually(lambda: not node.server.rooms(sid))
    assert _participants(node, "den") == [] and not node.manager.is_connected(sid, "/")


async def test_a_connection_that_breaks_is_a_transport_close(node: Node) -> None:
    ann = await node.client()
    sid = ann.sid
    await ann.break_off()
    await eventually(lambda: node.disconnected == [(sid, "transport close")])


async def test_a_broken_connection_disconnects_its_socket_in_every_namespace(node: Node) -> None:
    async with _raw_client(node, ["/chat", "/lobby"]) as client:
        sids = {client.get_sid("/chat"), client.get_sid("/lobby")}
        await client.eio.ws.close()
        await eventually(lambda: set(node.disconnected) == {(sid, "transport close") for sid in sids})


async def test_a_stock_client_that_breaks_off_is_a_transport_close(node: Node, js: JsClients) -> None:
    client = await js.open(node.url, transports=["websocket"], reconnection=False)
    sid = client.sid
    client.drop()
    await eventually(lambda: node.disconnected == [(sid, "transport close")])


async def test_in_the_disconnect_handler_the_socket_still_has_its_rooms_and_session(node: Node) -> None:
    seen: list[Any] = []

    @node.server.on("disconnect")
    async def disconnect(sid: str, reason: str) -> None:
        session = await node.server.get_session(sid)
        rooms = sorted(node.server.rooms(sid))
        seen.append((rooms, session, node.manager.is_connected(sid, "/"), reason))
        await node.server.emit("left", sid, room="den", skip_sid=sid)

    ann, bob = await node.client(rooms=["den"]), await node.client(rooms=["den"])
    sid = ann.sid
    await node.server.save_session(sid, {"name": "ann"})
    assert "den" in node.server.rooms(sid)
    await ann.close()
    await eventually(lambda: seen == [(sorted([sid, "den"]), {"name": "ann"}, False, "client disconnect")])
    assert await node.received(bob) == [[("left", (sid,))]]


async def test_a_disconnect_handler_that_fails_leaves_no_ghost(node: Node) -> None:
    @node.server.on("disconnect")
    async def disconnect(sid: str, reason: str) -> None:
        raise RuntimeError("a bug in the application")

    ann = await node.client(rooms=["den"])
    sid = ann.sid
    await ann.close()
    await eventually(lambda: not node.manager.is_connected(sid, "/"))


async def test_an_emit_to_a_sid_that_is_gone_reaches_nobody(node: Node) -> None:
    ann, bob = await node.client(), await node.client()
    sid = ann.sid
    await ann.close()
    await eventually(lambda: not node.manager.is_connected(sid, "/"))
    await node.server.emit("hi", 1, to=sid)
    assert await node.received(bob) == [[]]


async def test_a_client_that_comes_back_has_another_sid_and_no_rooms(node: Node) -> None:
    ann = await node.client(rooms=["den"])
    before = ann.sid
    await ann.close()
    again = await node.client()
    await node.server.emit("hi", 1, room="den")
    assert again.sid != before and await node.received(again) == [[]]


# Sessions


async def test_a_session_is_kept_for_each_socket(node: Node) -> None:
    ann, bob = await node.client(), await node.client()
    assert await node.server.get_session(ann.sid) == {}
    await node.server.save_session(ann.sid, {"name": "ann"})
    async with node.server.session(ann.sid) as session:
        session["age"] = 7
    assert await node.server.get_session(ann.sid) == {"name": "ann", "age": 7}
    assert await node.server.get_session(bob.sid) == {}


async def test_a_session_of_one_namespace_is_not_seen_in_another(node: Node) -> None:
    async with _raw_client(node, ["/chat", "/lobby"]) as client:
        await node.server.save_session(client.get_sid("/chat"), {"name": "ann"}, namespace="/chat")
        assert await node.server.get_session(client.get_sid("/lobby"), namespace="/lobby") == {}
        assert await node.server.get_session(client.get_sid("/chat"), namespace="/chat") == {"name": "ann"}


# Stock JavaScript clients


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_stock_clients_get_rooms_binaries_and_are_asked(node: Node, js: JsClients, transport: str) -> None:
    ann = await js.open(node.url, transports=[transport], replies={"ask": [1, b"\x00"]})
    bob = await js.open(node.url, transports=[transport])
    assert ann.sid is not None
    await node.server.enter_room(ann.sid, "den")
    payload = {"name": "안녕", "parts": [b"\x00\xff", b""]}
    await node.server.emit("picture", payload, room="den")
    await node.server.emit("several", (1, None, "three"))
    assert await node.server.call("ask", "a text", to=ann.sid, timeout=5) == (1, b"\x00")
    await ann.wait_until(lambda: len(ann.events) >= 3)
    assert sorted(ann.events, key=str) == sorted(
        [("picture", (payload,)), ("several", (1, None, "three")), ("ask", ("a text",))], key=str
    )
    assert await bob.wait_for("several") == (1, None, "three") and len(bob.events) == 1


# Two nodes: only ClusterManager


@dataclass(frozen=True, slots=True)
class Pair:
    """Two nodes of one cluster."""

    a: Node
    b: Node


@pytest.fixture
async def pair(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[Pair]:
    """Two nodes on the shared Redis, with a ClusterManager each."""
    async with (
        cluster_manager_node(redis_server.url, key_prefix) as a,
        cluster_manager_node(redis_server.url, key_prefix) as b,
    ):
        yield Pair(a, b)


async def _met(pair: Pair, rooms_of_ann: tuple[str, ...] = ()) -> tuple[PyClient, PyClient]:
    """ann on node A and bob on node B, both in the room "den"; ann in `rooms_of_ann` too."""
    ann = await pair.a.client(rooms=["den", *rooms_of_ann])
    return ann, await pair.b.client(rooms=["den"])


async def test_an_emit_reaches_a_sid_on_another_node_and_nobody_else(pair: Pair) -> None:
    ann, bob = await _met(pair)
    eve = await pair.b.client()
    await pair.a.server.emit("hi", 1, to=bob.sid)
    assert await pair.a.received(ann, bob, eve) == [[], [("hi", (1,))], []]


async def test_an_emit_reaches_a_rooms_members_on_every_node(pair: Pair) -> None:
    ann, bob = await _met(pair)
    eve = await pair.b.client()
    await pair.a.server.emit("hi", 1, room="den")
    assert await pair.a.received(ann, bob, eve) == [[("hi", (1,))], [("hi", (1,))], []]


async def test_an_emit_to_a_room_without_local_members_reaches_the_other_nodes(pair: Pair) -> None:
    ann, bob = await pair.a.client(), await pair.b.client(rooms=["attic"])
    await pair.a.server.emit("hi", 1, room="attic")
    assert await pair.a.received(ann, bob) == [[], [("hi", (1,))]]


async def test_an_emit_reaches_everybody_in_the_namespace_on_every_node(pair: Pair) -> None:
    ann, bob = await _met(pair)
    eve = await pair.b.client("/other")
    await pair.a.server.emit("hi", 1)
    assert await pair.a.received(ann, bob, eve) == [[("hi", (1,))], [("hi", (1,))], []]


async def test_skipped_sids_get_nothing_on_any_node(pair: Pair) -> None:
    ann, bob = await _met(pair)
    await pair.a.server.emit("not bob", 1, room="den", skip_sid=bob.sid)
    await pair.a.server.emit("not ann", 2, skip_sid=ann.sid)
    await pair.a.server.emit("neither", 3, room="den", skip_sid=[ann.sid, bob.sid])
    assert await pair.a.received(ann, bob) == [[("not bob", (1,))], [("not ann", (2,))]]


async def test_several_rooms_reach_each_socket_once_on_every_node(pair: Pair) -> None:
    ann, bob = await _met(pair, ("attic",))
    eve = await pair.b.client(rooms=["den", "attic"])
    await pair.a.server.emit("hi", 1, to=["attic", "den"])
    assert await pair.a.received(ann, bob, eve) == [[("hi", (1,))]] * 3


async def test_bytes_reach_the_other_node_unchanged(pair: Pair) -> None:
    ann, bob = await _met(pair)
    data = {"parts": [b"\x00\xff", {"more": b""}], "text": "안녕"}
    await pair.a.server.emit("to all", data)
    await pair.a.server.emit("to one", (data, b"1"), to=bob.sid)
    assert await pair.a.received(ann, bob) == [
        [("to all", (data,))],
        [("to all", (data,)), ("to one", (data, b"1"))],
    ]


async def test_a_stock_client_hears_the_other_node(pair: Pair, js: JsClients) -> None:
    client = await js.open(pair.b.url, transports=["websocket"], replies={"ask": ["yes", b"\x00"]})
    await pair.b.server.enter_room(client.sid, "den")
    await pair.a.server.emit("picture", {"bytes": b"\x00"}, room="den")
    assert await client.wait_for("picture") == ({"bytes": b"\x00"},)
    assert await pair.a.server.call("ask", to=client.sid, timeout=5) == ("yes", b"\x00")


async def test_two_nodes_that_emit_at_once_are_heard_in_one_order(pair: Pair) -> None:
    ann, bob = await _met(pair)

    async def emit(node: Node, name: str) -> None:
        for number in range(100):
            await node.server.emit(name, number, room="den")

    await asyncio.gather(emit(pair.a, "a"), emit(pair.b, "b"))
    of_ann, of_bob = await pair.a.received(ann, bob)
    assert of_ann == of_bob and len(of_ann) == 200
    for name in ("a", "b"):
        assert [args for event, args in of_ann if event == name] == [(number,) for number in range(100)]


async def test_a_callback_gets_the_answer_of_a_client_on_another_node(pair: Pair) -> None:
    bob = await pair.b.client()
    bob.replies["ask"] = lambda number: (number, {"b": b"\x00"})
    answers: list[tuple[Any, ...]] = []
    for number in range(5):
        await pair.a.server.emit("ask", number, to=bob.sid, callback=lambda *args: answers.append(args))
    await eventually(lambda: sorted(answers, key=str) == [(number, {"b": b"\x00"}) for number in range(5)])


async def test_call_returns_the_answer_of_a_client_on_another_node(pair: Pair) -> None:
    bob = await pair.b.client("/chat")
    for reply in (None, "text", (1, "two")):
        bob.replies["ask"] = reply
        assert await pair.a.server.call("ask", "q", to=bob.sid, namespace="/chat", timeout=5) == reply


async def test_call_of_a_silent_client_on_another_node_gives_up_after_its_timeout(pair: Pair) -> None:
    bob = await pair.b.client()
    bob.replies["ask"] = NEVER
    with pytest.raises(SocketIOTimeoutError):
        await pair.a.server.call("ask", to=bob.sid, timeout=0.1)
    await bob.wait_for("ask")


async def test_a_socket_on_another_node_can_be_put_in_a_room_and_taken_out(pair: Pair) -> None:
    bob = await pair.b.client()
    await pair.a.server.enter_room(bob.sid, "attic")
    await pair.a.server.emit("hi", 1, room="attic")
    await eventually(lambda: "attic" in pair.b.server.rooms(bob.sid))
    await pair.a.server.leave_room(bob.sid, "attic")
    await pair.a.server.emit("hi", 2, room="attic")
    assert await pair.a.received(bob) == [[("hi", (1,))]]
    assert pair.b.server.rooms(bob.sid) == [bob.sid]


async def test_a_room_is_closed_on_every_node(pair: Pair) -> None:
    ann, bob = await _met(pair, ("attic",))
    await pair.b.server.close_room("den")
    await pair.a.server.emit("hi", 1, room="den")
    assert await pair.a.received(ann, bob) == [[], []]
    assert sorted(pair.a.server.rooms(ann.sid)) == sorted([ann.sid, "attic"])
    assert pair.b.server.rooms(bob.sid) == [bob.sid]
    assert await pair.a.manager.rooms() == {"attic": 1}


async def test_a_socket_on_another_node_can_be_disconnected(pair: Pair) -> None:
    ann, bob = await _met(pair)
    sid = bob.sid
    await pair.a.server.emit("bye", 1, to=sid)
    await pair.a.server.disconnect(sid)
    await eventually(lambda: not bob.connected)
    await eventually(lambda: pair.b.disconnected == [(sid, "server disconnect")])
    await eventually(lambda: not pair.b.manager.is_connected(sid, "/"))
    assert bob.events == [("bye", (1,))] and ann.connected and pair.a.disconnected == []


async def test_a_stock_client_disconnected_from_another_node_is_told_so(pair: Pair, js: JsClients) -> None:
    client = await js.open(pair.b.url, "/chat", transports=["websocket"])
    await pair.a.server.disconnect(client.sid, namespace="/chat")
    await client.wait_until(lambda: client.disconnects)
    assert client.disconnects == ["io server disconnect"]


async def test_participants_and_connections_are_this_nodes_own(pair: Pair) -> None:
    ann, bob = await _met(pair)
    await eventually(lambda: _participants(pair.a, "den") == _pairs(ann))
    await eventually(lambda: _participants(pair.b, "den") == _pairs(bob))
    assert not pair.a.manager.is_connected(bob.sid, "/")


# Two nodes: who is where


async def test_rooms_are_counted_across_nodes_without_the_rooms_of_sids(pair: Pair) -> None:
    await _met(pair, ("attic",))
    await pair.b.client("/other", rooms=["cellar"])
    for node in (pair.a, pair.b):
        assert await node.manager.rooms() == {"den": 2, "attic": 1}
        assert await node.manager.rooms(namespace="/other") == {"cellar": 1}
        assert await node.manager.rooms(namespace="/empty") == {}


async def test_members_are_listed_across_nodes_with_their_node(pair: Pair) -> None:
    ann, bob = await _met(pair)
    of_a, of_b = await pair.a.manager.members("den"), await pair.b.manager.members("den")
    assert {member.sid for member in of_a} == {member.sid for member in of_b} == {ann.sid, bob.sid}
    assert all(member.nickname == "" for member in of_a)
    node_ids = {member.sid: member.node_id for member in of_a}
    assert node_ids[ann.sid] != node_ids[bob.sid] and all(node_ids.values())
    assert await pair.a.manager.members("no such room") == []


async def test_members_are_counted_across_nodes(pair: Pair) -> None:
    await _met(pair)
    await pair.b.client()
    await pair.b.client("/other", rooms=["den"])
    for node in (pair.a, pair.b):
        assert await node.manager.count("den") == 2
        assert await node.manager.count(None) == 3
        assert await node.manager.count("den", namespace="/other") == 1
        assert await node.manager.count("no such room") == 0
        assert await node.manager.count(None, namespace="/empty") == 0


async def test_who_goes_is_counted_no_more(pair: Pair) -> None:
    ann, bob = await _met(pair)
    await pair.b.server.leave_room(bob.sid, "den")
    assert await pair.a.manager.count("den") == 1
    await ann.close()

    async def nobody_is_left() -> bool:
        return await pair.b.manager.rooms() == {} and await pair.b.manager.count(None) == 1

    await eventually(nobody_is_left)
    assert await pair.b.manager.members("den") == []


async def test_a_refused_client_is_in_no_room_of_any_node(pair: Pair) -> None:
    @pair.a.server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> bool:
        await pair.a.server.enter_room(sid, "den")
        return False

    with pytest.raises(SocketIOConnectionError):
        await pair.a.unconnected().connect(pair.a.url)

    async def nothing_is_left() -> bool:
        return await pair.b.manager.rooms() == {} and await pair.b.manager.count(None) == 0

    await eventually(nothing_is_left)


# Two nodes: bound data


@pytest.mark.parametrize("value", ["", "안녕", 0, 1.5, True, None, [], {"a": [1, {"b": None}]}])
async def test_bound_data_is_read_on_every_node_as_it_was_set(pair: Pair, value: Any) -> None:
    bob = await pair.b.client()
    await pair.a.manager.set(bob.sid, "key", value)
    for node in (pair.a, pair.b):
        assert await node.manager.get(bob.sid, "key", default="nothing") == value


async def test_bound_data_can_be_replaced_and_deleted_on_every_node(pair: Pair) -> None:
    bob = await pair.b.client()
    await pair.b.manager.set(bob.sid, "key", 1)
    await pair.a.manager.set(bob.sid, "key", 2)
    await pair.a.manager.set(bob.sid, "other", 3)
    assert await pair.b.manager.get(bob.sid, "key") == 2
    await pair.a.manager.delete(bob.sid, "key")
    await pair.a.manager.delete(bob.sid, "never set")
    assert await pair.b.manager.get(bob.sid, "key") is None
    assert await pair.b.manager.get(bob.sid, "key", default="nothing") == "nothing"
    assert await pair.b.manager.get(bob.sid, "other") == 3


async def test_bound_data_belongs_to_one_socket(pair: Pair) -> None:
    ann, bob = await _met(pair)
    await pair.a.manager.set(ann.sid, "key", 1)
    assert await pair.a.manager.get(bob.sid, "key") is None


async def test_bound_data_cannot_touch_what_the_kit_keeps_of_the_socket(pair: Pair) -> None:
    bob = await pair.b.client(rooms=["den"])
    for key in ("rooms", "node", "generation", "nickname", "room"):
        with contextlib.suppress(ValueError):
            await pair.a.manager.set(bob.sid, key, "the application's own")
    await pair.a.server.emit("hi", 1, room="den")
    assert await pair.a.received(bob) == [[("hi", (1,))]]
    await pair.b.server.leave_room(bob.sid, "den")
    assert await pair.a.manager.rooms() == {}


async def test_bound_data_of_an_unknown_sid_is_refused(pair: Pair) -> None:
    with pytest.raises(NotConnected):
        await pair.a.manager.set("nobody", "key", 1)
    with pytest.raises(NotConnected):
        await pair.a.manager.get("nobody", "key", default=1)
    with pytest.raises(NotConnected):
        await pair.a.manager.delete("nobody", "key")


async def test_bound_data_goes_with_its_socket(pair: Pair) -> None:
    bob = await pair.b.client()
    sid = bob.sid
    await pair.a.manager.set(sid, "key", 1)
    await bob.close()

    async def is_gone() -> bool:
        with contextlib.suppress(NotConnected):
            await pair.a.manager.get(sid, "key")
            return False
        return True

    await eventually(is_gone)


# Another process emits


@pytest.fixture
async def emitter(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[Emitter]:
    """An Emitter on the cluster of `pair`: no server, no sockets."""
    async with Emitter(load_settings(redis_url=redis_server.url, key_prefix=key_prefix)) as emitter:
        yield emitter


async def test_an_emitter_reaches_a_room_on_every_node(pair: Pair, emitter: Emitter) -> None:
    ann, bob = await _met(pair)
    eve = await pair.b.client()
    await emitter.emit("hi", {"from": "outside"}, room="den")
    assert await pair.a.received(ann, bob, eve) == [[("hi", ({"from": "outside"},))]] * 2 + [[]]


async def test_an_emitter_reaches_one_sid_wherever_it_is(pair: Pair, emitter: Emitter) -> None:
    ann, bob = await _met(pair)
    await emitter.emit("to ann", 1, to=ann.sid)
    await emitter.emit("to bob", (2, b"\x00"), to=bob.sid)
    assert await pair.a.received(ann, bob) == [[("to ann", (1,))], [("to bob", (2, b"\x00"))]]


async def test_an_emitter_reaches_everybody_in_a_namespace(pair: Pair, emitter: Emitter) -> None:
    ann, bob = await _met(pair)
    eve = await pair.b.client("/other")
    await emitter.emit("hi", None, namespace="/other")
    await emitter.emit("hello", 1)
    assert await pair.a.received(ann, bob, eve) == [[("hello", (1,))], [("hello", (1,))], [("hi", ())]]


async def test_an_emitter_to_an_unknown_room_reaches_nobody_and_is_no_error(pair: Pair, emitter: Emitter) -> None:
    ann, bob = await _met(pair)
    await emitter.emit("hi", 1, room="no such room")
    assert await pair.a.received(ann, bob) == [[], []]
