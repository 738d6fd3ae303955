"""Gates: what is understood, what is refused, and what they compare."""

import pytest

from loadtest.measure.results import COUNTER_NAMES, HISTOGRAM_NAMES
from loadtest.report.demo import Story, demo_results, empty_results
from loadtest.report.gates import GATE_NAMES, GateError, evaluate, parse, table, value_of

GOOD = demo_results(Story(seconds=12))
SLOW = demo_results(Story(slow_node="n2-c04e", seconds=24))
EMPTY = empty_results()


def passed(text: str) -> bool:
    (outcome,) = evaluate(GOOD, [parse(text)])
    return outcome.passed


@pytest.mark.parametrize(
    "text",
    [
        "fanout.p99<=50ms",
        "fanout.p99 <= 50 ms",
        "fanout.p99.9<=0.1s",
        "fanout.p99.9<=100000us",
        "fanout.p50>100µs",
        "fanout.p50<fanout.p99",
        "ack.p50<5ms",
        "connect.max<=2s",
        "50ms>=fanout.p99",
        "lost==0",
        "delivered==expected",
        "sent != 0",
        "fanout.count>=delivered",
        "fanout.min>0",
        "fanout.mean<1s",
        "deliveries.rate>1e3",
        "connections.max==500",
        "last_receiver.p99<1s",
    ],
)
def test_a_gate_that_holds_passes(text: str) -> None:
    assert passed(text)


@pytest.mark.parametrize("text", ["fanout.p99<1us", "lost!=0", "lost>0", "expected<delivered", "fanout.p99>=10s"])
def test_a_gate_that_does_not_hold_fails(text: str) -> None:
    assert not passed(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fanout.p99", "expected one of <= >= == != < >"),
        ("1<lost<3", "expected one of"),
        ("fanout.p99<=50", "write its unit"),
        ("fanout.p99<=lost", "it is no time"),
        ("lost<=3ms", "cannot compare a time with 'lost'"),
        ("fanout.p101<=3ms", "Known figures are"),
        ("fanout.p<=3ms", "Known figures are"),
        ("latency.p99<=3ms", "Known figures are a latency (connect, reconnect, ack, fanout"),
        ("lsot==0", "duplicates"),
        ("fanout.p99<=50min", "a unit of us, ms, s or none, got 'min'"),
        ("1==1", "a figure on one side"),
        ("<=3ms", "expected a number or a figure, got ''"),
    ],
)
def test_what_is_not_understood_is_refused_with_what_was_expected(text: str, says: str) -> None:
    with pytest.raises(GateError) as refused:
        parse(text)
    assert says in str(refused.value)


def test_every_name_of_the_help_is_a_figure() -> None:
    assert {name.partition(".")[0] for name in GATE_NAMES} > {*HISTOGRAM_NAMES, *COUNTER_NAMES}
    for name in GATE_NAMES:
        gate = parse(f"{name}>=0")
        assert value_of(gate.left.text, GOOD) is not None


def test_what_was_not_measured_passes_no_gate() -> None:
    (outcome,) = evaluate(EMPTY, [parse("fanout.p99<=50ms")])
    assert (outcome.passed, outcome.left) == (False, None)
    assert "nothing measured" in table([outcome])


def test_the_table_says_first_what_failed_and_what_was_found() -> None:
    gates = [parse(text) for text in ("order_violations==0", "lost==0", "fanout.p99<=50ms")]
    rows = table(evaluate(SLOW, gates)).splitlines()
    assert rows[0].split() == ["FAILED", "lost==0", "lost", "=", "37"]
    assert rows[1].startswith("FAILED  fanout.p99<=50ms")
    assert rows[2].startswith("PASSED  order_violations==0")
    assert table([]) == ""
