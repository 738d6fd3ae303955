"""Repeated sends: one at a time, until acknowledged, as the stock client counts."""

from collections.abc import Callable
from typing import Any

import pytest

from loadtest.client.send_queue import SendQueue


class Line:
    """A connection that the test answers for."""

    def __init__(self, retries: int, *, counts_losses: bool) -> None:
        self.connected = True
        self.sent: list[str] = []
        self.results: list[tuple[str, Any]] = []
        self._answer: Callable[[list[Any] | None, float], None] | None = None
        self.queue = SendQueue(self._send, lambda: self.connected, retries, counts_losses=counts_losses)

    def _send(self, event: str, args: tuple[Any, ...], on_ack: Any) -> None:
        self.sent.append(event)
        self._answer = on_ack

    def add(self, event: str) -> None:
        self.queue.add(event, (), lambda args, now_s: self.results.append((event, args)))

    def answer(self, args: list[Any] | None) -> None:
        answer, self._answer = self._answer, None
        assert answer is not None
        answer(args, 0.0)

    def lose(self) -> None:
        self.connected = False
        self.answer(None)

    def come_back(self) -> None:
        self.connected = True
        self.queue.go_on()


def test_one_is_on_its_way_at_a_time_and_the_order_is_kept() -> None:
    line = Line(3, counts_losses=True)
    for event in "abc":
        line.add(event)
    assert line.sent == ["a"]
    line.answer([1])
    line.answer([{"ok": False}])
    line.answer([3])
    assert line.sent == ["a", "b", "c"]
    assert line.results == [("a", [1]), ("b", [{"ok": False}]), ("c", [3])]


def test_one_that_times_out_is_sent_again_as_often_as_it_may_and_then_given_up() -> None:
    line = Line(2, counts_losses=True)
    line.add("a")
    line.add("b")
    for _ in range(3):
        line.answer(None)
    assert line.sent == ["a", "a", "a", "b"]
    assert line.results == [("a", None)]
    line.answer([1])
    assert line.results == [("a", None), ("b", [1])]


@pytest.mark.parametrize(("counts_losses", "given_up"), [(True, True), (False, False)])
def test_lost_connections_count_only_where_there_is_a_time_limit(counts_losses: bool, given_up: bool) -> None:
    line = Line(1, counts_losses=counts_losses)
    line.add("a")
    for _ in range(5):
        if line.connected and line._answer is not None:
            line.lose()
        line.come_back()
    assert (("a", None) in line.results) == given_up
    assert len(line.queue) == (0 if given_up else 1)


def test_what_waits_for_a_connection_is_sent_when_it_is_there() -> None:
    line = Line(1, counts_losses=True)
    line.connected = False
    line.add("a")
    assert line.sent == []
    line.come_back()
    line.come_back()
    assert line.sent == ["a"]


def test_all_are_told_when_the_client_does_not_come_back() -> None:
    line = Line(5, counts_losses=False)
    for event in "abc":
        line.add(event)
    line.lose()
    line.queue.give_up(0.0)
    assert line.results == [("a", None), ("b", None), ("c", None)] and len(line.queue) == 0
