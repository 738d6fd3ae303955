"""The checker's pure functions: a clean log gives nothing, and each fault that is planted is found; only it."""

import random
from collections import Counter
from collections.abc import Iterable

import pytest

from tests.faults import schedule
from tests.faults.checks import check, spans_of
from tests.faults.connection import Answered, Goodbye, Heard, Refusal, Welcome, parse
from tests.faults.findings import DUPLICATED, GHOST, LOST, REORDERED, STRANGE, UNRECOVERED, Finding
from tests.faults.handmade_log import Log
from tests.faults.order import merged_order, out_of_place
from tests.faults.record import Acked, Connected, Disconnected, GivenUp, History, Received, Sent, Vanished
from tests.faults.rosters import Listing, find_ghosts, truth_of
from tests.faults.verdict import Verdict


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    return dict(Counter(finding.kind for finding in findings))


# --- clean logs ----------------------------------------------------------------------------------------------


def test_a_clean_log_gives_nothing() -> None:
    assert check(Log().members) == []


def test_a_recovered_client_that_got_what_it_missed_is_clean() -> None:
    log = Log()
    log.interrupt(0, 10.5, 17.5, recovered=True, replayed=True)
    assert check(log.members) == []


def test_a_plain_client_may_miss_what_came_while_it_was_gone() -> None:
    log = Log()
    log.interrupt(3, 10.5, 17.5, recovered=False)
    assert check(log.members) == []


def test_an_unknown_outcome_is_neither_lost_nor_wrong_for_those_who_received_it() -> None:
    log = Log()
    message = log.messages[9]
    log.unacknowledge(message)
    log.forget(0, [message])
    assert check(log.members) == []


def test_a_message_that_nobody_received_and_nobody_acknowledged_is_clean() -> None:
    log = Log()
    log.members[0].add(Sent(50.0, "c0:99"))
    log.members[0].add(GivenUp(60.0, "c0:99", "timeout"))
    assert check(log.members) == []


def test_what_follows_a_clients_last_receipt_may_have_been_under_way_when_it_vanished() -> None:
    log = Log()
    log.forget(0, log.messages[20:])
    log.members[0].add(Vanished(25.0))
    assert check(log.members) == []


def test_the_order_is_clean_with_offsets_for_nobody() -> None:
    assert check(Log(members=4, plain=4).members) == []


# --- lost ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", [pytest.param(0, id="recovering"), pytest.param(3, id="plain")])
def test_each_acknowledged_message_that_a_member_throughout_did_not_receive_is_lost(member: int) -> None:
    log = Log()
    missing = [log.messages[4], log.messages[9], log.messages[-1]]
    log.forget(member, missing)
    findings = check(log.members)
    assert counts(findings) == {LOST: 3}
    assert [(finding.client, finding.message) for finding in findings] == [
        (f"c{member}", each) for each in missing
    ]


def test_what_is_not_replayed_to_a_client_told_recovered_is_lost() -> None:
    log = Log()
    log.interrupt(0, 10.5, 17.5, recovered=True)
    assert counts(check(log.members)) == {LOST: 7}


def test_what_is_not_replayed_to_a_client_told_not_recovered_is_excused() -> None:
    log = Log()
    log.interrupt(0, 10.5, 17.5, recovered=False)
    assert counts(check(log.members)) == {UNRECOVERED: 1}


def test_a_gap_within_a_span_that_ended_is_lost() -> None:
    log = Log()
    log.interrupt(0, 20.5, 22.5, recovered=False)
    log.forget(0, log.messages[10:12])
    assert counts(check(log.members)) == {LOST: 2, UNRECOVERED: 1}


def test_a_message_under_way_while_a_client_connected_is_due_if_it_stands_behind_what_that_has() -> None:
    log = Log()
    log.interrupt(3, 10.5, 13.04, recovered=False)  # message 12 was sent at 13.0 and came at 13.05
    log.forget(3, [log.messages[12]])
    assert check(log.members) == []
    log.members[3].add(log.receipt(log.members[3], log.messages[11], 13.045))
    log.members[3].events.sort(key=lambda event: event.at_s)
    assert counts(check(log.members)) == {LOST: 1}


