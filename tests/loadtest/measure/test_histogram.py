"""Histograms against plain sorting."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.measure.histogram import BUCKETS, HIGHEST_US, Histogram, highest_us, index_of, lowest_us

VALUES = st.integers(0, HIGHEST_US)
LATENCIES = st.lists(VALUES | st.integers(0, 100_000), min_size=1, max_size=200)
QS = st.sampled_from([0, 0.001, 1, 25, 50, 90, 99, 99.9, 99.99, 100])


def nearest_rank(values: list[int], q: float) -> int:
    return sorted(values)[max(0, math.ceil(round(q * len(values) / 100, 9)) - 1)]


@given(VALUES)
def test_a_value_is_in_its_bucket_and_the_bucket_is_narrow(value: int) -> None:
    index = index_of(value)
    assert lowest_us(index) <= value <= highest_us(index)
    assert highest_us(index) - value <= value * 0.01


def test_buckets_follow_one_another_without_gaps() -> None:
    assert all(highest_us(index) + 1 == lowest_us(index + 1) for index in range(BUCKETS))
    assert index_of(HIGHEST_US) == BUCKETS - 1


@given(LATENCIES, QS)
def test_a_percentile_is_never_too_small_and_at_most_one_percent_too_large(values: list[int], q: float) -> None:
    exact = nearest_rank(values, q)
    found = Histogram.of(values).percentile(q)
    assert found is not None
    assert exact <= found <= exact * 1.01


@given(LATENCIES)
def test_the_extremes_and_the_count_are_exact_and_the_mean_is_close(values: list[int]) -> None:
    found = Histogram.of(values)
    assert (found.min_us, found.max_us, found.count) == (min(values), max(values), len(values))
    assert found.mean_us == pytest.approx(sum(values) / len(values), rel=0.01, abs=0.5)


@given(st.lists(LATENCIES, max_size=4), QS)
def test_merged_is_the_same_as_recorded_together(parts: list[list[int]], q: float) -> None:
    merged = Histogram.merged(Histogram.of(part) for part in parts)
    together = Histogram.of(value for part in parts for value in part)
    assert merged.to_wire() == together.to_wire()
    assert merged.percentile(q) == together.percentile(q)


@given(st.lists(st.integers(-1000, 2 * HIGHEST_US), max_size=200))
def test_many_at_once_is_the_same_as_one_by_one(values: list[int]) -> None:
    at_once = Histogram()
    at_once.record_many(values)
    one_by_one = Histogram.of(values)
    assert at_once.to_wire() == one_by_one.to_wire()


@given(st.lists(st.integers(-1000, 2 * HIGHEST_US), max_size=200))
def test_it_comes_back_from_the_wire(values: list[int]) -> None:
    found = Histogram.of(values)
    back = Histogram.from_wire(json.loads(json.dumps(found.to_wire())))
    assert back.counts == found.counts
    assert (back.min_us, back.max_us) == (found.min_us, found.max_us)
    assert (back.below_zero, back.above) == (found.below_zero, found.above)


def test_what_is_outside_the_range_is_clamped_and_counted() -> None:
    found = Histogram.of([-5, -1, 0, HIGHEST_US + 1])
    assert (found.below_zero, found.above, found.count) == (2, 1, 4)
    assert (found.min_us, found.max_us, found.percentile(50)) == (-5, HIGHEST_US + 1, 0)


def test_the_rank_of_a_percentile_does_not_slip_by_the_error_of_a_float() -> None:
    found = Histogram.of([1] * 999 + [200])
    assert (found.percentile(99.9), found.percentile(99.91)) == (1, 200)


def test_nothing_recorded_has_no_figures() -> None:
    empty = Histogram()
    assert (empty.count, empty.min_us, empty.max_us, empty.mean_us, empty.percentile(50)) == (0, *[None] * 4)
    assert empty.points() == []
    assert Histogram.from_wire(empty.to_wire()).count == 0


def test_a_percentile_outside_0_to_100_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"0\.\.100"):
        Histogram.of([1]).percentile(101)


def test_cleared_is_empty_and_its_counts_are_the_same_list() -> None:
    found = Histogram.of([1, -1, HIGHEST_US * 2])
    counts = found.counts
    found.clear()
    assert found.count == found.below_zero == found.above == 0
    assert found.counts is counts


def test_a_stall_counts_the_samples_that_it_kept_from_being_taken() -> None:
    found = Histogram()
    found.record_stall(100, 10)
    assert [lowest_us(index) for index, _ in found.pairs()] == list(range(10, 101, 10))
    found.record_stall(5, 10)
    assert found.count == 11


def test_the_points_of_a_plot_rise_to_the_exact_maximum() -> None:
    values = [int(random.Random(7).lognormvariate(8, 1)) for _ in range(10_000)]
    points = Histogram.of(values).points()
    assert points == sorted(points)
    assert points[-1] == (100.0, max(values))
    assert len(points) < 150
