"""A time limit for every test, so that a hang is a failure that shows where it hangs.

SIGALRM interrupts even a blocked event loop. What shows in the failure is each asyncio task with the chain of
awaits it is suspended in.
"""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

# A phase (setup, call, teardown) that takes longer hangs; `@pytest.mark.time_limit(seconds)` overrides it.
DEFAULT_LIMIT_S = 60.0

TASKS_SHOWN = 20


@contextlib.contextmanager
def time_limit(item: pytest.Item) -> Iterator[None]:
    """Fail the running phase of `item` when it takes longer than its limit. Main thread only."""
    mark = item.get_closest_marker("time_limit")
    limit_s = float(mark.args[0]) if mark is not None else DEFAULT_LIMIT_S

    def expire(_: int, __: FrameType | None) -> None:
        raise pytest.fail.Exception(f"it took longer than {limit_s} s\n{_what_is_awaited()}", pytrace=False)

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _what_is_awaited() -> str:
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return "(no event loop is running)"
    shown = [f"{task.get_name()}: {' > '.join(_awaits(task.get_coro()))}" for task in tasks]
    return "\n".join(sorted(shown)[:TASKS_SHOWN])


def _awaits(awaited: Any) -> Iterator[str]:
    while frame := getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None):
        yield f"{frame.f_code.co_qualname} ({frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno})"
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
