"""The one place that touches gevent: watchers, timers, greenlets, and a result to wait for.

All of it is the current thread's hub. Nothing here needs monkey patching, and nothing minds it: sockets are
`_socket.socket`, which no patch replaces. A callback of a watcher or timer runs in the hub: it must not block.
"""

from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent.event import AsyncResult
from gevent.hub import get_hub

READ, WRITE = 1, 2


class Watcher(Protocol):
    """A libev watcher; it holds its callback only while it is started."""

    def start(self, callback: Callable[..., None], *args: Any) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Greenlet(Protocol):
    """What `spawn` gives back."""

    def kill(self, exception: type[BaseException] = ..., block: bool = True) -> None: ...


def io(fd: int, events: int) -> Watcher:
    """A watcher of a file descriptor for READ or WRITE, not started."""
    watcher: Watcher = get_hub().loop.io(fd, events)
    return watcher


def timer(after_s: float, every_s: float) -> Watcher:
    """A timer, not started, that keeps no program from ending."""
    watcher: Watcher = get_hub().loop.timer(after_s, every_s, ref=False)
    return watcher


def soon(callback: Callable[..., None], *args: Any) -> None:
    """Calls back in the hub, behind what is running."""
    get_hub().loop.run_callback(callback, *args)


def spawn(function: Callable[[], None]) -> Greenlet:
    """A greenlet of its own."""
    greenlet: Greenlet = gevent.spawn(function)
    return greenlet


def sleep(seconds: float) -> None:
    """Lets others run for so long."""
    gevent.sleep(seconds)


def is_running(greenlet: Greenlet | None) -> bool:
    """Whether it is the caller's own."""
    return greenlet is not None and gevent.getcurrent() is greenlet


def addresses(host: str, port: int) -> list[tuple[Any, ...]]:
    """`getaddrinfo` for TCP, without blocking other greenlets. Raises OSError."""
    found: list[tuple[Any, ...]] = get_hub().resolver.getaddrinfo(host, port, 0, 1)
    return found


def current() -> object:
    """The current thread's hub."""
    return get_hub()


class Outcome:
    """What one greenlet waits for and the hub tells: a value, or an error."""

    __slots__ = ("_result",)

    def __init__(self) -> None:
        self._result = AsyncResult()

    @property
    def known(self) -> bool:
        """Whether it was told."""
        return bool(self._result.ready())

    def tell(self, value: Any = None) -> None:
        """Ends the waiting with a value."""
        self._result.set(value)

    def fail(self, error: BaseException) -> None:
        """Ends the waiting with an error."""
        self._result.set_exception(error)

    def wait(self, timeout_s: float | None) -> Any:
        """The value. Raises the error, or TimeoutError after `timeout_s`."""
        self._result.wait(timeout_s)
        if not self._result.ready():
            raise TimeoutError(f"nothing within {timeout_s:g} s")
        return self._result.get(block=False)
