"""The one order of a room that most stays heard, over all processes, and how many deliveries broke it.

A room has one order. Where it is first taken to be wrong, the messages that more than half of their hearers
heard out of turn are moved to where those heard them, until that helps no more. What one stay heard out of
turn is `disorder.py`'s to find.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

from .disorder import Move, Spine
from .pausing import Pause, without_pause
from .views import View

# Each round moves all that is blamed by most at once; two suffice unless the room has no order at all.
ROUNDS_MAX = 6


@dataclass(frozen=True, slots=True)
class Agreed:
    """The room's order, message -> rank, and how many deliveries were not in it."""

    ranks: Mapping[int, int]
    violations: int


def agreed_order(views: Sequence[View], pause: Pause = without_pause) -> Agreed:
    """The order that most of the stays of all processes heard, and what broke it. `pause` of `judge`."""
    order = merged(views)
    best: Agreed | None = None
    for _ in range(ROUNDS_MAX):
        ranks = {message: rank for rank, message in enumerate(order)}
        violations, votes = _polled(views, ranks, pause)
        if best and violations >= best.violations:
            break
        best = Agreed(ranks, violations)
        moves = {m: median_low(found) for m, found in votes.items() if 2 * len(found) > _hearers(views, m)}
        if not moves:
            break
        order = _moved(order, moves)
    assert best is not None
    return best


def _hearers(views: Sequence[View], message: int) -> int:
    return sum(view.heard_by[view.places[message]] for view in views if message in view.places)


def _moved(order: Sequence[int], moves: Mapping[int, Move]) -> list[int]:
    keys = {message: (rank, -1) for rank, message in enumerate(order)}
    keys.update(moves)
    return sorted(order, key=lambda message: keys[message])


def merged(views: Sequence[View]) -> list[int]:
    """One order of all messages that any process heard, following the orders of the processes where it can.

    Where they contradict each other, the message comes next that the fewest stays want something else before.
    """
    heads = [0] * len(views)
    placed: set[int] = set()
    order: list[int] = []
    while True:
        candidates: dict[int, tuple[int, float]] = {}
        for number, view in enumerate(views):
            while heads[number] < len(view.order) and view.order[heads[number]] in placed:
                heads[number] += 1
            if heads[number] < len(view.order):
                head = view.order[heads[number]]
                candidates.setdefault(head, (0, view.latest_s[heads[number]]))
        if not candidates:
            return order
        if len(candidates) > 1:
            candidates = {m: (_objections(views, heads, m), found[1]) for m, found in candidates.items()}
        chosen = min(candidates, key=lambda message: candidates[message])
        placed.add(chosen)
        order.append(chosen)


def _objections(views: Sequence[View], heads: Sequence[int], message: int) -> int:
    """How many stays heard the head of their process before this message."""
    return sum(
        min(view.heard_by[head], view.heard_by[view.places[message]])
        for view, head in zip(views, heads, strict=True)
        if head < len(view.order) and view.places.get(message, -1) > head
    )


def _polled(views: Sequence[View], ranks: Mapping[int, int], pause: Pause) -> tuple[int, dict[int, list[Move]]]:
    """How many deliveries were out of turn; and message -> where to, by each stay that would move it.

    Of two that are swapped the votes go to both: if it is most who swapped them, either move is right, and both
    together are, too. One vote for either would be no majority for any.
    """
    count = 0
    votes: defaultdict[int, list[Move]] = defaultdict(list)
    for view in views:
        spine = Spine.of(view.order, ranks)
        for stay in view.stays:
            pause()
            late, early = spine.out_of_turn(stay)
            count += len(late)
            for message, move in (dict(early) | dict(late)).items():
                votes[message].append(move)
    return count, votes
