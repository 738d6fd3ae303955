"""Connections break and nodes die: recovering clients have everything once and in order, and are told so."""

import itertools

import gevent
import pytest

from loadtest.client.client import Client
from loadtest.client.reconnection import Reconnection

from .conftest import Connect, Nodes
from .recorder import Recorder
from .waiting import until

SOON = Reconnection(delay_s=0.05, delay_max_s=0.2)


class Talker:
    """Says a number every few ms and knows which were acknowledged; stays connected through its own node."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.acknowledged: list[str] = []
        self.numbers = itertools.count()
        self._ending = False
        self._greenlet = gevent.spawn(self._talk)

    def _talk(self) -> None:
        while not self._ending:
            text = str(next(self.numbers))
            answer = self.client.call("send_msg", {"to": "ALL", "msg": text}, timeout_s=15)
            assert answer == [{"ok": True}], answer
            self.acknowledged.append(text)
            gevent.sleep(0.005)

    def says_more(self, count: int = 10) -> None:
        """Waits until so many more were acknowledged."""
        goal = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= goal, within_s=20)

    def end(self) -> list[str]:
        """What was acknowledged in all."""
        self._ending = True
        self._greenlet.get()
        return self.acknowledged


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
def test_a_cut_client_recovers_twice_in_a_row_and_has_everything_once(
    nodes: Nodes, connect: Connect, room: str, transport: str
) -> None:
    talking, _ = connect(nodes[0].url, auth={"room": room, "nickname": "talking"})
    client, recorder = connect(
        nodes[1].url,
        transport=transport,
        recover=True,
        reconnection=SOON,
        auth={"room": room, "nickname": "listening"},
    )
    talker = Talker(talking)
    talker.says_more()
    for times in (1, 2):
        client.cut()
        assert client.state == "reconnecting"
        until(lambda times=times: client.reconnects == times)
        assert client.recovered
        talker.says_more()
    acknowledged = talker.end()
    until(lambda: recorder.texts()[-1:] == acknowledged[-1:])
    assert recorder.texts() == acknowledged
    assert recorder.told == ["connected", *["transport close", "recovered"] * 2]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_client_of_a_killed_node_recovers_on_another_and_does_so_again(
    nodes: Nodes, connect: Connect, room: str, transport: str
) -> None:
    client, recorder = connect(
        nodes.url,
        transport=transport,
        recover=True,
        reconnection=SOON,
        auth={"room": room, "nickname": "listening"},
    )
    for times in (1, 2):
        dying = nodes.holding(client)
        other = nodes[1 - dying.number]
        talking, _ = connect(other.url, auth={"room": room, "nickname": f"talking {times}"})
        talker = Talker(talking)
        talker.says_more()
        dying.kill()
        until(lambda times=times: client.reconnects == times)
        assert client.recovered and nodes.holding(client) is other
        talker.says_more()
        acknowledged = talker.end()
        until(lambda acknowledged=acknowledged: recorder.texts()[-1:] == acknowledged[-1:])
        assert recorder.texts() == acknowledged
        recorder.packets.clear()
        talking.disconnect()
        nodes.start(dying)


def test_a_client_that_does_not_recover_comes_back_as_another_member(
    nodes: Nodes, connect: Connect, room: str
) -> None:
    client, recorder = connect(nodes.url, reconnection=SOON, auth={"room": room})
    sid = client.sid
    client.cut()
    until(lambda: client.reconnects == 1)
    assert recorder.told == ["connected", "transport close", "connected"]
    assert client.sid != sid and not client.recovered


def test_what_is_sent_meanwhile_goes_out_when_it_is_back(nodes: Nodes, connect: Connect, room: str) -> None:
    client, recorder = connect(nodes.url, reconnection=SOON, recover=True, auth={"room": room})
    client.cut()
    answers: list[object] = []
    client.send("send_msg", {"to": "ALL", "msg": "meanwhile"}, on_ack=lambda args, now_s: answers.append(args))
    until(lambda: answers == [[{"ok": True}]])
    until(lambda: recorder.texts() == ["meanwhile"])


def test_a_repeated_send_is_delivered_once(nodes: Nodes, connect: Connect, room: str) -> None:
    _, hearing = connect(nodes[0].url, auth={"room": room})
    client, _ = connect(
        nodes[1].url, reconnection=SOON, recover=True, retries=10, ack_timeout_s=2.0, auth={"room": room}
    )
    answers: list[object] = []
    for n in range(60):
        client.send(
            "send_msg",
            {"to": "ALL", "msg": str(n), "id": f"{room}-{n}"},
            on_ack=lambda args, _: answers.append(args),
        )
    for goal in (10, 25, 40):
        until(lambda goal=goal: len(answers) >= goal)
        client.cut()
    until(lambda: len(answers) == 60)
    until(lambda: hearing.texts()[-1:] == ["59"])
    assert hearing.texts() == [str(n) for n in range(60)]
    assert all(args is not None and args[0]["ok"] for args in answers)


def test_a_client_that_leaves_while_it_reconnects_stays_away(nodes: Nodes, connect: Connect, room: str) -> None:
    client, recorder = connect(nodes.url, reconnection=SOON, auth={"room": room})
    client.cut()
    client.disconnect()
    gevent.sleep(0.4)
    assert client.state == "closed" and recorder.told == ["connected", "transport close"]


def test_it_is_tried_again_later_and_later_and_not_in_step() -> None:
    delays = [[Reconnection().delay_before_s(attempt) for _ in range(200)] for attempt in range(6)]
    for attempt, planned_s in enumerate([1, 2, 4, 8, 16, 32]):
        assert planned_s * 0.5 <= min(delays[attempt]) or min(delays[attempt]) == 5
        assert max(delays[attempt]) <= min(planned_s * 1.5, 5)
    assert max(delays[0]) - min(delays[0]) > 0.5


def test_it_gives_up_after_as_many_attempts_as_it_may(connect: Connect, nodes: Nodes, room: str) -> None:
    few = Reconnection(delay_s=0.01, delay_max_s=0.02, attempts=3)
    client, recorder = connect(nodes[0].url, reconnection=few, auth={"room": room})
    nodes[0].kill()
    until(lambda: client.state == "closed")
    nodes.start(nodes[0])
    assert recorder.told == ["connected", "transport close", "failed", "failed", "failed"]


def test_a_client_without_reconnection_is_closed_when_it_is_lost(nodes: Nodes, room: str) -> None:
    recorder = Recorder()
    client = Client(nodes.url, recorder, reconnection=False, auth={"room": room})
    client.connect()
    client.cut()
    assert client.state == "closed" and recorder.told == ["connected", "transport close"]
