"""The lines in which the events of one client wait for their turn.

From Python 3.12 on a line's job begins inside `take`; everything here holds either way.
"""

import asyncio
import contextlib
import gc
import logging
import sys

import pytest

from tests.support.eventually import eventually

from .jobs import Jobs, Reading

EAGER = sys.version_info >= (3, 12)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def reading() -> Reading:
    return Reading()


async def idle_turns() -> None:
    """Lets everything that is ready to run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


# --- order ---------------------------------------------------------------------------------------------------


async def test_jobs_of_one_client_run_in_order_one_at_a_time(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=10)
    turns.take("a", jobs.slow("first"))
    turns.take("a", jobs.quick("second"))
    turns.take("a", jobs.quick("third"))
    await jobs.noted("first begins")
    await idle_turns()
    assert jobs.notes == ["first begins"]
    jobs.gates["first"].set()
    await jobs.noted("first begins", "first ends", "second", "third")


async def test_jobs_that_never_wait_run_in_order(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=1000)
    names = [str(number) for number in range(200)]
    for name in names:
        turns.take("a", jobs.promising(name) if name.endswith("7") else jobs.quick(name))
    await jobs.noted(*names)


async def test_a_job_begins_at_once_where_python_lets_it(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=10)
    turns.take("a", jobs.quick("first"))
    assert (jobs.notes == ["first"]) == (not turns._lines) == EAGER
    await jobs.noted("first")


async def test_a_job_that_is_taken_inside_another_runs_behind_it(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=10)

    async def job() -> None:
        jobs.notes.append("first begins")
        turns.take("a", jobs.quick("second"))
        jobs.notes.append("first ends")

    turns.take("a", job)
    await jobs.noted("first begins", "first ends", "second")


async def test_clients_do_not_wait_for_each_other(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=10)
    turns.take("a", jobs.slow("a"))
    turns.take("b", jobs.quick("b"))
    await jobs.noted("a begins", "b")
    jobs.gates["a"].set()
    await jobs.noted("a begins", "b", "a ends")


async def test_a_future_does_not_hold_up_the_next_job(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=10)
    turns.take("a", jobs.promising("first"))
    turns.take("a", jobs.quick("second"))
    await jobs.noted("first", "second")
    assert not jobs.futures["first"].done()


# --- the limit -----------------------------------------------------------------------------------------------


async def test_reading_is_paused_once_at_the_limit_and_resumed_below_it(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=2)
    turns.take("a", jobs.slow("first"))
    assert reading.notes == []
    turns.take("a", jobs.slow("second"))
    assert reading.notes == ["a paused"]
    turns.take("a", jobs.slow("third"))  # it had been read already
    assert reading.notes == ["a paused"]
    await jobs.noted("first begins")
    jobs.gates["first"].set()
    await jobs.noted("first begins", "first ends", "second begins")
    await idle_turns()
    assert reading.notes == ["a paused"]  # two are still to be done
    jobs.gates["second"].set()
    await reading.noted("a paused", "a resumed")
    jobs.gates["third"].set()
    await eventually(lambda: not turns._lines, 2)
    assert reading.notes == ["a paused", "a resumed"]


async def test_reading_that_was_resumed_is_paused_at_the_limit_again(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=2)
    for name in ("first", "second"):
        turns.take("a", jobs.slow(name))
    await jobs.noted("first begins")
    jobs.gates["first"].set()
    await reading.noted("a paused", "a resumed")
    turns.take("a", jobs.quick("third"))
    assert reading.notes == ["a paused", "a resumed", "a paused"]
    jobs.gates["second"].set()
    await reading.noted("a paused", "a resumed", "a paused", "a resumed")


async def test_what_was_taken_over_the_limit_is_handled_in_order(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=1)
    turns.take("a", jobs.slow("first"))
    for name in ("second", "third", "fourth"):
        turns.take("a", jobs.quick(name))
    await jobs.noted("first begins")
    jobs.gates["first"].set()
    await jobs.noted("first begins", "first ends", "second", "third", "fourth")
    await reading.noted("a paused", "a resumed")


async def test_futures_that_are_to_come_count_for_the_limit(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=2)
    turns.take("a", jobs.promising("first"))
    turns.take("a", jobs.promising("second"))
    await jobs.noted("first", "second")
    await idle_turns()
    assert reading.notes == ["a paused"]
    jobs.futures["second"].set_result(None)
    await reading.noted("a paused", "a resumed")
    jobs.futures["first"].set_result(None)
    await eventually(lambda: not turns._lines, 2)


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
async def test_a_future_that_fails_frees_its_place(jobs: Jobs, reading: Reading, end: str) -> None:
    turns = reading.turns(limit=1)
    turns.take("a", jobs.promising("first"))
    await jobs.noted("first")
    assert reading.notes == ["a paused"]
    if end == "fails":
        jobs.futures["first"].set_exception(ValueError("no"))
        jobs.futures["first"].exception()
    else:
        jobs.futures["first"].cancel()
    await reading.noted("a paused", "a resumed")


@pytest.mark.parametrize("kind", ["failing", "cancelled"])
async def test_a_job_that_fails_frees_its_place(jobs: Jobs, reading: Reading, kind: str) -> None:
    turns = reading.turns(limit=1)
    turns.take("a", getattr(jobs, kind)("first"))
    await reading.noted("a paused", "a resumed")
    assert jobs.notes == ["first"]


async def test_the_limit_of_one_client_does_not_pause_another(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=2)
    turns.take("a", jobs.slow("a"))
    turns.take("a", jobs.quick("a again"))
    turns.take("b", jobs.quick("b"))
    await jobs.noted("a begins", "b")
    assert reading.notes == ["a paused"]
    jobs.gates["a"].set()
    await jobs.noted("a begins", "b", "a ends", "a again")


# --- failing -------------------------------------------------------------------------------------------------


async def test_a_failing_job_is_logged_and_does_not_end_the_line(
    jobs: Jobs, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    turns = reading.turns(limit=10)
    with caplog.at_level(logging.ERROR):
        turns.take("a", jobs.failing("first"))
        turns.take("a", jobs.quick("second"))
        await jobs.noted("first", "second")
        turns.take("a", jobs.quick("third"))
        await jobs.noted("first", "second", "third")
    assert "first is wrong" in caplog.text


@pytest.mark.parametrize("ahead", ["nothing", "a job that waits"])
async def test_a_job_that_meets_a_cancelled_future_does_not_end_the_line(
    jobs: Jobs, reading: Reading, ahead: str
) -> None:
    turns = reading.turns(limit=10)
    expected: list[str] = []
    if ahead != "nothing":
        turns.take("a", jobs.slow("waiting"))
        jobs.gates["waiting"].set()
        expected = ["waiting begins", "waiting ends"]
    turns.take("a", jobs.cancelled("first"))
    turns.take("a", jobs.quick("second"))
    await jobs.noted(*expected, "first", "second")


# --- take_last -----------------------------------------------------------------------------------------------


async def test_take_last_runs_behind_the_others_and_waits(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=10)
    turns.take("a", jobs.slow("first"))
    last = asyncio.create_task(turns.take_last("a", jobs.slow("last")))
    await jobs.noted("first begins")
    jobs.gates["first"].set()
    await jobs.noted("first begins", "first ends", "last begins")
    assert not last.done()
    jobs.gates["last"].set()
    await asyncio.wait_for(last, 2)
    assert jobs.notes[-1] == "last ends"


async def test_take_last_does_not_wait_for_the_limit_nor_for_futures(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=1)
    turns.take("a", jobs.promising("first"))
    await jobs.noted("first")
    await asyncio.wait_for(turns.take_last("a", jobs.quick("last")), 2)
    assert jobs.notes == ["first", "last"]
    jobs.futures["first"].set_result(None)


async def test_take_last_of_an_idle_client_runs_at_once(jobs: Jobs, reading: Reading) -> None:
    await reading.turns(limit=1).take_last("a", jobs.quick("last"))
    assert jobs.notes == ["last"]
    assert reading.notes == []


@pytest.mark.parametrize("waits", [False, True])
async def test_take_last_from_within_a_job_runs_inline(jobs: Jobs, reading: Reading, waits: bool) -> None:
    turns = reading.turns(limit=10)

    async def job() -> None:
        jobs.notes.append("before")
        if waits:
            await idle_turns()
        await turns.take_last("a", jobs.quick("last"))
        jobs.notes.append("after")

    turns.take("a", job)
    turns.take("a", jobs.quick("next"))
    await jobs.noted("before", "last", "after", "next")


async def test_take_last_returns_when_its_job_fails(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=10)
    turns.take("a", jobs.slow("first"))
    last = asyncio.create_task(turns.take_last("a", jobs.failing("last")))
    await jobs.noted("first begins")
    jobs.gates["first"].set()
    with contextlib.suppress(ValueError):
        await asyncio.wait_for(last, 2)
    assert jobs.notes[-1] == "last"


async def test_take_last_whose_caller_is_cancelled_still_runs_and_logs_nothing(
    jobs: Jobs, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    turns = reading.turns(limit=10)
    turns.take("a", jobs.slow("first"))
    last = asyncio.create_task(turns.take_last("a", jobs.quick("last")))
    await jobs.noted("first begins")
    await idle_turns()  # `last` stands in the line
    last.cancel()
    await asyncio.wait({last})
    jobs.gates["first"].set()
    await jobs.noted("first begins", "first ends", "last")
    await idle_turns()
    assert "Traceback" not in caplog.text


# --- idle lines ----------------------------------------------------------------------------------------------


async def test_idle_lines_vanish(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=10)
    for number in range(100):
        turns.take(f"client {number}", jobs.quick("job"))
    turns.take("promising", jobs.promising("promise"))
    turns.take("failing", jobs.failing("failure"))
    turns.take("waiting", jobs.slow("waiting"))
    await eventually(lambda: set(turns._lines) == {"promising", "waiting"}, 2)
    jobs.futures["promise"].set_result(None)
    jobs.gates["waiting"].set()
    await eventually(lambda: not turns._lines, 2)
    gc.collect()
    assert not [task for task in asyncio.all_tasks() if "_work" in repr(task)]


async def test_a_line_that_vanished_begins_anew(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=1)
    for name in ("first", "second", "third"):
        turns.take("a", jobs.quick(name))
        await eventually(lambda: not turns._lines, 2, every_s=0.001)
    assert jobs.notes == ["first", "second", "third"]
    assert reading.notes == ["a paused", "a resumed"] * 3


async def test_a_line_whose_future_is_to_come_goes_on_with_the_next_job(jobs: Jobs, reading: Reading) -> None:
    turns = reading.turns(limit=10)
    turns.take("a", jobs.promising("first"))
    await jobs.noted("first")
    await idle_turns()  # the line is idle now, but for what is to come
    turns.take("a", jobs.slow("second"))
    await jobs.noted("first", "second begins")
    jobs.futures["first"].set_result(None)
    await idle_turns()
    turns.take("a", jobs.quick("third"))
    await idle_turns()
    assert jobs.notes == ["first", "second begins"]
    jobs.gates["second"].set()
    await jobs.noted("first", "second begins", "second ends", "third")
