"""One order for all: merges what the members of a room saw, and says who saw something out of place.

Pure functions over sequences of message ids. The merged order is made by all members together, so that where
they disagree it follows the most of them, and the blame falls on the few. O(n log n) in all receipts.
"""

import heapq
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence


def merged_order(sequences: Iterable[Sequence[str]], first_s: Mapping[str, float]) -> list[str]:
    """An order of all ids in which every sequence keeps its own, where there is such an order.

    Each id appears once in a sequence. Where the sequences contradict each other, the id that the fewest of
    them want something else before comes next; where they leave it open, the one that was first seen by anybody
    (`first_s`, id -> when).
    """
    waits: dict[str, int] = {}  # id -> how many sequences want another one before it
    followers: defaultdict[str, list[str]] = defaultdict(list)
    for sequence in sequences:
        for place, each in enumerate(sequence):
            waits.setdefault(each, 0)
            if place:
                waits[each] += 1
                followers[sequence[place - 1]].append(each)
    heap = [(count, first_s[each], each) for each, count in waits.items()]
    heapq.heapify(heap)
    merged: list[str] = []
    placed: set[str] = set()
    while heap:
        count, _, each = heapq.heappop(heap)
        if each in placed or count != waits[each]:
            continue
        merged.append(each)
        placed.add(each)
        for follower in followers[each]:
            waits[follower] -= 1
            if follower not in placed:
                heapq.heappush(heap, (waits[follower], first_s[follower], follower))
    return merged


def out_of_place(sequence: Sequence[str], rank: dict[str, int]) -> list[str]:
    """The fewest ids without which `sequence` would be in the order of `rank`."""
    kept = _longest_rising([rank[each] for each in sequence])
    return [each for place, each in enumerate(sequence) if place not in kept]


def _longest_rising(numbers: Sequence[int]) -> set[int]:
    """The places of a longest strictly rising subsequence (patience sorting)."""
    tails: list[int] = []  # length - 1 -> smallest number that ends a rising subsequence of that length
    places: list[int] = []  # and where that number is
    before: list[int] = []  # place -> the place before it in its subsequence, -1 at the beginning
    for place, number in enumerate(numbers):
        length = bisect_left(tails, number)
        before.append(places[length - 1] if length else -1)
        if length == len(tails):
            tails.append(number)
            places.append(place)
        else:
            tails[length], places[length] = number, place
    kept: set[int] = set()
    place = places[-1] if places else -1
    while place >= 0:
        kept.add(place)
        place = before[place]
    return kept
