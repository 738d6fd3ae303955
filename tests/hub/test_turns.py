"""The lines in which the events of one client wait for their turn."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable

import pytest

from app.hub.turns import Turns
from tests.support.eventually import eventually


class Jobs:
    """Jobs that note when they begin and end, and wait until the test lets them go on."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.futures: dict[str, asyncio.Future[None]] = {}

    def quick(self, name: str) -> Callable[[], object]:
        """Ends at once."""

        async def job() -> None:
            self.notes.append(name)

        return job

    def slow(self, name: str) -> Callable[[], object]:
        """Ends when `gates[name]` is set."""
        gate = self.gates[name] = asyncio.Event()

        async def job() -> None:
            self.notes.append(f"{name} begins")
            await gate.wait()
            self.notes.append(f"{name} ends")

        return job

    def promising(self, name: str) -> Callable[[], object]:
        """Ends at once, with a future that `futures[name]` is."""

        async def job() -> asyncio.Future[None]:
            self.notes.append(name)
            self.futures[name] = asyncio.get_running_loop().create_future()
            return self.futures[name]

        return job

    def failing(self, name: str) -> Callable[[], object]:
        """Raises."""

        async def job() -> None:
            self.notes.append(name)
            raise ValueError(f"{name} is wrong")

        return job

    async def noted(self, *notes: str) -> None:
        """Waits until exactly these notes are there."""
        await eventually(lambda: self.notes == list(notes), 2, every_s=0.001, message=f"notes {notes}")


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


async def idle_turns() -> None:
    """Lets everything that is ready to run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_jobs_of_one_client_run_in_order_one_at_a_time(jobs: Jobs) -> None:
    turns = Turns(limit=10)
    await turns.take("a", jobs.slow("first"))
    await turns.take("a", jobs.quick("second"))
    await turns.take("a", jobs.quick("third"))
    await jobs.noted("first begins")
    await idle_turns()
    assert jobs.notes == ["first begins"]
    jobs.gates["first"].set()
    await jobs.noted("first begins", "first ends", "second", "third")


async def test_clients_do_not_wait_for_each_other(jobs: Jobs) -> None:
    turns = Turns(limit=10)
    await turns.take("a", jobs.slow("a"))
    await turns.take("b", jobs.quick("b"))
    await jobs.noted("a begins", "b")
    jobs.gates["a"].set()
    await jobs.noted("a begins", "b", "a ends")


async def test_a_future_does_not_hold_up_the_next_job(jobs: Jobs) -> None:
    turns = Turns(limit=10)
    await turns.take("a", jobs.promising("first"))
    await turns.take("a", jobs.quick("second"))
    await jobs.noted("first", "second")
    assert not jobs.futures["first"].done()


async def test_at_the_limit_take_waits_until_one_job_has_ended(jobs: Jobs) -> None:
    turns = Turns(limit=2)
    await turns.take("a", jobs.slow("first"))
    await turns.take("a", jobs.slow("second"))
    third = asyncio.create_task(turns.take("a", jobs.quick("third")))
    await jobs.noted("first begins")
    await idle_turns()
    assert not third.done()
    jobs.gates["first"].set()
    await asyncio.wait_for(third, 2)
    jobs.gates["second"].set()
    await jobs.noted("first begins", "first ends", "second begins", "second ends", "third")


async def test_futures_that_are_to_come_count_for_the_limit(jobs: Jobs) -> None:
    turns = Turns(limit=2)
    await turns.take("a", jobs.promising("first"))
    await turns.take("a", jobs.promising("second"))
    third = asyncio.create_task(turns.take("a", jobs.quick("third")))
    await jobs.noted("first", "second")
    await idle_turns()
    assert not third.done()
    jobs.futures["second"].set_result(None)
    await asyncio.wait_for(third, 2)
    await jobs.noted("first", "second", "third")


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
async def test_a_future_that_fails_frees_its_place(jobs: Jobs, end: str) -> None:
    turns = Turns(limit=1)
    await turns.take("a", jobs.promising("first"))
    second = asyncio.create_task(turns.take("a", jobs.quick("second")))
    await jobs.noted("first")
    if end == "fails":
        jobs.futures["first"].set_exception(ValueError("no"))
        jobs.futures["first"].exception()
    else:
        jobs.futures["first"].cancel()
    await asyncio.wait_for(second, 2)
    await jobs.noted("first", "second")


async def test_the_limit_of_one_client_does_not_pause_another(jobs: Jobs) -> None:
    turns = Turns(limit=1)
    await turns.take("a", jobs.slow("a"))
    blocked = asyncio.create_task(turns.take("a", jobs.quick("a again")))
    await asyncio.wait_for(turns.take("b", jobs.quick("b")), 2)
    await jobs.noted("a begins", "b")
    assert not blocked.done()
    jobs.gates["a"].set()
    await blocked


async def test_all_who_wait_for_room_get_it(jobs: Jobs) -> None:
    turns = Turns(limit=1)
    await turns.take("a", jobs.slow("first"))
    waiting = [asyncio.create_task(turns.take("a", jobs.quick("more"))) for _ in range(3)]
    await jobs.noted("first begins")
    jobs.gates["first"].set()
    await asyncio.wait_for(asyncio.gather(*waiting), 2)
    await jobs.noted("first begins", "first ends", "more", "more", "more")


async def test_a_failing_job_is_logged_and_does_not_end_the_line(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    turns = Turns(limit=2)
    with caplog.at_level(logging.ERROR):
        await turns.take("a", jobs.failing("first"))
        await turns.take("a", jobs.quick("second"))
        await jobs.noted("first", "second")
        await asyncio.wait_for(turns.take("a", jobs.quick("third")), 2)
        await jobs.noted("first", "second", "third")
    assert "first is wrong" in caplog.text


async def _cancelled(jobs: Jobs) -> None:
    """A job that waits for something which is cancelled: the job's own task is not."""
    jobs.notes.append("first")
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    lost.cancel()
    await lost