def test_a_message_that_reached_nobody_is_lost_once_for_each_member() -> None:
    log = Log()
    for member in range(4):
        log.forget(member, [log.messages[5]])
    assert counts(check(log.members)) == {LOST: 4}


def test_other_rooms_are_not_expected_to_receive_anything() -> None:
    log = Log()
    other = History("d0", "B")
    other.add(Connected(0.5, "sid-d0", recovered=False))
    assert check([*log.members, other]) == []


# --- twice, and in another order -------------------------------------------------------------------------------


@pytest.mark.parametrize("recovered", [True, False])
def test_each_further_receipt_is_a_duplicate_whatever_happened_to_the_connection(recovered: bool) -> None:
    log = Log()
    log.interrupt(0, 10.5, 11.5, recovered=recovered, replayed=True)
    for message in log.messages[8:10]:
        log.members[0].add(log.receipt(log.members[0], message, 12.6))
    findings = [finding for finding in check(log.members) if finding.kind != UNRECOVERED]
    assert counts(findings) == {DUPLICATED: 2}
    assert {finding.message for finding in findings} == set(log.messages[8:10])


def test_a_message_stored_twice_is_duplicated_for_everybody_and_out_of_nobodys_order() -> None:
    log = Log()
    for member in log.members:
        member.add(Received(50.0, log.messages[3], "2000" if member.recovers else None))
    assert counts(check(log.members)) == {DUPLICATED: 4}


@pytest.mark.parametrize("member", [pytest.param(1, id="recovering"), pytest.param(3, id="plain")])
def test_one_member_with_another_order_is_found_and_alone_blamed(member: int) -> None:
    log = Log()
    log.swap(member, 6, 7)
    log.swap(member, 15, 18)
    findings = check(log.members)
    assert {(finding.kind, finding.client) for finding in findings} == {(REORDERED, f"c{member}")}
    assert len(findings) == 3  # a swap of neighbours moves one, one of others moves both


def test_two_members_with_different_orders_are_found_without_any_offset() -> None:
    log = Log(members=2, plain=2)
    log.swap(0, 6, 7)
    assert counts(check(log.members)) == {REORDERED: 1}


def test_offsets_that_do_not_rise_in_the_order_of_receipt_are_found() -> None:
    log = Log()
    for member in range(4):
        log.swap(member, 10, 13)  # messages of two senders, who keep their own orders
    findings = check(log.members)
    assert {finding.kind for finding in findings} == {REORDERED}
    assert {finding.client for finding in findings} == {"(the log)"}


def test_a_senders_messages_out_of_their_numbers_order_are_found() -> None:
    log = Log()
    first, second = (log.messages.index(f"c0:{number}") for number in (2, 3))
    offsets = log.offsets[log.messages[first]], log.offsets[log.messages[second]]
    for member in log.members:
        log.swap(log.members.index(member), first, second)
        for place, event in enumerate(member.events):
            if isinstance(event, Received) and member.recovers and event.id in ("c0:2", "c0:3"):
                member.events[place] = Received(event.at_s, event.id, offsets[event.id == "c0:2"])
    findings = check(log.members)
    assert counts(findings) == {REORDERED: 1}
    assert findings[0].client == "c0"


def test_a_plain_clients_old_and_new_connections_need_not_keep_one_order() -> None:
    log = Log(members=2, plain=2)
    sender = log.members[0]
    sender.events = [
        Connected(0.5, "one", recovered=False, pid=False),
        *(Sent(1.0, "c0:0"), Disconnected(1.1, "cut"), GivenUp(1.1, "c0:0", "cut")),
        *(Connected(2.0, "two", recovered=False, pid=False), Sent(2.1, "c0:1"), Acked(2.2, "c0:1")),
        *(Received(2.2, "c0:1"), Received(2.3, "c0:0")),
    ]
    log.members[1].events = [
        Connected(0.5, "other", recovered=False, pid=False),
        *(Received(2.2, "c0:1"), Received(2.3, "c0:0")),
    ]
    assert check(log.members) == []


