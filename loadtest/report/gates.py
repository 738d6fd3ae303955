"""Gates: conditions on named figures that a run must meet, such as `fanout.p99<=50ms` or `delivered==expected`.

Both sides may be a figure or a number; a number of a time has a unit (us, ms, s). Times are compared in µs.
"""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from loadtest.measure.results import COUNTER_NAMES, HISTOGRAM_NAMES, Results

from .numbers import count_text, time_text

Compare = Callable[[float, float], bool]
# The longer ones first: `<=` begins with `<`.
OPERATORS: dict[str, Compare] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
UNITS_US = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}
FIXED_STATISTICS = ("min", "mean", "max", "count")
RATES = {"deliveries.rate": "deliveries per second", "sends.rate": "messages sent per second"}
LEVELS = {"connections.max": "the most connections at once"}
GATE_NAMES = (
    *(f"{name}.{part}" for name in HISTOGRAM_NAMES for part in ("p50", "p90", "p99", "p99.9", *FIXED_STATISTICS)),
    *COUNTER_NAMES,
    *RATES,
    *LEVELS,
)
_SPLIT = re.compile("|".join(map(re.escape, OPERATORS)))
_NUMBER = re.compile(r"([+-]?\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([a-zµ]*)", re.IGNORECASE)
_PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d+)?)")


class GateError(ValueError):
    """A gate that cannot be understood; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a gate: a figure by name, or a number (µs if it is a time)."""

    text: str
    number: float | None
    is_time: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """`left operator right`."""

    text: str
    left: Side
    operator: str
    right: Side


@dataclass(frozen=True, slots=True)
class Outcome:
    """A gate and what was found. A figure without values (`None`) fails every gate."""

    gate: Gate
    left: float | None
    right: float | None
    passed: bool


def parse(text: str) -> Gate:
    """A gate from its text. GateError, with all known names where a name is unknown."""
    signs = list(_SPLIT.finditer(text))
    if len(signs) != 1:
        known = " ".join(OPERATORS)
        raise GateError(f"expected one of {known} between two sides, as in fanout.p99<=50ms, got {text!r}")
    sign = signs[0]
    left, right = _side(text[: sign.start()], text), _side(text[sign.end() :], text)
    if left.number is not None and right.number is not None:
        raise GateError(f"expected a figure on one side at least, got {text!r}")
    if left.is_time != right.is_time and 0 not in (left.number, right.number):
        plain = right if left.is_time else left
        hint = "write its unit (us, ms, s)" if plain.number is not None else "it is no time"
        raise GateError(f"cannot compare a time with {plain.text!r} in {text!r}: {hint}")
    return Gate(text.strip(), left, sign.group(), right)


def _side(text: str, gate: str) -> Side:
    text = text.strip()
    if found := _NUMBER.fullmatch(text):
        unit = found[2]
        if unit and unit not in UNITS_US:
            raise GateError(f"expected a unit of us, ms, s or none, got {unit!r} in {gate!r}")
        return Side(text, float(found[1]) * UNITS_US.get(unit, 1.0), bool(unit))
    name, _, part = text.partition(".")
    if text in COUNTER_NAMES or text in RATES or text in LEVELS:
        return Side(text, None, False)
    if name in HISTOGRAM_NAMES and (part in FIXED_STATISTICS or _percentile_of(part) is not None):
        return Side(text, None, part != "count")
    known = f"a latency ({', '.join(HISTOGRAM_NAMES)}) with .p50 (any percentile), .min, .mean, .max or .count; "
    known += ", ".join([*COUNTER_NAMES, *RATES, *LEVELS])
    raise GateError(f"expected a number or a figure, got {text!r} in {gate!r}. Known figures are {known}")


def _percentile_of(part: str) -> float | None:
    found = _PERCENTILE.fullmatch(part)
    return float(found[1]) if found and float(found[1]) <= 100 else None


def value_of(name: str, results: Results) -> float | None:
    """A figure by the name that a gate gives it: µs, a count or a rate. None if nothing was measured."""
    if name in COUNTER_NAMES:
        return results.counters[name]
    if name in RATES:
        return results.deliveries_per_s if name == "deliveries.rate" else results.sends_per_s
    if name in LEVELS:
        return results.connections_max
    histogram, _, part = name.partition(".")
    found = results.histograms[histogram]
    if part in FIXED_STATISTICS:
        by_part = {"min": found.min_us, "mean": found.mean_us, "max": found.max_us, "count": found.count}
        return by_part[part]
    return found.percentile(_percentile_of(part) or 0)


def evaluate(results: Results, gates: Iterable[Gate]) -> list[Outcome]:
    """What became of each gate, in the order given."""
    return [_outcome(gate, results) for gate in gates]


def _outcome(gate: Gate, results: Results) -> Outcome:
    left, right = (
        value_of(side.text, results) if side.number is None else side.number for side in (gate.left, gate.right)
    )
    passed = left is not None and right is not None and OPERATORS[gate.operator](left, right)
    return Outcome(gate, left, right, passed)


def value_text(side: Side, value: float | None) -> str:
    """A value as people read it: `12.3 ms`, `1,234`."""
    if value is None:
        return "nothing measured"
    # More digits than usual: 50.02 ms is not within 50 ms.
    return time_text(value, digits=4) if side.is_time else count_text(value)


def table(outcomes: Sequence[Outcome]) -> str:
    """For the terminal: what failed first, then what passed; nothing without gates."""
    if not outcomes:
        return ""
    rows = [
        ("PASSED" if each.passed else "FAILED", each.gate.text, found_text(each))
        for each in sorted(outcomes, key=lambda each: each.passed)
    ]
    width = max(len(row[1]) for row in rows)
    return "\n".join(f"{word}  {text.ljust(width)}  {found}" for word, text, found in rows)


def found_text(outcome: Outcome) -> str:
    """The figures' values that the gate looked at: `fanout.p99 = 61.2 ms`."""
    sides = ((outcome.gate.left, outcome.left), (outcome.gate.right, outcome.right))
    return ", ".join(f"{side.text} = {value_text(side, value)}" for side, value in sides if side.number is None)
