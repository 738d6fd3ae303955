"""Small cases whose counts can be worked out by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from loadtest.measure.judging import judge
from loadtest.measure.ledger import Ledger
from loadtest.measure.stay import Stay
from loadtest.measure.totals import Totals

ROOM = "r"


def counts(found: Totals) -> dict[str, int]:
    """The deliveries' counts that are not 0."""
    names = ("expected", "delivered", "lost", "duplicates", "order_violations", "unexpected")
    return {name: getattr(found, name) for name in names if getattr(found, name)}


def send(ledger: Ledger, *messages: int, start_s: float = 1.0) -> None:
    """One a second, acknowledged 0.1 s later."""
    for turn, message in enumerate(messages):
        ledger.sent(ROOM, message, start_s + turn)
        ledger.acknowledged(ROOM, message, start_s + turn + 0.1)


def enter(ledger: Ledger, members: int, at_s: float = 0.0) -> list[Stay]:
    return [ledger.entered(ROOM, f"m{number}", at_s) for number in range(members)]


def hear(stays: Sequence[Stay], *messages: int, at_s: float = 10.0) -> None:
    for stay in stays:
        for message in messages:
            stay.heard(message, at_s)


def closed(*ledgers: Ledger) -> Totals:
    for ledger in ledgers:
        ledger.close(1000.0)
    return judge([ledger.to_wire() for ledger in ledgers])


def test_everything_heard_by_everybody_in_order() -> None:
    ledger = Ledger()
    stays = enter(ledger, 3)
    send(ledger, 1, 2, 3)
    hear(stays, 1, 2, 3)
    found = closed(ledger)
    assert counts(found) == {"expected": 9, "delivered": 9}
    assert (found.sent, found.acknowledged, found.refused, found.unknown) == (3, 3, 0, 0)
    assert found.examples == []


def test_a_message_that_one_missed_is_one_lost_and_no_violation() -> None:
    ledger = Ledger()
    stays = enter(ledger, 3)
    send(ledger, 1, 2, 3)
    hear(stays[:2], 1, 2, 3)
    hear(stays[2:], 1, 3)
    found = closed(ledger)
    assert counts(found) == {"expected": 9, "delivered": 8, "lost": 1}
    assert found.examples == ["lost: message 0.2 at m2 in room r, sent at 2.000 s"]


def test_a_message_that_nobody_heard_is_lost_for_each() -> None:
    sender, receiver = Ledger(), Ledger()
    stays = enter(receiver, 3)
    send(sender, 1, 2, 3)
    hear(stays, 1, 3)
    assert counts(closed(sender, receiver)) == {"expected": 9, "delivered": 6, "lost": 3}


def test_a_member_that_hears_nothing_misses_everything() -> None:
    ledger = Ledger()
    enter(ledger, 1)
    send(ledger, 1, 2)
    assert counts(closed(ledger)) == {"expected": 2, "lost": 2}


def test_each_further_receipt_is_a_duplicate() -> None:
    ledger = Ledger()
    (stay,) = enter(ledger, 1)
    send(ledger, 1, 2, 3)
    hear([stay], 1, 1, 2, 1, 3)
    assert counts(closed(ledger)) == {"expected": 3, "delivered": 3, "duplicates": 2}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("odd", [(2, 1, 3, 4), (1, 3, 2, 4), (1, 3, 4, 2), (4, 1, 2, 3), (2, 3, 4, 1)])
def test_one_message_out_of_its_place_is_one_violation_whoever_is_first_to_hear(
    odd: tuple[int, ...], first: bool
) -> None:
    ledger = Ledger()
    stays = enter(ledger, 50)
    send(ledger, 1, 2, 3, 4)
    if first:
        hear(stays[:1], *odd)
        hear(stays[1:], 1, 2, 3, 4)
    else:
        hear(stays[1:], 1, 2, 3, 4)
        hear(stays[:1], *odd)
    assert counts(closed(ledger)) == {"expected": 200, "delivered": 200, "order_violations": 1}


def test_who_is_reversed_breaks_the_order_with_all_but_one() -> None:
    ledger = Ledger()
    stays = enter(ledger, 5)
    send(ledger, 1, 2, 3, 4)
    hear(stays[:1], 4, 3, 2, 1)
    hear(stays[1:], 1, 2, 3, 4)
    assert closed(ledger).order_violations == 3


def test_a_message_overtaken_by_many_is_one_violation_and_not_lost() -> None:
    ledger = Ledger()
    stays = enter(ledger, 10)
    send(ledger, *range(300))
    hear(stays[:9], *range(300))
    hear(stays[9:], *range(50), *range(51, 250), 50, *range(250, 300))
    assert counts(closed(ledger)) == {"expected": 3000, "delivered": 3000, "order_violations": 1}


def test_the_majority_is_that_of_all_processes() -> None:
    one, other = Ledger(), Ledger()
    send(one, 1, 2)
    minority, majority = enter(one, 2), enter(other, 3)
    hear(minority, 2, 1)
    hear(majority, 1, 2)
    assert closed(one, other).order_violations == 2


