"""Waiting for a fact without sleeping for a guess: poll with a deadline, and say what was last seen.

Both functions take a *condition*: a callable without arguments, sync or async. It holds when it returns
something truthy. A condition that only asserts is annotated `-> None`, and holds when it returns at all;
without that annotation None is "not yet", as in `lambda: found.get(key)`. `AssertionError` means "does not
hold"; any other exception is a bug in the condition and is raised at once.
"""

import asyncio
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Condition = Callable[[], Any]  # may return an awaitable


@dataclass(frozen=True, slots=True)
class Look:
    """One evaluation of a condition: whether it held, what it returned, why it did not hold."""

    held: bool
    value: Any = None
    why: str = ""


async def eventually(condition: Condition, within_s: float = 5.0, every_s: float = 0.02, message: str = "") -> Any:
    """Poll `condition` every `every_s` seconds until it holds, and return its value.

    Raises AssertionError after `within_s` seconds, with `message` and the last value or assertion. A
    condition that never answers (an await on a stopped Redis) is cut off at the deadline, too.
    """
    started = time.monotonic()
    looks = 0
    last = Look(held=False, why="it never answered")
    try:
        async with asyncio.timeout(within_s) as deadline:
            while not last.held:
                last = await _look(condition)
                looks += 1
                if not last.held:
                    await asyncio.sleep(every_s)
    except TimeoutError:
        if not deadline.expired():
            raise
        waited_s = time.monotonic() - started
        raise AssertionError(
            f"{message or _name(condition)}: not within {waited_s:.1f} s ({looks} looks); last: {last.why}"
        ) from None
    return last.value


async def steadily(condition: Condition, for_s: float, every_s: float = 0.02, message: str = "") -> None:
    """Assert that `condition` holds at every look for `for_s` seconds; the first look is at once.

    Raises AssertionError at the first look where it does not hold, with the time and what was seen.
    """
    started = time.monotonic()
    while True:
        look = await _look(condition)
        passed_s = time.monotonic() - started
        if not look.held:
            raise AssertionError(
                f"{message or _name(condition)}: held for {passed_s:.2f} s of {for_s} s; then: {look.why}"
            )
        if passed_s >= for_s:
            return
        await asyncio.sleep(min(every_s, for_s - passed_s))


async def _look(condition: Condition) -> Look:
    try:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
    except AssertionError as error:
        return Look(held=False, why=f"AssertionError: {error}")
    if value is None and _only_asserts(condition):
        return Look(held=True)
    hint = " (a condition that only asserts is annotated `-> None`)" if value is None else ""
    return Look(held=bool(value), value=value, why=f"{value!r}{hint}")


def _only_asserts(condition: Callable[[], object]) -> bool:
    annotations = getattr(condition, "__annotations__", {})
    return "return" in annotations and annotations["return"] in (None, "None")


def _name(condition: Callable[[], object]) -> str:
    return getattr(condition, "__qualname__", repr(condition))
