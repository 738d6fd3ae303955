"""What `missed_read` finds behind a clock: all of it, the first of it, too much, or that some is gone."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from app.store.scripts import script
from app.wire import RoomId, event_packet
from tests.store.appending import ATTIC, DEN, Appending, appending, argument
from tests.support.redis_server import RedisServer

PAGE = 64  # entries that the script reads at once
PLENTY = 1_000_000


@pytest.fixture
async def writing(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[Appending]:
    async with appending(redis_server, key_prefix) as made:
        made.plant_member(DEN, ATTIC)
        yield made


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one log."""

    word: str
    last: int | None = None
    clocks: tuple[int, ...] = ()
    values: tuple[Any, ...] = ()


async def missed(
    writing: Appending,
    *logs: tuple[RoomId, int],
    entries: int = 1000,
    most: int | None = None,
    bytes_: int = PLENTY,
) -> tuple[int, list[Found]]:
    """The clock now, and of each room's log what is behind a clock."""
    keys = [writing.keys.clock]
    for room, _ in logs:
        keys += (writing.keys.room(room).log, writing.keys.room(room).last)
    args = [entries, "" if most is None else most, bytes_, *(behind for _, behind in logs)]
    clock, *answers = await writing.store.run(script("missed_read"), keys, args)
    return int(clock), [found(*answer) for answer in answers]


def found(word: bytes, *rest: bytes) -> Found:
    if not rest:
        return Found(word.decode())
    last, *read = rest
    values = tuple(argument(body.decode()) for body in read[1::2])
    return Found(word.decode(), int(last), tuple(map(int, read[::2])), values)


async def of_den(writing: Appending, behind: int, **limits: Any) -> Found:
    _, (only,) = await missed(writing, (DEN, behind), **limits)
    return only


async def spoken(writing: Appending, count: int, room: RoomId = DEN) -> list[int]:
    """The clocks of so many entries, which say 0, 1, 2..."""
    return [await writing.append(number, room) for number in range(count)]


# --- all of it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 5, PAGE, PAGE + 1, 3 * PAGE])
async def test_all_entries_behind_a_clock_are_the_tail(writing: Appending, count: int) -> None:
    before = await writing.append("before")
    clocks = await spoken(writing, count)
    expected = Found("tail", clocks[-1], tuple(clocks), tuple(range(count)))
    assert await of_den(writing, before) == expected
    assert await of_den(writing, before, entries=count) == expected
    assert await of_den(writing, before, most=count) == expected
    assert await of_den(writing, clocks[0] - 1) == expected, "no log has an entry at that clock"


async def test_a_log_is_read_from_its_beginning_behind_the_clock_0(writing: Appending) -> None:
    clocks = await spoken(writing, 3)
    assert (await of_den(writing, 0)).clocks == tuple(clocks)


@pytest.mark.parametrize("ahead_us", [0, 1, 10**9])
async def test_behind_the_newest_entry_there_is_nothing(writing: Appending, ahead_us: int) -> None:
    clocks = await spoken(writing, 3)
    assert await of_den(writing, clocks[-1] + ahead_us) == Found("tail", clocks[-1])


@pytest.mark.parametrize("behind", [0, 10**15])
async def test_a_log_that_was_never_written_to_has_nothing(writing: Appending, behind: int) -> None:
    assert await of_den(writing, behind) == Found("tail", 0)


async def test_the_clock_now_comes_first_and_is_no_older_than_any_entry(writing: Appending) -> None:
    assert await missed(writing) == (0, [])
    (entry,) = await spoken(writing, 1)
    clock, _ = await missed(writing, (DEN, 0))
    assert clock == entry
    newer = await writing.append("elsewhere", ATTIC)
    clock, _ = await missed(writing, (DEN, 0))
    assert clock == newer


async def test_each_log_is_read_behind_a_clock_of_its_own_and_answered_in_its_place(writing: Appending) -> None:
    den, attic = await spoken(writing, 3), await spoken(writing, 4, ATTIC)
    both = await writing.log.append_to_rooms([DEN, ATTIC], event_packet("/", "said", "both"))
    _, answers = await missed(writing, (ATTIC, attic[2]), (RoomId("/", "empty"), 5), (DEN, den[0]))
    assert answers == [
        Found("tail", both, (attic[3], both), (3, "both")),
        Found("tail", 0),
        Found("tail", both, (den[1], den[2], both), (1, 2, "both")),
    ]


# --- the first of it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "entries"), [(5, 2), (2 * PAGE + 5, PAGE), (2 * PAGE + 5, PAGE + 3), (5, 1)])
async def test_more_than_was_asked_for_comes_in_parts_that_together_are_the_tail(
    writing: Appending, count: int, entries: int
) -> None:
    clocks, behind = await spoken(writing, count), 0
    got: list[int] = []
    while (part := await of_den(writing, behind, entries=entries)).word == "part":
        assert (part.last, len(part.clocks)) == (clocks[-1], entries)
        got += part.clocks
        behind = got[-1]
    assert part.word == "tail"
    assert got + list(part.clocks) == clocks


