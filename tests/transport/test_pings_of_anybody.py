"""The wheel of pings with clients of every kind, joining at any time."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.transport import pings
from app.transport.pings import TICK_MAX_S, PingWheel
from tests.support.fake_loop import FakeLoop

from .pinged import INTERVAL_S, TIMEOUT_S, Client, gaps

light = settings(max_examples=100, deadline=None, database=None, derandomize=True)
delays = st.one_of(st.none(), st.floats(0, 3 * TIMEOUT_S))


@light
@given(
    joins=st.lists(st.tuples(st.floats(0, 2 * INTERVAL_S), delays), min_size=1, max_size=20),
    intervals=st.sampled_from([(INTERVAL_S, TIMEOUT_S), (TIMEOUT_S, INTERVAL_S), (0.3, 0.75)]),
)
def test_whoever_joins_when_and_answers_how_fast(
    joins: list[tuple[float, float | None]], intervals: tuple[float, float]
) -> None:
    interval_s, timeout_s = intervals
    with pytest.MonkeyPatch.context() as monkeypatch:
        loop = FakeLoop.install(monkeypatch, pings)
        wheel = PingWheel(interval_s, timeout_s)
        late_s = 2 * min(TICK_MAX_S, min(intervals) / pings.TICKS_PER_TURN_MIN) + 1e-6
        clients = [Client(wheel, loop, answers_after_s) for _, answers_after_s in joins]
        for (after_s, _), client in zip(joins, clients, strict=True):
            loop.call_later(after_s, wheel.add, client)
        loop.advance(2 * INTERVAL_S + 5 * (interval_s + timeout_s))
    for client in clients:
        patience_s = math.inf if client.answers_after_s is None else client.answers_after_s
        if patience_s < timeout_s - late_s:
            assert client.timed_out == []
            assert len(client.pinged) >= 4
            expected_s = interval_s + patience_s
            assert all(abs(gap_s - expected_s) <= late_s for gap_s in gaps(client.pinged))
        elif patience_s > timeout_s + late_s:
            assert client.timed_out == [pytest.approx(client.pinged[-1] + timeout_s, abs=late_s)]
            assert len(client.pinged) == 1
