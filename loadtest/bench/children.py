"""The processes of a run: started pinned to a core, in sessions of their own, and ended whatever happens.

Only processes started here are ever signalled, by their id. What they are is `contenders.py`'s and
`redis_server.py`'s.
"""

import ctypes
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

ROOT = Path(__file__).resolve().parents[2]
READY_LIMIT_S = 20.0
END_LIMIT_S = 3.0
READY_POLL_S = 0.02
LOG_SHOWN_CHARS = 2000
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")


class ChildFailed(Exception):
    """A process did not become ready, or ended before its time; with the end of its log."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs: on which core, and, above 0, ahead of everybody else there (which needs root)."""

    core: int
    realtime: int = 0


class Child:
    """One process; a context manager that ends it."""

    def __init__(self, name: str, command: list[str], place: Place, env: Mapping[str, str]) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile(prefix=f"bench-{name}-")  # noqa: SIM115 (closed in `end`)
        self.process = spawn(command, place, env, self._log, subprocess.STDOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Raises ChildFailed where it is not ready in time, or ends."""
        deadline_s = time.monotonic() + READY_LIMIT_S
        while not ready():
            if self.process.poll() is not None:
                raise ChildFailed(f"{self.name} ended with status {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline_s:
                raise ChildFailed(f"{self.name} was not ready within {READY_LIMIT_S:g} s:\n{self.log()}")
            time.sleep(READY_POLL_S)

    def log(self) -> str:
        """The end of what it has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-LOG_SHOWN_CHARS:]

    def end(self) -> None:
        """Kills it: what a contender does when it is told to stop is not measured here."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(END_LIMIT_S)
        self._log.close()


def spawn(
    command: list[str], place: Place, env: Mapping[str, str], output: IO[bytes] | int, errors: int
) -> subprocess.Popen[bytes]:
    """A process pinned to a core, which the kernel ends should the bench die without ending it."""

    def prepare() -> None:
        os.sched_setaffinity(0, {place.core})
        if place.realtime:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(place.realtime))
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        cwd=ROOT,
        env=environment(env),
        start_new_session=True,  # Ctrl-C is for the bench alone, which then ends them in order
        preexec_fn=prepare,
    )


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The little of this process' environment that a contender needs, and `env` over it."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(env)


def answers(port: int, path: str) -> bool:
    """Whether an HTTP server on 127.0.0.1 answers 200."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            probe.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            return probe.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
