"""Medians and ratios, and the table they end in."""

import pytest

from loadtest.bench.figures import Measured, Ratio, is_met, median_of, median_share, of, ratio
from loadtest.bench.lines import FULL, LINES, QUICK, RECOVERY_GOAL, Goal
from loadtest.bench.report import aligned, ceiling, details, number, table


def samples(line: str, contender: str, *values: float, figure: str = "deliveries_per_s") -> list[Measured]:
    cpu = {"server": 0.5, "client": 0.99, "redis": 0.1, "others": 0.0}
    return [Measured(line, contender, turn, {figure: value}, cpu) for turn, value in enumerate(values)]


KIT = samples("one", "kit", 100, 130, 120)
NODE = samples("one", "node", 80, 100, 60)


def test_a_ratio_is_that_of_the_medians_with_the_rounds_extremes() -> None:
    assert ratio(KIT, NODE, "deliveries_per_s") == Ratio(median=1.5, low=1.25, high=2.0)


def test_a_round_that_one_of_them_lacks_has_no_ratio_of_its_own() -> None:
    assert ratio(KIT, NODE[:1], "deliveries_per_s") == Ratio(median=1.5, low=1.25, high=1.25)


def test_there_is_no_ratio_to_nothing() -> None:
    assert ratio(KIT, [], "deliveries_per_s") is None
    assert ratio(KIT, samples("one", "node", 0), "deliveries_per_s") is None


def test_a_figure_or_share_that_was_not_measured_has_no_median() -> None:
    assert median_of(KIT, "p99_ms") is None
    assert median_share([Measured("memory", "kit", 0, {}, None)], "server") is None
    assert median_share(KIT, "server") == 0.5


def test_samples_come_in_the_order_of_their_rounds() -> None:
    assert of([*reversed(KIT), *NODE], "one", "kit") == KIT


@pytest.mark.parametrize(
    ("line", "found", "goal", "met"),
    [
        *(("one", 1.4, Goal("node", 1.4), True), ("one", 1.39, Goal("node", 1.4), False)),
        *(("latency", 0.7, Goal("node", 0.7), True), ("latency", 0.71, Goal("node", 0.7), False)),
        *(("one", 1.18, RECOVERY_GOAL, True), ("one", 1.19, RECOVERY_GOAL, False)),
    ],
)
def test_a_goal_is_met_from_the_right_side(line: str, found: float, goal: Goal, met: bool) -> None:
    assert is_met(LINES[line], Ratio(found, 0, 9), goal) is met


def test_the_table_has_a_row_for_each_contender_with_its_ratio_and_goal() -> None:
    heads, *found = table([*KIT, *NODE], ["kit", "node"])
    rows = [dict(zip(heads, row, strict=True)) for row in [heads, *found]]
    assert [row["contender"] for row in rows[1:]] == ["kit", "node"]
    assert rows[2]["median"] == "80"
    assert rows[2]["min..max"] == "60..100"
    assert rows[2]["kit's ratio (min..max)"] == "1.50 (1.25..2.00)"
    assert rows[2]["goal"] == "≥ 1.4: met"
    assert rows[1]["goal"] == ""
    assert (rows[1]["server"], rows[1]["Redis"]) == ("50%", "10%")


def test_a_goal_that_is_not_met_says_so() -> None:
    rows = table([*KIT, *samples("one", "stock", 60)], ["kit", "stock"])
    assert "≥ 8: NOT met" in rows[2]


@pytest.mark.parametrize(("deliveries_per_s", "text"), [(110, "≤ 1.18: met"), (100, "≤ 1.18: NOT met")])
def test_a_goal_for_the_most_says_so(deliveries_per_s: float, text: str) -> None:
    rows = table([*KIT, *samples("one", "recovery", deliveries_per_s)], ["kit", "recovery"])
    assert text in rows[2]


def test_a_delivery_that_is_missing_is_said() -> None:
    found = Measured("15000", "kit", 0, {"p99_ms": 9.0, "missing": 1}, None)
    assert "all delivered: NOT met" in table([found], ["kit"])[1]


def test_a_load_client_without_time_to_spare_is_said() -> None:
    assert any("load client was busy" in text for text in details(KIT, ["kit"]))


def test_a_machine_that_was_not_quiet_is_said_once() -> None:
    cpu = {"others": 0.5}
    found = [Measured(line, "kit", 0, {"deliveries_per_s": 1.0}, cpu) for line in ("one", "8x8")]
    assert sum("quiet machine" in text for text in details(found, ["kit"])) == 1
    assert not any("quiet machine" in text for text in details(KIT, ["kit"]))


def test_what_was_given_up_is_said() -> None:
    cut = Measured("64x64", "node", 0, {"deliveries_per_s": 1.0}, None, cut=True)
    assert any("10 s after" in text for text in details([cut], ["node"]))


def test_the_ceiling_is_told_apart_from_the_contenders() -> None:
    found = samples("small", "trivial", 150_000)
    assert len(ceiling(found)) == 1
    assert len(table(found, ["kit"])) == 1


def test_a_table_is_markdown_with_columns_below_one_another() -> None:
    assert aligned([("a", "bc"), ("long", "d")]) == "| a    | bc |\n| ---- | -- |\n| long | d  |"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (1234567.8, "1,234,568"), (0, "0"), (12.34, "12.3"), (0.1234, "0.123"), (7.0, "7")],
)
def test_a_figure_is_written_as_people_read_it(value: float | None, text: str) -> None:
    assert number(value) == text


def test_every_line_is_in_a_full_and_in_a_quick_run() -> None:
    for groups in (FULL, QUICK):
        assert sorted(name for group in groups for name in group.lines) == sorted(LINES)