def test_a_majority_within_a_process_may_be_the_minority_of_all() -> None:
    one, other = Ledger(), Ledger()
    send(one, 1, 2)
    stays, others = enter(one, 5), enter(other, 4)
    hear(stays[:3], 1, 2)
    hear(stays[3:], 2, 1)
    hear(others, 2, 1)
    assert closed(one, other).order_violations == 3


def test_what_was_sent_before_the_entry_is_not_expected_nor_unexpected() -> None:
    ledger = Ledger()
    send(ledger, 1, 2, 3)
    hear(enter(ledger, 1, at_s=2.5), 2, 3)
    assert counts(closed(ledger)) == {"expected": 1, "delivered": 1}


def test_what_was_acknowledged_before_the_entry_was_asked_for_is_unexpected() -> None:
    ledger = Ledger()
    send(ledger, 1, 2, 3)
    stay = ledger.entered(ROOM, "m", 2.5, asked_s=2.05)
    hear([stay], 1, 2, 3)
    assert counts(closed(ledger)) == {"expected": 1, "delivered": 1, "unexpected": 1}


def test_what_was_on_its_way_when_a_connection_was_lost_is_not_expected() -> None:
    ledger = Ledger()
    (stay,) = enter(ledger, 1)
    send(ledger, 1, 2, 3)
    hear([stay], 1)
    stay.left(3.0)
    assert counts(closed(ledger)) == {"expected": 1, "delivered": 1}


def test_what_nobody_heard_has_no_place_in_the_order_and_goes_by_time_where_a_stay_ended() -> None:
    ledger = Ledger()
    (stay,) = enter(ledger, 1)
    send(ledger, 1, 2, 3)
    hear([stay], 1, 3)
    stay.left(3.2)
    wires = [ledger.to_wire()]
    assert counts(judge(wires)) == {"expected": 2, "delivered": 2}
    assert counts(judge(wires, in_flight_s=0.5)) == {"expected": 3, "delivered": 2, "lost": 1}


def test_what_others_heard_before_it_is_lost_for_who_left() -> None:
    ledger = Ledger()
    stays = enter(ledger, 2)
    send(ledger, 1, 2, 3)
    hear(stays[:1], 1, 2, 3)
    hear(stays[1:], 1, 3)
    stays[1].left(3.2)
    assert counts(closed(ledger)) == {"expected": 6, "delivered": 5, "lost": 1}


def test_what_was_acknowledged_long_before_the_end_of_a_stay_is_expected() -> None:
    ledger = Ledger()
    (stay,) = enter(ledger, 1)
    send(ledger, 1, 2, 3)
    stay.left(60.0)
    assert counts(closed(ledger)) == {"expected": 3, "lost": 3}


def test_what_came_after_the_end_is_unexpected_only_if_it_was_sent_after_it() -> None:
    ledger = Ledger()
    (stay,) = enter(ledger, 1)
    send(ledger, 1, 2, 3)
    hear([stay], 1)
    stay.left(2.5)
    hear([stay], 2, 3)
    assert counts(closed(ledger)) == {"expected": 1, "delivered": 1, "unexpected": 1}


def test_a_recovered_connection_must_hear_everything_in_between_exactly_once() -> None:
    ledger = Ledger()
    stays = enter(ledger, 2)
    send(ledger, 1, 2, 3)
    for stay in stays:
        stay.heard(1, 1.2)
        stay.paused(1.5)
        stay.resumed()
    hear(stays[:1], 2, 3)
    hear(stays[1:], 1, 3)
    assert counts(closed(ledger)) == {"expected": 6, "delivered": 5, "lost": 1, "duplicates": 1}


def test_a_pause_without_return_ends_the_stay_where_it_began() -> None:
    ledger = Ledger()
    (stay,) = enter(ledger, 1)
    send(ledger, 1, 2, 3)
    hear([stay], 1)
    stay.paused(1.5)
    assert counts(closed(ledger)) == {"expected": 1, "delivered": 1}


def test_a_new_stay_of_the_same_member_begins_with_what_comes_then() -> None:
    ledger = Ledger()
    (stay,) = enter(ledger, 1)
    send(ledger, 1, 2, 3)
    hear([stay], 1)
    stay.left(1.9)
    hear(enter(ledger, 1, at_s=2.5), 3)
    assert counts(closed(ledger)) == {"expected": 2, "delivered": 2}


def test_refused_and_never_sent_are_unexpected_and_unknown_is_neither() -> None:
    ledger = Ledger()
    stays = enter(ledger, 2)
    for message in (1, 2, 3):
        ledger.sent(ROOM, message, 1.0)
    ledger.refused(ROOM, 1)
    ledger.unknown(ROOM, 2)
    hear(stays, 1, 2, 77)
    found = closed(ledger)
    assert counts(found) == {"unexpected": 4}
    assert (found.sent, found.acknowledged, found.refused, found.unknown) == (3, 0, 1, 2)


