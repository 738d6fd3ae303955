"""From samples to figures: medians, and ratios with their spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from .lines import Goal, Line


@dataclass(frozen=True, slots=True)
class Measured:
    """One sample of one contender in one round. `cpu`: process -> share of a core."""

    line: str
    contender: str
    round: int
    figures: dict[str, float]
    cpu: dict[str, float] | None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Ratio:
    """The first contender's median by the other's, and the smallest and largest of the rounds' ratios."""

    median: float
    low: float
    high: float


def of(samples: Sequence[Measured], line: str, contender: str) -> list[Measured]:
    """One contender's samples of a line, in the order of the rounds."""
    found = [each for each in samples if each.line == line and each.contender == contender]
    return sorted(found, key=lambda each: each.round)


def median_of(samples: Sequence[Measured], figure: str) -> float | None:
    """The median of a figure; None without samples that have it."""
    values = [each.figures[figure] for each in samples if figure in each.figures]
    return median(values) if values else None


def median_share(samples: Sequence[Measured], process: str) -> float | None:
    """The median CPU share of a process; None where it was not measured."""
    values = [each.cpu[process] for each in samples if each.cpu and process in each.cpu]
    return median(values) if values else None


def ratio(ours: Sequence[Measured], others: Sequence[Measured], figure: str) -> Ratio | None:
    """None where a contender has no samples, or the other's are not above 0. Rounds pair by number."""
    top, bottom = median_of(ours, figure), median_of(others, figure)
    if top is None or bottom is None or bottom <= 0:
        return None
    by_round = {each.round: each.figures[figure] for each in others}
    rounds = [each.figures[figure] / by_round[each.round] for each in ours if by_round.get(each.round, 0) > 0]
    rounds = rounds or [top / bottom]
    return Ratio(top / bottom, min(rounds), max(rounds))


def is_met(line: Line, found: Ratio, goal: Goal) -> bool:
    """Whether the ratio of medians reaches the goal, or stays within it."""
    return found.median <= goal.ratio if goal.at_most or not line.more_is_better else found.median >= goal.ratio
