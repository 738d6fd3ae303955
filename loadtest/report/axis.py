"""Axes: from values to pixels, and where their ticks are."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# About so many labels fit on an axis without touching.
TICKS = 6
# Steps on an axis of seconds: people count these in minutes and hours.
TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
# 0 and 50 % are too close to one another for both.
PERCENTILES = (0, 90, 99, 99.9, 99.99, 99.999, 99.9999, 99.99999)


@dataclass(frozen=True)
class Axis:
    """`scale` maps a value to 0..1 along the axis; `ticks` are (value, label)."""

    scale: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


def linear(highest: float, label: Callable[[float], str], *, ticks: int = TICKS) -> Axis:
    """From 0 to the tick at or above the highest value."""
    if highest <= 0:
        return Axis(lambda value: 0.0, [(0.0, label(0.0))])
    step = nice_step(highest / ticks)
    count = max(1, math.ceil(highest / step - 1e-9))
    top = count * step
    return Axis(lambda value: value / top, [(n * step, label(n * step)) for n in range(count + 1)])


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 × 10^n that is not less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def logarithmic(lowest: float, highest: float, label: Callable[[float], str]) -> Axis:
    """Decades around the values (> 0), with ticks at 1, or 1, 2, 5 of each where there are few."""
    low, high = math.floor(math.log10(lowest) + 1e-9), math.ceil(math.log10(highest) - 1e-9)
    high = max(high, low + 1)
    factors = (1, 2, 5) if high - low <= 2 else (1,)
    ticks = [factor * 10.0**power for power in range(low, high) for factor in factors] + [10.0**high]
    return Axis(
        lambda value: (math.log10(max(value, 10.0**low)) - low) / (high - low), [(t, label(t)) for t in ticks]
    )


def seconds(first: float, last: float) -> Axis:
    """The time of a run, in seconds, or in minutes and seconds for long ones."""
    span = max(last - first, 1)
    step = next((step for step in TIME_STEPS_S if span / step <= TICKS + 2), TIME_STEPS_S[-1])
    begin = math.ceil(first / step) * step
    values = range(begin, math.floor(first + span) + 1, step)
    return Axis(lambda value: (value - first) / span, [(value, clock_text(value, last)) for value in values])


def clock_text(at_s: float, last_s: float) -> str:
    """`45 s`, or `1:30` or `1:05:00` where the run is so long."""
    whole = int(at_s)
    if last_s < 180:
        return f"{whole} s"
    if last_s < 7200:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"


def percentiles(highest: float) -> Axis:
    """As HdrHistogram plots it: as much room from 90 to 99 as from 99 to 99.9. `highest` < 100."""
    span = max(1.0, _nines(highest))
    ticks = [(value, f"{value:g} %") for value in PERCENTILES if _nines(value) <= span + 1e-9]
    return Axis(lambda value: min(1.0, _nines(value) / span), ticks)


def _nines(percentile: float) -> float:
    return -math.log10(max(1e-12, 1 - percentile / 100))