def test_a_message_in_the_wrong_room_is_unexpected_there_and_lost_where_it_belongs() -> None:
    ledger = Ledger()
    enter(ledger, 1)
    send(ledger, 1)
    hear([ledger.entered("other", "m", 0.0)], 1)
    assert counts(closed(ledger)) == {"expected": 1, "lost": 1, "unexpected": 1}


def test_an_answer_to_what_was_not_sent_is_an_error() -> None:
    with pytest.raises(KeyError):
        Ledger().acknowledged(ROOM, 1, 1.0)


def test_many_at_once_are_heard_as_one_by_one() -> None:
    ledger = Ledger()
    stays = enter(ledger, 3)
    send(ledger, *range(10))
    for stay in stays:
        for first in range(0, 10, 4):
            stay.heard_many(list(range(first, min(first + 4, 10))), 20.0)
    stays[0].heard_many([8, 9], 21.0)
    assert counts(closed(ledger)) == {"expected": 30, "delivered": 30, "duplicates": 2}


def test_the_last_receiver_is_that_of_all_processes() -> None:
    one, other = Ledger(), Ledger()
    one.sent(ROOM, 1, 1.0, intended_s=0.9)
    one.acknowledged(ROOM, 1, 1.1)
    hear(enter(one, 2), 1, at_s=1.2)
    hear(enter(other, 2), 1, at_s=1.5)
    found = closed(one, other).last_receiver
    assert (found.count, found.max_us) == (1, 600_000)


def test_a_message_that_not_all_have_has_no_last_receiver() -> None:
    ledger = Ledger()
    stays = enter(ledger, 2)
    send(ledger, 1, 2)
    hear(stays[:1], 1, 2)
    hear(stays[1:], 2)
    assert closed(ledger).last_receiver.count == 1


def test_a_message_that_was_learned_and_that_no_stay_heard_has_no_last_receiver() -> None:
    ledger = Ledger()
    send(ledger, 1)
    ledger.room(ROOM).learned(1, 1.0)
    found = closed(ledger)
    assert (found.last_receiver.count, counts(found)) == (0, {})


def test_a_clock_error_makes_the_border_of_an_entry_wider() -> None:
    sender, receiver = Ledger(), Ledger()
    send(sender, 1)
    enter(receiver, 1, at_s=0.9995)
    wires: list[dict[str, Any]] = [sender.to_wire(), receiver.to_wire()]
    assert judge(wires).lost == 1
    assert judge(wires, clock_error_s=0.001).expected == 0


def test_sixty_thousand_messages_to_fifty_members_are_small_on_the_wire() -> None:
    ledger = Ledger()
    stays = enter(ledger, 50)
    for message in range(60_000):
        ledger.sent(ROOM, message, message / 1000)
        ledger.acknowledged(ROOM, message, message / 1000 + 0.002)
    for stay in stays:
        stay.heard_many(list(range(60_000)), 61.0)
    rooms = ledger.to_wire()["rooms"]
    size = sum(len(column) for column in rooms[ROOM].values() if isinstance(column, bytes))
    size += sum(len(column) for column in rooms[ROOM]["sends"].values())
    assert size < 3_000_000
    assert counts(closed(ledger)) == {"expected": 3_000_000, "delivered": 3_000_000}


@pytest.mark.parametrize(
    "answer", [Ledger.refused, Ledger.unknown, lambda *told: Ledger.acknowledged(*told, 300.0)]
)
def test_an_answer_after_its_message_was_settled_changes_nothing(answer: Callable[..., None]) -> None:
    ledger = Ledger()
    stays = enter(ledger, 1)
    ledger.sent(ROOM, 1, 1.0)
    settled = ledger.settle(100.0)
    answer(ledger, ROOM, 1)
    assert judge([settled]).unknown == 1
    with pytest.raises(KeyError):
        ledger.refused(ROOM, 1)
    send(ledger, 2, start_s=200.0)
    hear(stays, 2, at_s=201.0)
    assert counts(closed(ledger)) == {"expected": 1, "delivered": 1}


def test_what_is_heard_and_sent_while_it_is_settled_counts_once() -> None:
    ledger = Ledger()
    stays = enter(ledger, 3)
    send(ledger, 1, 2)
    for message in (1, 2):
        ledger.room(ROOM).learned(message, float(message))
    hear(stays, 1, 2)
    pauses: list[int] = []

    def pause() -> None:
        pauses.append(len(pauses) + 10)
        send(ledger, pauses[-1], start_s=200.0 + len(pauses))
        hear(stays, pauses[-1], at_s=202.0 + len(pauses))

    settled = judge([ledger.settle(100.0, pause)])
    assert len(pauses) > len(stays)
    assert counts(settled) == {"expected": 6, "delivered": 6}
    assert counts(closed(ledger)) == {"expected": 3 * len(pauses), "delivered": 3 * len(pauses)}


def test_messages_of_a_process_that_died_are_neither_expected_nor_unexpected() -> None:
    ledger = Ledger()
    stays = enter(ledger, 2)
    hear(stays, 1)
    ledger.close(100.0)
    assert counts(judge([ledger.to_wire()])) == {"unexpected": 2}
    assert counts(judge([ledger.to_wire()], is_missing=lambda message: message == 1)) == {}
