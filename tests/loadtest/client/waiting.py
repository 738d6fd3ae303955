"""Waiting for a fact while the hub runs: `tests.support.eventually` for greenlets."""

import time
from collections.abc import Callable
from typing import TypeVar

import gevent

T = TypeVar("T")
WITHIN_S = 10.0
EVERY_S = 0.005


def until(look: Callable[[], T], within_s: float = WITHIN_S) -> T:
    """What `look()` returns once that is true. Raises AssertionError when it is not in time."""
    deadline_s = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s; last: {found!r}"
        gevent.sleep(EVERY_S)
    return found