def test_the_merged_order_follows_every_sequence_and_else_the_time() -> None:
    when = {each: float(place) for place, each in enumerate("abcdefg")}
    assert merged_order(["acd", "abd", "g"], when) == list("abcdg")
    assert merged_order(["abcd", "acbd", "abcd"], when) == list("abcd")


def test_out_of_place_are_the_fewest() -> None:
    rank = {each: place for place, each in enumerate("abcdefgh")}
    assert out_of_place("abcdefgh", rank) == []
    assert out_of_place("bcdeafgh", rank) == ["a"]
    assert len(out_of_place("hgfedcba", rank)) == 7
    assert out_of_place("", rank) == []


def test_a_hundred_thousand_receipts_are_merged_in_no_time() -> None:
    chance = random.Random(1)
    whole = [str(number) for number in range(10_000)]
    parts = [[each for each in whole if chance.random() < 0.9] for _ in range(12)]
    order = merged_order(parts, dict.fromkeys(whole, 0.0))
    placed = {each: place for place, each in enumerate(order)}
    assert all(out_of_place(part, placed) == [] for part in parts)


# --- what clients are told -------------------------------------------------------------------------------------


def test_only_clients_that_ask_for_recovery_count_as_unrecovered() -> None:
    log = Log()
    for member in (0, 3):
        log.interrupt(member, 10.5, 11.5, recovered=False)
        log.interrupt(member, 20.5, 21.5, recovered=False)
    assert counts(check(log.members)) == {UNRECOVERED: 2}


def test_an_offset_shown_to_a_plain_client_is_strange() -> None:
    log = Log()
    plain = log.members[3]
    plain.events = [
        Received(e.at_s, e.id, log.offsets[e.id]) if isinstance(e, Received) and e.id == log.messages[5] else e
        for e in plain.events
    ]
    assert counts(check(log.members)) == {STRANGE: 1}


def test_a_recovering_client_must_be_shown_offsets_that_are_the_others() -> None:
    log = Log()
    changed = {log.messages[4]: None, log.messages[5]: "1051", log.messages[6]: "not an offset"}
    member = log.members[2]
    member.events = [
        Received(e.at_s, e.id, changed[e.id]) if isinstance(e, Received) and e.id in changed else e
        for e in member.events
    ]
    found = [finding for finding in check(log.members) if finding.kind == STRANGE]
    assert {finding.message for finding in found} == set(changed)


def test_two_messages_at_one_offset_are_strange() -> None:
    log = Log()
    log.offsets["c0:99"] = log.offsets[log.messages[-1]]
    for member in log.members:
        member.add(log.receipt(member, "c0:99", 50.0))
    assert STRANGE in counts(check(log.members))


def test_a_message_that_members_were_shown_at_different_offsets_is_strange_and_has_no_place() -> None:
    log = Log()
    member = log.members[2]
    member.events = [
        Received(e.at_s, e.id, "9000") if isinstance(e, Received) and e.id == log.messages[5] else e
        for e in member.events
    ]
    assert counts(check(log.members)) == {STRANGE: 3}


def test_recovery_under_another_sid_is_strange() -> None:
    log = Log()
    log.members[0].add(Disconnected(40.0, "cut"))
    log.members[0].add(Connected(41.0, "another", recovered=True))
    assert counts(check(log.members)) == {STRANGE: 1}


def test_a_refused_message_is_strange_and_not_expected_anywhere() -> None:
    log = Log()
    log.members[0].add(Sent(50.0, "c0:99"))
    log.members[0].add(Acked(50.1, "c0:99", "not_in_room"))
    assert counts(check(log.members)) == {STRANGE: 1}


def test_spans_of_a_recovering_client_go_on_through_recoveries() -> None:
    log = Log()
    log.interrupt(0, 10.5, 11.5, recovered=True)
    log.interrupt(0, 20.5, 21.5, recovered=False)
    spans = spans_of(log.members[0])
    assert [(span.start_s, span.open) for span in spans] == [(0.5, False), (21.5, True)]