async def test_a_part_ends_with_the_entry_that_fills_the_bytes(writing: Appending) -> None:
    clocks = [await writing.append("x" * 1000) for _ in range(10)]
    assert (await of_den(writing, 0, bytes_=2500)).clocks == tuple(clocks[:3])
    assert (await of_den(writing, 0, bytes_=1)).clocks == (clocks[0],), "one at least"
    assert (await of_den(writing, clocks[-2], bytes_=1)).word == "tail"


async def test_each_log_returns_as_many_bytes_as_were_asked_for_and_what_fills_them(writing: Appending) -> None:
    rooms = [RoomId("/", f"room {number}") for number in range(8)]
    writing.plant_member(*rooms)
    for room in rooms:
        for _ in range(5):
            await writing.append("x" * 1000, room)
    _, answers = await missed(writing, *((room, 0) for room in rooms), bytes_=3000)
    assert [len(answer.values) for answer in answers] == [3] * len(rooms)


# --- too much ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [1, 3, PAGE + 2])
async def test_more_than_there_may_be_is_said_instead_of_a_part(writing: Appending, entries: int) -> None:
    count = 2 * PAGE + 5
    await spoken(writing, count)
    assert await of_den(writing, 0, entries=entries, most=count - 1) == Found("many")
    assert (await of_den(writing, 0, entries=entries, most=count)).word == "part"
    assert (await of_den(writing, 0, entries=entries)).word == "part"


async def test_more_than_there_may_be_is_said_instead_of_the_tail(writing: Appending) -> None:
    await spoken(writing, 5)
    assert await of_den(writing, 0, entries=128, most=4) == Found("many")


async def test_the_limit_is_for_all_logs_together(writing: Appending) -> None:
    den = await spoken(writing, 9)
    attic = await spoken(writing, 2, ATTIC)
    for most in (11, 12):
        _, answers = await missed(writing, (DEN, 0), (ATTIC, 0), entries=2, most=most)
        assert answers[1] == Found("tail", attic[-1], tuple(attic), (0, 1))
        assert (answers[0].word, answers[0].clocks) == ("part", tuple(den[:2]))
    for most, first in ((10, "part"), (9, "part"), (8, "many"), (1, "many")):
        _, answers = await missed(writing, (DEN, 0), (ATTIC, 0), entries=2, most=most)
        assert [each.word for each in answers] == [first, "many"]


# --- some of it is gone ------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [0, 2, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE - 1], ids=lambda gone: f"entry {gone}")
async def test_an_entry_that_is_gone_is_noticed_wherever_it_was(writing: Appending, gone: int) -> None:
    before = await writing.append("before")
    clocks = await spoken(writing, 2 * PAGE)
    writing.redis.command("XDEL", writing.keys.room(DEN).log, f"{clocks[gone]}-0")
    assert await of_den(writing, before) == Found("lost")
    if gone + 1 < len(clocks):
        assert (await of_den(writing, clocks[gone])).word == "tail", "it was not missed"


async def test_an_entry_that_is_gone_behind_a_part_is_noticed_with_the_part_that_has_it(
    writing: Appending,
) -> None:
    clocks = await spoken(writing, 6)
    writing.redis.command("XDEL", writing.keys.room(DEN).log, f"{clocks[4]}-0")
    assert (await of_den(writing, 0, entries=3)).clocks == tuple(clocks[:3])
    assert await of_den(writing, clocks[2], entries=3) == Found("lost")


async def test_a_log_that_was_cut_off_is_whole_for_who_has_what_is_gone(writing: Appending) -> None:
    clocks = await spoken(writing, 10)
    writing.redis.command("XTRIM", writing.keys.room(DEN).log, "MINID", f"{clocks[4]}-0")
    assert await of_den(writing, clocks[2]) == Found("lost")
    assert (await of_den(writing, clocks[3])).clocks == tuple(clocks[4:])


async def test_a_log_that_is_gone_whole_is_lost(writing: Appending) -> None:
    clocks = await spoken(writing, 3)
    writing.redis.command("DEL", writing.keys.room(DEN).log)
    assert await of_den(writing, 0) == Found("lost")
    assert await of_den(writing, clocks[-1]) == Found("tail", clocks[-1])


async def test_what_is_lost_in_one_log_is_said_of_that_one_alone(writing: Appending) -> None:
    clocks = await spoken(writing, 3)
    attic = await spoken(writing, 2, ATTIC)
    writing.redis.command("XDEL", writing.keys.room(DEN).log, f"{clocks[1]}-0")
    _, answers = await missed(writing, (DEN, 0), (ATTIC, 0))
    assert answers == [Found("lost"), Found("tail", attic[-1], tuple(attic), (0, 1))]
