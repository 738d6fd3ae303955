"""The heaviest rising subsequence: which elements of a sequence stay when the fewest have to go.

Fredman's patience sorting for plain numbers, and the same with weights.
"""

from bisect import bisect_left
from collections.abc import Sequence


def fewest_out_of_turn(numbers: Sequence[int]) -> list[int]:
    """The indexes of the fewest (distinct) numbers without which the rest rises, in rising order.

    Where several choices are equally few, those go that come after a larger number, rather than that one.
    """
    # From the end and with signs turned it is the same problem, and there ties fall as wanted.
    turned = [-number for number in reversed(numbers)]
    tails: list[int] = []  # length - 1 -> smallest number that ends a rising subsequence of that length
    ends: list[int] = []  # and where that number is
    before: list[int] = []  # index -> the one before it in its subsequence, -1 at the beginning
    for index, number in enumerate(turned):
        length = bisect_left(tails, number)
        before.append(ends[length - 1] if length else -1)
        if length == len(tails):
            tails.append(number)
            ends.append(index)
        else:
            tails[length], ends[length] = number, index
    kept: set[int] = set()
    at = ends[-1] if ends else -1
    while at >= 0:
        kept.add(len(numbers) - 1 - at)
        at = before[at]
    return [index for index in range(len(numbers)) if index not in kept]


def heaviest_rising(numbers: Sequence[int], weights: Sequence[int]) -> list[int]:
    """The indexes of a rising subsequence of (distinct) numbers with the greatest sum of (positive) weights."""
    # The subsequences worth going on with: the number each ends in, its sum, its last index. All rise.
    ends: list[int] = []
    sums: list[int] = []
    lasts: list[int] = []
    before: list[int] = []  # index -> the one before it in its subsequence, -1 at the beginning
    for index, number in enumerate(numbers):
        at = bisect_left(ends, number)
        total = weights[index] + (sums[at - 1] if at else 0)
        before.append(lasts[at - 1] if at else -1)
        past = at
        while past < len(sums) and sums[past] <= total:  # end later and weigh no more
            past += 1
        ends[at:past], sums[at:past], lasts[at:past] = [number], [total], [index]
    kept = []
    last = lasts[-1] if lasts else -1
    while last >= 0:
        kept.append(last)
        last = before[last]
    return kept[::-1]
