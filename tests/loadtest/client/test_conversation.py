"""Clients and the kit's own nodes, over each transport: ordered, complete, acknowledged."""

import gevent
import pytest

from loadtest.client.client import Client
from loadtest.client.errors import Lost, NotConnected, Refused
from loadtest.client.listener import BY_CLIENT

from .conftest import Connect, Nodes
from .recorder import Recorder
from .waiting import until

TRANSPORTS = ["websocket", "polling", "upgrade"]
MESSAGES = 300


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Pings that a test can wait for."""
    return {"PING_INTERVAL_S": "0.4", "PING_TIMEOUT_S": "0.4"}


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_everybody_in_the_room_hears_everything_in_the_order_it_was_acknowledged(
    nodes: Nodes, connect: Connect, room: str, transport: str
) -> None:
    members = [
        connect(nodes[number % 2].url, transport=transport, auth={"room": room, "nickname": f"n{number}"})
        for number in range(4)
    ]
    acknowledged: list[str] = []
    sent = [f"{number}-{n}" for n in range(MESSAGES) for number in range(2)]
    for text in sent:
        client, _ = members[int(text[0])]
        client.send(
            "send_msg",
            {"to": "ALL", "msg": text},
            on_ack=lambda args, now_s, text=text: acknowledged.append(text) if args == [{"ok": True}] else None,
        )
    until(lambda: all(len(recorder.texts()) == len(sent) for _, recorder in members))
    until(lambda: len(acknowledged) == len(sent))
    first = members[0][1].texts()
    assert sorted(first) == sorted(sent)
    assert all(recorder.texts() == first for _, recorder in members)
    for number in "01":
        assert [text for text in first if text[0] == number] == [text for text in sent if text[0] == number]
        assert [text for text in acknowledged if text[0] == number] == [text for text in sent if text[0] == number]
    assert all(client.transport == ("polling" if transport == "polling" else "websocket") for client, _ in members)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_connection_outlives_many_pings(nodes: Nodes, connect: Connect, room: str, transport: str) -> None:
    client, recorder = connect(nodes.url, transport=transport, auth={"room": room})
    gevent.sleep(2.5)  # six pings, and three times what the server waits for an answer
    assert recorder.told == ["connected"]
    assert client.call("send_msg", {"to": "ALL", "msg": "still here"}, timeout_s=5) == [{"ok": True}]


def test_what_the_server_says_no_to_is_acknowledged_as_such(nodes: Nodes, connect: Connect, room: str) -> None:
    client, _ = connect(nodes.url, auth={"room": room})
    (answer,) = client.call("send_msg", {"to": "nobody", "msg": "?"}, timeout_s=5)
    assert answer["ok"] is False and answer["error"]["code"] == "no_such_member"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_says_goodbye_and_the_others_are_told_at_once(
    nodes: Nodes, connect: Connect, room: str, transport: str
) -> None:
    _, staying = connect(nodes.url, auth={"room": room, "nickname": "staying"})
    leaving, recorder = connect(
        nodes.url, transport=transport, recover=True, auth={"room": room, "nickname": "leaving"}
    )
    said: list[object] = []
    leaving.send("send_msg", {"to": "ALL", "msg": "last words"}, on_ack=lambda args, now_s: said.append(args))
    leaving.disconnect()
    assert (leaving.state, recorder.told[-1], said) == ("closed", BY_CLIENT, [None])
    until(lambda: any(args[0].get("type") == "leave" for name, args in staying.events if args), within_s=3)
    assert staying.texts() == ["last words"]


def test_a_client_that_has_left_comes_back_as_a_new_one(nodes: Nodes, connect: Connect, room: str) -> None:
    client, recorder = connect(nodes.url, auth={"room": room})
    client.disconnect()
    with pytest.raises(NotConnected):
        client.emit("send_msg", {"to": "ALL", "msg": "too late"})
    client.connect()
    assert recorder.told == ["connected", BY_CLIENT, "connected"]
    assert client.reconnects == 0


def test_another_namespace_has_its_own_events_and_acknowledgements(nodes: Nodes, connect: Connect) -> None:
    members = [connect(nodes[number].url, namespace="/lobby") for number in range(2)]
    client, recorder = members[0]
    assert client.call("send_msg", {"to": "ALL", "msg": "hi"}, timeout_s=5)[0]["ok"]
    for _, each in members:
        until(lambda each=each: any(name == "broadcast_msg" for name, _ in each.events))
    assert all(packet.startswith(b"42/lobby,[") for packet in recorder.packets)


def test_a_namespace_that_there_is_not_is_refused(nodes: Nodes) -> None:
    client = Client(nodes.url, Recorder(), namespace="/nowhere")
    with pytest.raises(Refused, match="/nowhere"):
        client.connect()
    assert client.state == "closed"


def test_a_call_ends_when_its_connection_does(nodes: Nodes, connect: Connect, room: str) -> None:
    client, _ = connect(nodes.url, auth={"room": room})
    gevent.spawn(client.cut)
    with pytest.raises(Lost, match="cut on purpose"):
        client.call("nobody answers this", timeout_s=10)


def test_a_client_says_where_it_is_and_what_it_cost(nodes: Nodes, connect: Connect, room: str) -> None:
    client, recorder = connect(nodes[1].url, auth={"room": room})
    until(lambda: recorder.packets)
    assert client.eio_sid is not None and client.eio_sid.startswith(client.node_id)
    assert len(client.node_id) == 8
    assert 0 < client.opened_s < 5
    assert client.bytes_in > sum(map(len, recorder.packets)) and client.bytes_out > 100


def test_auth_may_be_asked_for_at_each_connection(nodes: Nodes, connect: Connect, room: str) -> None:
    asked: list[int] = []

    def auth() -> dict[str, str]:
        asked.append(1)
        gevent.sleep(0.01)
        return {"room": room, "nickname": "me"}

    client, recorder = connect(nodes.url, auth=auth)
    client.cut()
    until(lambda: recorder.told == ["connected", "transport close", "connected"])
    assert len(asked) == 2
