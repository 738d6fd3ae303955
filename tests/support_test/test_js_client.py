"""Stock JavaScript clients can be driven and overheard from Python."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import socketio

from tests.support.eventually import eventually
from tests.support.js_client import JsClients, JsError
from tests.support.serving import serve


@dataclass(frozen=True)
class Stage:
    """A server, its address, and the Node process with its clients."""

    server: socketio.AsyncServer
    url: str
    js: JsClients


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    server = socketio.AsyncServer(async_mode="asgi", namespaces="*")

    @server.on("connect", namespace="*")
    async def connect(namespace: str, sid: str, environ: dict[str, Any], auth: Any) -> None:
        if auth == {"key": "wrong"}:
            raise socketio.exceptions.ConnectionRefusedError("wrong key", {"code": 7})
        await server.save_session(sid, {"auth": auth}, namespace=namespace)

    @server.on("auth")
    async def auth(sid: str) -> Any:
        return (await server.get_session(sid))["auth"]

    @server.on("echo")
    async def echo(sid: str, *args: Any) -> tuple[Any, ...]:
        await server.emit("echoed", args, to=sid)
        return args

    @server.on("leave me alone")
    async def leave_me_alone(sid: str) -> None:
        await asyncio.Event().wait()

    async with serve(socketio.ASGIApp(server)) as url, JsClients() as js:
        yield Stage(server, url, js)
    await server.shutdown()


async def test_a_client_connects_under_the_sid_the_server_knows(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"])
    assert client.connected and client.connects == 1 and not client.recovered
    assert stage.server.manager.is_connected(client.sid, "/")


async def test_a_client_connects_to_a_namespace_with_auth(stage: Stage) -> None:
    client = await stage.js.open(stage.url, "/chat", auth={"name": "kim"}, transports=["websocket"])
    session = await stage.server.get_session(client.sid, namespace="/chat")
    assert session == {"auth": {"name": "kim"}}


async def test_events_are_kept_in_the_order_of_arrival(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"])
    for number in range(200):
        await stage.server.emit("count", number)
    await client.wait_for("count", lambda number: number == 199)
    assert client.events == [("count", (number,)) for number in range(200)]


async def test_emit_returns_no_value_one_or_several(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"])
    assert await client.emit("echo") is None
    assert await client.emit("echo", {"text": "안녕"}) == {"text": "안녕"}
    assert await client.emit("echo", 1, None, [2]) == (1, None, [2])


async def test_bytes_travel_both_ways_in_events_and_acknowledgements(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"])
    payload = {"name": "picture", "parts": [b"\x00\xff", {"more": b""}]}
    assert await client.emit("echo", payload) == payload
    assert await client.wait_for("echoed") == (payload,)


async def test_events_of_the_server_are_acknowledged_as_told(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"], replies={"ask": [1, b"two"]})
    assert await stage.server.call("ask", to=client.sid, timeout=5) == (1, b"two")
    client.reply("ask", "changed")
    await client.emit("echo")
    assert await stage.server.call("ask", to=client.sid, timeout=5) == "changed"
    assert await client.wait_until(lambda: client.args_of("ask") == [(), ()])


async def test_an_acknowledgement_that_never_comes_is_the_clients_own_timeout(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"])
    with pytest.raises(JsError, match="operation has timed out"):
        await client.emit("leave me alone", timeout_ms=30)
    with pytest.raises(TimeoutError):
        await client.emit("leave me alone", within_s=0.03)


async def test_a_burst_leaves_in_one_loop_and_arrives_in_order(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"])
    answers = await client.emit_many("echo", 500, {"n": "{n}", "id": "message {n}"})
    assert answers == [{"n": str(n), "id": f"message {n}"} for n in range(500)]


async def test_a_burst_without_acknowledgements_arrives_too(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"])
    client.send_many("echo", 100, "{n}")
    await client.wait_for("echoed", lambda text: text == "99")
    assert client.args_of("echoed") == [(str(n),) for n in range(100)]


async def test_retries_send_one_after_the_other_and_say_what_was_answered(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"], retries=2, ackTimeout=2000)
    assert await client.emit_many("echo", 5, "{n}") == ["0", "1", "2", "3", "4"]


async def test_a_refused_connection_shows_message_and_data(stage: Stage) -> None:
    with pytest.raises(JsError, match="wrong key") as refusal:
        await stage.js.open(stage.url, auth={"key": "wrong"}, transports=["websocket"])
    assert refusal.value.data == {"code": 7}


async def test_auth_can_be_changed_between_two_connections(stage: Stage) -> None:
    client = await stage.js.open(stage.url, auth={"key": "wrong"}, transports=["websocket"], wait=False)
    await client.wait_until(lambda: client.errors)
    client.set_auth({"key": "right"})
    client.connect()
    await client.wait_connected()
    assert await client.emit("auth") == {"key": "right"}


async def test_the_transport_after_an_upgrade_is_known(stage: Stage) -> None:
    client = await stage.js.open(stage.url)
    await client.wait_until(lambda: client.transport == "websocket")
    assert (await client.state())["transport"] == "websocket"


async def test_a_client_can_stay_on_polling(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["polling"])
    assert client.transport == "polling"
    assert await client.emit("echo", "still here") == "still here"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_after_a_closed_engine_the_client_reconnects_by_itself(stage: Stage, transport: str) -> None:
    client = await stage.js.open(stage.url, transports=[transport], reconnectionDelay=10)
    before = client.sid
    client.engine_close()
    await client.wait_connected(connects=2)
    assert client.disconnects == ["forced close"]
    assert client.reconnects == 1 and client.sid != before


async def test_after_a_dropped_connection_the_client_reconnects_by_itself(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"], reconnectionDelay=10)
    client.drop()
    await client.wait_connected(connects=2)
    assert client.disconnects == ["transport close"]


async def test_a_disconnect_by_the_server_is_final_until_connect_is_called(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"], reconnectionDelay=10)
    await stage.server.disconnect(client.sid)
    await client.wait_until(lambda: not client.connected)
    assert client.disconnects == ["io server disconnect"]
    assert (await client.state())["active"] is False
    client.connect()
    await client.wait_connected(connects=2)


async def test_a_closed_client_is_gone_from_the_server(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"])
    sid = client.sid
    await client.close()
    await eventually(lambda: not stage.server.manager.is_connected(sid, "/"))


async def test_a_hundred_clients_take_tens_of_thousands_of_events(stage: Stage) -> None:
    clients = await stage.js.open_many(100, stage.url, transports=["websocket"])
    for number in range(200):
        await stage.server.emit("count", {"number": number})
    for client in clients:
        await client.wait_for("count", lambda data: data["number"] == 199, within_s=20)
    everything = [({"number": number},) for number in range(200)]
    assert all(client.args_of("count") == everything for client in clients)


async def test_a_wait_that_fails_shows_the_clients_state(stage: Stage) -> None:
    client = await stage.js.open(stage.url, transports=["websocket"])
    with pytest.raises(TimeoutError, match=r"no event 'never' within 0.05 s at <JsClient 0 connected as"):
        await client.wait_for("never", within_s=0.05)


async def test_what_the_driver_cannot_do_is_raised() -> None:
    with pytest.raises(RuntimeError, match="no such op"):
        async with JsClients() as js:
            client = await js.open("http://127.0.0.1:9", wait=False, reconnection=False)
            js.tell("no such op", client.number)
            await client.wait_until(lambda: js.faults)
