"""What one stay heard out of turn: the fewest deliveries without which it heard the room's order.

A message overtaken by two hundred others is one, a swap of two neighbours is one, a lost message is none. The
work is by what came out of turn, not by what was heard. The room's order is `agreement.py`'s.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .rising import fewest_out_of_turn, heaviest_rising
from .stay_record import StayRecord

# Where a message should move to: (the rank it should follow, its turn among others that follow the same).
Move = tuple[int, int]
Moved = tuple[int, Move]  # (message, where to)


@dataclass(frozen=True, slots=True)
class Element:
    """A run of places heard in turn, or a single message out of turn. `turn` sorts elements as they were heard."""

    turn: tuple[int, int]
    rank: int
    last_rank: int
    places: Sequence[int]
    weight: int  # how many messages; 0 for a single one


@dataclass(frozen=True, slots=True)
class Spine:
    """A process's order in the light of the room's: the places whose ranks rise, and those that do not."""

    order: Sequence[int]
    ranks: Sequence[int]  # place -> rank in the room's order
    moved: Sequence[int]  # the fewest places without which `ranks` rises
    places: Sequence[int]  # all others
    rising: Sequence[int]  # and their ranks

    @classmethod
    def of(cls, order: Sequence[int], ranks: Mapping[int, int]) -> "Spine":
        """`order`: what the process heard; `ranks`: message -> rank in the room's order."""
        all_ranks = [ranks[message] for message in order]
        if all(low < high for low, high in pairwise(all_ranks)):
            return cls(order, all_ranks, [], range(len(order)), all_ranks)
        moved = fewest_out_of_turn(all_ranks)
        out = set(moved)
        places = [place for place in range(len(order)) if place not in out]
        return cls(order, all_ranks, moved, places, [all_ranks[place] for place in places])

    def out_of_turn(self, stay: StayRecord) -> tuple[list[Moved], list[Moved]]:
        """The fewest messages that this stay heard out of turn, and where each of them belongs by its hearing.

        Twice, for where there is a choice: the first blames what came late (of two that are swapped, the one
        heard second), the second what came early. Both are equally many.
        """
        apart = {place for place, _ in stay.late}.union(stay.skipped)
        moved = self.moved[bisect_left(self.moved, stay.begin) : bisect_left(self.moved, stay.next)]
        moved = [place for place in moved if place not in apart]
        if not stay.late and not moved:
            return [], []
        excluded = sorted(apart.union(moved))
        # A late one stands before the place whose turn it was when it came.
        singles = [self._single((turn, n - len(stay.late)), place) for n, (place, turn) in enumerate(stay.late)]
        singles += [self._single((place, 1), place) for place in moved]
        elements = sorted([*singles, *self._runs(stay, singles, excluded)], key=lambda element: element.turn)
        # So many to each message that a little more or less for the single ones decides only between equals.
        scale = len(singles) + 1
        late, early = (
            heaviest_rising([e.rank for e in elements], [e.weight * scale or scale + favour for e in elements])
            for favour in (-1, 1)
        )
        out = set(excluded)
        return list(self._dropped(elements, set(late), out)), list(self._dropped(elements, set(early), out))

    def _single(self, turn: tuple[int, int], place: int) -> Element:
        return Element(turn, self.ranks[place], self.ranks[place], (place,), 0)

    def _runs(self, stay: StayRecord, singles: Sequence[Element], excluded: Sequence[int]) -> Iterator[Element]:
        """Places heard in turn, cut where a single one comes in between, in time or in rank."""
        cuts = {stay.begin, stay.next}
        for single in singles:
            cuts.update((single.turn[0], single.turn[0] + 1))
            nearest = bisect_left(self.rising, single.rank)
            if nearest < len(self.places):
                cuts.add(self.places[nearest])
        inside = sorted(cut for cut in cuts if stay.begin <= cut <= stay.next)
        for first, past in pairwise(inside):
            weight = past - first - (bisect_left(excluded, past) - bisect_left(excluded, first))
            if weight:
                low, high = bisect_left(self.places, first), bisect_left(self.places, past) - 1
                yield Element((first, 0), self.rising[low], self.rising[high], range(first, past), weight)

    def _dropped(self, elements: Sequence[Element], kept: set[int], excluded: set[int]) -> Iterator[Moved]:
        after_rank, turn = -1, 0
        for index, element in enumerate(elements):
            if index in kept:
                after_rank, turn = element.last_rank, 0
                continue
            for place in element.places:
                if not element.weight or place not in excluded:
                    yield self.order[place], (after_rank, turn)
                    turn += 1
