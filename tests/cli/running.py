"""Runs `clusterkit` as people do, as a process, and watches what it says.

What it must say is in the tests.
"""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
STUB = "tests.cli.stub_app:create_app"
LIMIT_S = 15.0
POLL_S = 0.02
T = TypeVar("T")


def eventually(look: Callable[[], T | None], limit_s: float = LIMIT_S) -> T:
    """What `look()` returns once that is true; fails when it is not within `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {limit_s:g} s"
        time.sleep(POLL_S)
    return found


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on."""
    while True:
        # Below the range from which the kernel takes ports for outgoing connections.
        first = random.randrange(20_000, 32_000)
        if all(is_free(port) for port in range(first, first + count)):
            return first


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_running(pid: int) -> bool:
    """Whether the process exists and is more than an entry that nobody has collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def get(url: str) -> Any:
    with urlopen(url, timeout=5) as answer:
        return json.load(answer)


def status_of(url: str) -> int:
    try:
        with urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0


class Running:
    """One running command."""

    def __init__(self, command: list[str], env: dict[str, str], output: Path) -> None:
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(env),
                cwd=output.parent,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self._output.read_text()

    def says(self, pattern: str) -> re.Match[str]:
        """Waits for a line that matches."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.text, re.MULTILINE)
            assert found or self.process.poll() is None, self.text
            return found

        try:
            return eventually(look)
        except AssertionError:
            raise AssertionError(f"expected {pattern!r}, got:\n{self.text}") from None

    def pids(self) -> list[int]:
        """Of all processes it has said that it started."""
        return [int(pid) for pid in re.findall(r"started.*\(pid (\d+)\)", self.text)]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stops it and returns its exit code."""
        self.send(number)
        return self.exit_code()

    def exit_code(self) -> int:
        return self.process.wait(LIMIT_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def environment(env: dict[str, str]) -> dict[str, str]:
    """This process' environment without settings, with the checkout on the path, and `env` over it."""
    ours = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return ours | {"PYTHONPATH": str(ROOT)} | env


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", *arguments]
