"""Latencies in buckets of at most 0.8 % width: cheap to record, exact to merge, small to send.

The log-linear layout of G. Tene's HdrHistogram: below 256 µs a bucket each, above that 128 buckets for each
doubling, up to an hour. What is recorded, and from when, is the caller's.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any

# 128 buckets for each doubling: a bucket is at most 1/128 (0.8 %) as wide as the values in it.
HALF_BITS = 7
HALF = 1 << HALF_BITS
EXACT_BELOW_US = HALF * 2
HIGHEST_US = 3_600_000_000
_NEVER = 1 << 62


def index_of(value_us: int) -> int:
    """The bucket of a value: 0 for what is below the range, the last one for what is above it."""
    if value_us < EXACT_BELOW_US:
        return value_us if value_us > 0 else 0
    if value_us > HIGHEST_US:
        return BUCKETS - 1
    shift = value_us.bit_length() - HALF_BITS - 1
    return (shift << HALF_BITS) + (value_us >> shift)


def lowest_us(index: int) -> int:
    """The smallest value of a bucket."""
    shift = max(0, (index >> HALF_BITS) - 1)
    return (index - (shift << HALF_BITS)) << shift


def highest_us(index: int) -> int:
    """The largest value of a bucket."""
    return lowest_us(index + 1) - 1


BUCKETS = 1 + ((_TOP_SHIFT := HIGHEST_US.bit_length() - HALF_BITS - 1) << HALF_BITS) + (HIGHEST_US >> _TOP_SHIFT)
# The buckets of the usual values: looking one up costs a third of working it out. 0.5 MB.
TABLED_BELOW_US = 1 << 16
_INDEXES = [index_of(value_us) for value_us in range(TABLED_BELOW_US)]
# Finding the extremes of a batch pays only from so many values.
MANY = 4


class Histogram:
    """Counts by bucket, and the exact extremes. All values are whole µs.

    `counts` may be incremented directly at `index_of(value)` where even `record_many` is too slow; then the
    extremes, `below_zero` and `above` are the caller's too (`stretch`).
    """

    __slots__ = ("_max", "_min", "above", "below_zero", "counts")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.below_zero = 0  # values < 0, by the error of a clock: in bucket 0 as well
        self.above = 0  # values > HIGHEST_US: in the last bucket as well
        self._min = _NEVER
        self._max = -_NEVER

    def record(self, value_us: int, count: int = 1) -> None:
        """Count a value, `count` times."""
        if 0 <= value_us < TABLED_BELOW_US:
            self.counts[_INDEXES[value_us]] += count
        else:
            self._record_rare(value_us, count)
        if value_us > self._max:
            self._max = value_us
        if value_us < self._min:
            self._min = value_us

    def record_many(self, values_us: Sequence[int]) -> None:
        """Count each value once: the form for the hot path, all that came in one read."""
        if len(values_us) < MANY:
            for value in values_us:
                self.record(value)
            return
        low, high = min(values_us), max(values_us)
        if low >= 0 and high < TABLED_BELOW_US:
            counts, indexes = self.counts, _INDEXES
            for value in values_us:
                counts[indexes[value]] += 1
        else:
            for value in values_us:
                self.record(value)
        if high > self._max:
            self._max = high
        if low < self._min:
            self._min = low

    def record_stall(self, value_us: int, interval_us: int) -> None:
        """Count a value sampled every `interval_us`, and the samples that it kept from being taken.

        A loop that is sampled every 10 ms and stands for 100 ms is sampled once where ten would have found it
        late by 100, 90, .. 10 ms (HdrHistogram's correction for coordinated omission).
        """
        self.record(value_us)
        for missed_us in range(value_us - interval_us, interval_us - 1, -interval_us):
            self.record(missed_us)

    def _record_rare(self, value_us: int, count: int) -> None:
        self.counts[index_of(value_us)] += count
        if value_us < 0:
            self.below_zero += count
        elif value_us > HIGHEST_US:
            self.above += count

    def stretch(self, low_us: int, high_us: int) -> None:
        """Note the extremes of values that were counted in `counts` directly."""
        self._min, self._max = min(self._min, low_us), max(self._max, high_us)

    @property
    def count(self) -> int:
        """How many values were recorded."""
        return sum(self.counts)

    @property
    def min_us(self) -> int | None:
        """The smallest value, exact, below zero too; None without values."""
        return None if self._min == _NEVER else self._min

    @property
    def max_us(self) -> int | None:
        """The largest value, exact, above the range too; None without values."""
        return None if self._max == -_NEVER else self._max

    @property
    def mean_us(self) -> float | None:
        """The mean, from the middles of the buckets (within 0.4 %); None without values."""
        count = self.count
        if not count:
            return None
        total = sum((lowest_us(index) + highest_us(index)) / 2 * n for index, n in self.pairs())
        return min(max(total / count, self._min), self._max)

    def percentile(self, q: float) -> int | None:
        """The nearest-rank percentile: the smallest value that at least q % of all are not above. None without.

        It is the largest value of its bucket, at most 0.8 % too large and never too small, nor above the exact
        maximum; q = 0 gives the exact minimum, q = 100 the exact maximum. ValueError for other q than 0..100.
        """
        return self.percentiles([q])[0]

    def percentiles(self, qs: Sequence[float]) -> list[int | None]:
        """The same for several at once, in any order."""
        if not all(0 <= q <= 100 for q in qs):
            raise ValueError(f"percentiles are 0..100, got {list(qs)}")
        pairs = list(self.pairs())
        cumulated = list(accumulate(n for _, n in pairs))
        return [self._at(q, pairs, cumulated) for q in qs]

    def _at(self, q: float, pairs: list[tuple[int, int]], cumulated: list[int]) -> int | None:
        if not cumulated:
            return None
        if q == 0 or q == 100:
            return self._min if q == 0 else self._max
        # As a fraction of what was written: 99.9 / 100 * 1000 is 999.0000000000001, which would be rank 1000.
        rank = math.ceil(Fraction(repr(float(q))) * cumulated[-1] / 100)
        low, high = 0, len(cumulated) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if cumulated[middle] >= rank else (middle + 1, high)
        return max(self._min, min(highest_us(pairs[low][0]), self._max))

    def points(self, per_halving: int = 8) -> list[tuple[float, int]]:
        """(percentile, µs) for a plot: so many for each halving of the distance to 100, down to one value."""
        count = self.count
        if not count:
            return []
        steps = per_halving * (math.ceil(math.log2(count)) + 1)
        qs = [100 * (1 - 0.5 ** (step / per_halving)) for step in range(steps)] + [100.0]
        return [(q, value) for q, value in zip(qs, self.percentiles(qs), strict=True) if value is not None]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """(bucket, count) of all that are not empty, rising."""
        first, last = index_of(self._min), index_of(self._max)
        return ((first + i, n) for i, n in enumerate(self.counts[first : last + 1]) if n)

    def merge(self, *others: "Histogram") -> None:
        """Add what others recorded; the same as if it had been recorded here."""
        counts = self.counts
        for other in others:
            for index, n in other.pairs():
                counts[index] += n
            self.below_zero += other.below_zero
            self.above += other.above
            self.stretch(other._min, other._max)

    def clear(self) -> None:
        """Forget all values. `counts` stays the same list."""
        self.counts[:] = [0] * BUCKETS
        self.below_zero = self.above = 0
        self._min, self._max = _NEVER, -_NEVER

    def to_wire(self) -> dict[str, Any]:
        """JSON-able: `at` the steps between buckets that are not empty, `n` their counts; {} without values."""
        pairs = list(self.pairs())
        if not pairs:
            return {}
        indexes = [index for index, _ in pairs]
        steps = [index - before for index, before in zip(indexes, [0, *indexes[:-1]], strict=True)]
        wire = {"at": steps, "n": [n for _, n in pairs], "min": self._min, "max": self._max}
        return wire | {k: v for k, v in (("below", self.below_zero), ("above", self.above)) if v}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> "Histogram":
        """The opposite of `to_wire`."""
        made = cls()
        if not wire:
            return made
        for index, n in zip(accumulate(wire["at"]), wire["n"], strict=True):
            made.counts[index] = n
        made.below_zero, made.above = wire.get("below", 0), wire.get("above", 0)
        made.stretch(wire["min"], wire["max"])
        return made

    @classmethod
    def of(cls, values_us: Iterable[int]) -> "Histogram":
        """One that recorded these."""
        made = cls()
        for value in values_us:
            made.record(value)
        return made

    @classmethod
    def merged(cls, histograms: Iterable["Histogram"]) -> "Histogram":
        """A new one with everything of all of them."""
        made = cls()
        made.merge(*histograms)
        return made
