"""Listeners and greenlets that do things in the middle of others."""

import gevent
import pytest

from loadtest.client.client import Client
from loadtest.client.errors import NotConnected
from loadtest.client.listener import BY_CLIENT
from loadtest.client.reconnection import Reconnection

from .conftest import Connect, Nodes
from .recorder import Recorder
from .scripted import WELCOME, Connection, scripted
from .test_wire import PollingServer, stay
from .waiting import until

SOON = Reconnection(delay_s=0.05, delay_max_s=0.1)
MIXED = ['42["n",1]', "2", '42["n",2]', "2", '42["n",3]']


class Acting(Recorder):
    """Does something to its client at a moment, once."""

    def __init__(self, moment: str, action: str) -> None:
        super().__init__()
        self.moment, self.action = moment, action

    def _act(self, client: Client, moment: str) -> None:
        if moment == self.moment:
            self.moment = ""
            getattr(client, self.action)()

    def heard(self, client: Client, packets: list[bytes], now_s: float) -> None:
        super().heard(client, packets, now_s)
        self._act(client, "heard")

    def connected(self, client: Client) -> None:
        super().connected(client)
        self._act(client, "connected")

    def lost(self, client: Client, reason: str) -> None:
        super().lost(client, reason)
        self._act(client, "lost")

    def failed(self, client: Client, error: Exception) -> None:
        super().failed(client, error)  # type: ignore[arg-type]
        self._act(client, "failed")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("action", ["disconnect", "cut"])
def test_nothing_is_heard_behind_the_event_that_made_the_client_leave(transport: str, action: str) -> None:
    def websocket(server: Connection) -> None:
        server.welcome()
        server.say(*MIXED)
        stay(server)

    script = websocket if transport == "websocket" else PollingServer(WELCOME, "\x1e".join(MIXED))
    recorder = Acting("heard", action)
    with scripted(script) as url:
        client = Client(url, recorder, transport=transport, reconnection=False)  # type: ignore[arg-type]
        client.connect()
        until(lambda: client.state == "closed")
        gevent.sleep(0.05)
        assert recorder.events == [("n", [1])]
        assert recorder.told == ["connected", "transport close" if action == "cut" else BY_CLIENT]


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
def test_a_client_may_leave_in_the_moment_it_is_connected(nodes: Nodes, room: str, transport: str) -> None:
    recorder = Acting("connected", "disconnect")
    client = Client(nodes.url, recorder, transport=transport, auth={"room": room})  # type: ignore[arg-type]
    client.connect()
    gevent.sleep(0.3)
    assert client.state == "closed" and recorder.told == ["connected", BY_CLIENT]


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
def test_a_client_may_be_cut_in_the_moment_it_is_connected(nodes: Nodes, room: str, transport: str) -> None:
    recorder = Acting("connected", "cut")
    client = Client(
        nodes.url,
        recorder,
        transport=transport,
        reconnection=SOON,
        auth={"room": room},  # type: ignore[arg-type]
    )
    client.connect()
    until(lambda: client.reconnects == 1 and client.is_connected)
    assert client.call("send_msg", {"to": "ALL", "msg": "here"}, timeout_s=5) == [{"ok": True}]
    client.disconnect()


def test_a_client_may_leave_in_the_moment_it_is_lost(nodes: Nodes, room: str) -> None:
    recorder = Acting("lost", "disconnect")
    client = Client(nodes.url, recorder, reconnection=SOON, auth={"room": room})
    client.connect()
    client.cut()
    gevent.sleep(0.3)
    assert client.state == "closed" and recorder.told == ["connected", "transport close"]


def test_a_client_may_leave_when_it_could_not_come_back(nodes: Nodes) -> None:
    def first(server: Connection) -> None:
        server.welcome()

    recorder = Acting("failed", "disconnect")
    with scripted(first, lambda server: None) as url:
        client = Client(url, recorder, reconnection=SOON)
        client.connect()
        until(lambda: client.state == "closed")
        gevent.sleep(0.3)
        assert recorder.told == ["connected", "transport close", "failed"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_connecting_ends_when_the_client_is_disconnected_meanwhile(transport: str) -> None:
    with scripted(lambda server: (server.request(), stay(server))) as url:
        client = Client(url, Recorder(), transport=transport)  # type: ignore[arg-type]
        gevent.spawn_later(0.05, client.disconnect)
        with pytest.raises(NotConnected):
            client.connect()
        assert client.state == "closed" and client.transport == ""


def test_a_greenlet_that_is_killed_while_it_connects_leaves_the_client_closed() -> None:
    with scripted(lambda server: (server.request(), stay(server))) as url:
        client = Client(url, Recorder())
        connecting = gevent.spawn(client.connect)
        until(lambda: client.bytes_out and client.state == "connecting")
        connecting.kill()
        assert client.state == "closed" and client.transport == ""


def is_pausing(client: Client) -> bool:
    """Whether its WebSocket was answered and its poll was not."""
    return client._engine is not None and client._engine._waiting is not None


def test_a_client_is_cut_in_the_middle_of_its_upgrade(connect: Connect) -> None:
    probed: list[int] = []

    def script(server: Connection) -> None:
        while b"\r\n\r\n" not in server.buffer:
            server._more()
        if b"transport=websocket" in server.buffer:
            server.upgrade()
            assert server.packet() == "2probe"
            server.say("3probe")
            probed.append(1)
            stay(server)
        else:
            polling(server)

    polling = PollingServer(WELCOME)
    with scripted(script) as url:
        client, recorder = connect(url, transport="upgrade", reconnection=False)
        until(lambda: probed and is_pausing(client))
        client.emit("while", "it is paused")
        client.cut()
        assert recorder.told == ["connected", "transport close"]
        polling.bodies.append("6")


def test_what_is_sent_while_the_upgrade_is_under_way_comes_after_it(connect: Connect) -> None:
    heard: list[str] = []

    def script(server: Connection) -> None:
        while b"\r\n\r\n" not in server.buffer:
            server._more()
        if b"transport=websocket" not in server.buffer:
            polling(server)
        server.upgrade()
        heard.append(server.packet())
        server.say("3probe")
        until(lambda: len(heard) == 2)
        polling.bodies.append("6")
        heard.extend(server.packet() for _ in range(2))
        server.say('42["over",1]')
        stay(server)

    polling = PollingServer(WELCOME)
    with scripted(script) as url:
        client, recorder = connect(url, transport="upgrade")
        until(lambda: heard and is_pausing(client))
        client.emit("sent", 1)
        heard.append("now")
        until(lambda: recorder.packets)
        assert heard == ["2probe", "now", "5", '42["sent",1]']
        assert client.transport == "websocket"
        assert client.eio_sid == "node0001abc"
