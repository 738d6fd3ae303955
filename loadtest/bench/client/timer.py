"""A timer that can be waited for together with sockets: Linux' timerfd, which Python has from 3.13 on only.

An epoll's own timeout is rounded to whole milliseconds, too coarse for a thousand messages a second.
"""

import ctypes
import os
import time

TFD_NONBLOCK = 0o4000
TFD_TIMER_ABSTIME = 1
NS_PER_S = 1_000_000_000
_libc = ctypes.CDLL(None, use_errno=True)


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("first", _Time))


class Timer:
    """Becomes readable at `first_ns` of `time.monotonic_ns` and every `interval_ns` from then on."""

    def __init__(self, first_ns: int, interval_ns: int) -> None:
        self.fd = _libc.timerfd_create(time.CLOCK_MONOTONIC, TFD_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        setting = _Setting(_Time(*divmod(interval_ns, NS_PER_S)), _Time(*divmod(first_ns, NS_PER_S)))
        if _libc.timerfd_settime(self.fd, TFD_TIMER_ABSTIME, ctypes.byref(setting), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def acknowledge(self) -> None:
        """Makes it unreadable until it goes off again; to be called when it is readable."""
        os.read(self.fd, 8)

    def close(self) -> None:
        """Gives it back."""
        os.close(self.fd)
