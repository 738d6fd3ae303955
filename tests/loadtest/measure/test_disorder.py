"""The work by exceptions finds what plain loops over whole sequences find."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.measure.agreement import agreed_order, merged
from loadtest.measure.ledger import Ledger
from loadtest.measure.rising import fewest_out_of_turn, heaviest_rising
from loadtest.measure.views import View

PART = st.permutations(range(9)).flatmap(lambda whole: st.integers(0, 9).map(lambda length: whole[:length]))
SEQUENCES = st.lists(PART, max_size=6)


def views(processes: Sequence[Sequence[Sequence[int]]]) -> list[View]:
    """Each process's members hear their sequences one after the other."""
    found = []
    for sequences in processes:
        ledger = Ledger()
        for number, sequence in enumerate(sequences):
            stay = ledger.entered("r", f"m{number}", 0.0)
            for message in sequence:
                stay.heard(message, 1.0)
        wire = ledger.to_wire()["rooms"]
        found += [View.from_wire(wire["r"])] if wire else []
    return found


def fewest(numbers: Sequence[int]) -> int:
    """By the textbook, n²: how many must go so that the rest rises."""
    longest = [1] * len(numbers)
    for i, number in enumerate(numbers):
        longest[i] = 1 + max((longest[j] for j in range(i) if numbers[j] < number), default=0)
    return len(numbers) - max(longest, default=0)


@given(st.permutations(range(8)))
def test_the_fewest_out_of_turn_are_the_fewest(numbers: list[int]) -> None:
    out = fewest_out_of_turn(numbers)
    rest = [number for index, number in enumerate(numbers) if index not in out]
    assert rest == sorted(rest)
    assert len(out) == fewest(numbers)


def test_of_two_that_are_swapped_the_second_is_out_of_turn() -> None:
    assert fewest_out_of_turn([1, 0]) == [1]


@given(st.permutations(range(7)).flatmap(lambda p: st.tuples(st.just(p), st.lists(st.integers(1, 9), min_size=7))))
def test_the_heaviest_rising_is_the_heaviest(case: tuple[list[int], list[int]]) -> None:
    numbers, weights = case[0], case[1][:7]
    kept = heaviest_rising(numbers, weights)
    assert [numbers[index] for index in kept] == sorted(numbers[index] for index in kept)
    best = [0] * 7
    for i in range(7):
        best[i] = weights[i] + max((best[j] for j in range(i) if numbers[j] < numbers[i]), default=0)
    assert sum(weights[index] for index in kept) == max(best)


@settings(max_examples=300)
@given(st.lists(SEQUENCES, max_size=3))
def test_the_violations_are_those_of_whole_sequences_in_the_agreed_order(
    processes: list[list[list[int]]],
) -> None:
    agreed = agreed_order(views(processes))
    heard = [sequence for sequences in processes for sequence in sequences]
    assert set(agreed.ranks) == {message for sequence in heard for message in sequence}
    assert agreed.violations == sum(fewest([agreed.ranks[m] for m in sequence]) for sequence in heard)


@given(st.lists(st.sets(st.integers(0, 30)).map(sorted), min_size=1, max_size=5))
def test_processes_that_contradict_each_other_nowhere_have_no_violation(heard: list[list[int]]) -> None:
    processes = views([[sequence] for sequence in heard])
    order = merged(processes)
    rank = {message: index for index, message in enumerate(order)}
    assert all([rank[m] for m in sequence] == sorted(rank[m] for m in sequence) for sequence in heard)
    assert agreed_order(processes).violations == 0