async def test_a_job_that_meets_a_cancelled_future_does_not_end_the_line(jobs: Jobs) -> None:
    turns = Turns(limit=2)
    await turns.take("a", lambda: _cancelled(jobs))
    await turns.take("a", jobs.quick("second"))
    await jobs.noted("first", "second")


async def test_take_last_runs_behind_the_others_and_waits(jobs: Jobs) -> None:
    turns = Turns(limit=10)
    await turns.take("a", jobs.slow("first"))
    last = asyncio.create_task(turns.take_last("a", jobs.slow("last")))
    await jobs.noted("first begins")
    jobs.gates["first"].set()
    await jobs.noted("first begins", "first ends", "last begins")
    assert not last.done()
    jobs.gates["last"].set()
    await asyncio.wait_for(last, 2)
    assert jobs.notes[-1] == "last ends"


async def test_take_last_does_not_wait_for_the_limit_nor_for_futures(jobs: Jobs) -> None:
    turns = Turns(limit=1)
    await turns.take("a", jobs.promising("first"))
    await jobs.noted("first")
    await asyncio.wait_for(turns.take_last("a", jobs.quick("last")), 2)
    assert jobs.notes == ["first", "last"]
    jobs.futures["first"].set_result(None)


async def test_take_last_of_an_idle_client_runs_at_once(jobs: Jobs) -> None:
    await Turns(limit=1).take_last("a", jobs.quick("last"))
    assert jobs.notes == ["last"]


async def test_take_last_from_within_a_job_runs_inline(jobs: Jobs) -> None:
    turns = Turns(limit=10)

    async def job() -> None:
        jobs.notes.append("before")
        await turns.take_last("a", jobs.quick("last"))
        jobs.notes.append("after")

    await turns.take("a", job)
    await turns.take("a", jobs.quick("next"))
    await jobs.noted("before", "last", "after", "next")


async def test_take_last_returns_when_its_job_fails(jobs: Jobs) -> None:
    turns = Turns(limit=10)
    await turns.take("a", jobs.slow("first"))
    last = asyncio.create_task(turns.take_last("a", jobs.failing("last")))
    await jobs.noted("first begins")
    jobs.gates["first"].set()
    with contextlib.suppress(ValueError):
        await asyncio.wait_for(last, 2)
    assert jobs.notes[-1] == "last"


async def test_take_last_whose_caller_is_cancelled_still_runs_and_logs_nothing(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    turns = Turns(limit=10)
    await turns.take("a", jobs.slow("first"))
    last = asyncio.create_task(turns.take_last("a", jobs.quick("last")))
    await jobs.noted("first begins")
    last.cancel()
    await asyncio.wait({last})
    jobs.gates["first"].set()
    await jobs.noted("first begins", "first ends", "last")
    await idle_turns()
    assert "Traceback" not in caplog.text


async def test_idle_lines_vanish(jobs: Jobs) -> None:
    turns = Turns(limit=10)
    for number in range(100):
        await turns.take(f"client {number}", jobs.quick("job"))
    await turns.take("promising", jobs.promising("promise"))
    await turns.take("failing", jobs.failing("failure"))
    await eventually(lambda: set(turns._lines) == {"promising"}, 2)
    jobs.futures["promise"].set_result(None)
    await eventually(lambda: not turns._lines, 2)
    gc.collect()
    assert not [task for task in asyncio.all_tasks() if "_work" in repr(task)]


async def test_a_line_that_vanished_begins_anew(jobs: Jobs) -> None:
    turns = Turns(limit=1)
    for name in ("first", "second", "third"):
        await asyncio.wait_for(turns.take("a", jobs.quick(name)), 2)
        await eventually(lambda: not turns._lines, 2, every_s=0.001)
    assert jobs.notes == ["first", "second", "third"]