# --- rosters ---------------------------------------------------------------------------------------------------


def test_rosters_that_tell_the_truth_give_nothing() -> None:
    truth = {"A": {"ann", "bob"}, "B": {"cid"}}
    listings = [Listing("node 0", "A", ("bob", "ann")), Listing("node 1", "B", ("cid",)), Listing("x", "C", ())]
    assert find_ghosts(truth, listings) == []


def test_who_is_too_many_too_few_or_twice_in_any_roster_is_a_ghost_each_once() -> None:
    listings = [
        Listing("node 0", "A", ("ann", "bob", "zoe")),
        Listing("node 1", "A", ("ann", "ann", "bob", "zoe")),
        Listing("the userlist of ann", "A", ("ann",)),
    ]
    findings = find_ghosts({"A": {"ann", "bob"}}, listings)
    assert [(finding.kind, finding.client) for finding in findings] == [(GHOST, n) for n in ("ann", "bob", "zoe")]
    assert "node 0, node 1" in findings[2].what


def test_the_truth_is_who_is_connected_under_the_name_it_was_told_last() -> None:
    ann, bob, cid = History("ann", "A"), History("bob", "A"), History("cid", "A")
    for history in (ann, bob, cid):
        history.add(Connected(1.0, "sid", recovered=False))
    ann.nickname = "ann-2"
    bob.add(Disconnected(2.0, "cut"))
    cid.add(Disconnected(2.0, "cut"))
    cid.add(Connected(3.0, "sid", recovered=True))
    assert truth_of([ann, bob, cid]) == {"A": {"ann-2", "cid"}}


# --- the rest ----------------------------------------------------------------------------------------------------


def test_the_line_names_everything_in_an_order_that_stays() -> None:
    log = Log()
    log.forget(0, log.messages[3:5])
    log.interrupt(1, 10.5, 12.5, recovered=True, replayed=True)
    log.unacknowledge(log.messages[7])
    verdict = Verdict.of(7, {"node_kill": 2, "redis_cut": 1}, log.members, check(log.members))
    assert verdict.line == (
        "seed=7 faults=3 messages=30 receipts=118 recovered=1 unknown=1 "
        "lost=2 duplicated=0 reordered=0 unrecovered=0 ghosts=0 strange=0 absent=0"
    )
    assert not verdict.ok
    details = "\n".join(verdict.details())
    assert "lost: 2" in details
    assert log.messages[3] in details
    assert "Connected sid='sid-c0'" in details


@pytest.mark.parametrize("seed", range(50))
def test_two_minutes_have_every_kind_of_fault_and_are_not_exceeded(seed: int) -> None:
    faults = schedule.schedule(seed, 2, nodes=3)
    assert {fault.kind for fault in faults} == set(schedule.KINDS)
    assert sum(fault.pause_s + fault.lasts_s for fault in faults) <= 120 - schedule.LAST_FAULT_BEFORE_S
    assert sum(fault.vanish for fault in faults) == len(schedule.VANISHING_WITH)
    assert all(fault.pause_s >= schedule.REST_S for fault in faults)


def test_a_seed_is_one_schedule() -> None:
    assert schedule.schedule(7, 2, nodes=3) == schedule.schedule(7, 2, nodes=3)
    assert schedule.schedule(7, 2, nodes=3) != schedule.schedule(8, 2, nodes=3)


def test_packets_are_read_as_the_protocol_has_them() -> None:
    assert parse('0{"sid":"s","pid":"p"}') == Welcome({"sid": "s", "pid": "p"})
    assert parse("1") == Goodbye()
    assert parse('2["event",{"a":1},"123"]') == Heard(["event", {"a": 1}, "123"])
    assert parse('217["event"]') == Heard(["event"])
    assert parse('312[{"ok":true}]') == Answered(12, [{"ok": True}])
    assert parse('4{"message":"no"}') == Refusal({"message": "no"})
    with pytest.raises(ValueError, match="expected a Socket"):
        parse("5-[]")
