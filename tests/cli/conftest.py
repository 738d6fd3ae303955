"""Fixtures of the command line's tests: commands that run, ports and a Redis for them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.machine import find_redis_server, lacking

from .running import STUB, Running, command, eventually, free_ports, is_running

NODES = 2

Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command with an environment; at the end of the test nothing of it is left."""
    running: list[Running] = []

    def start(arguments: list[str], **env: str) -> Running:
        running.append(Running(arguments, env, tmp_path / f"output-{len(running)}"))
        return running[-1]

    yield start
    for one in running:
        one.kill()
        for pid in one.pids():
            eventually(lambda pid=pid: not is_running(pid))  # type: ignore[misc]


@pytest.fixture
def up(start: Start, redis_program: str, port: int) -> Start:
    """Starts `clusterkit up` with the stub app and two nodes on free ports."""

    def up(**env: str) -> Running:
        return start(command("up", "--app", STUB), PORT=str(port), NODES=str(NODES), **env)

    return up


@pytest.fixture
def serve(start: Start, port: int) -> Start:
    """Starts `clusterkit serve` with the stub app on a free port, and on the next alone."""

    def serve(own_port: int = port + 1, **env: str) -> Running:
        return start(command("serve", "--own-port", str(own_port), "--app", STUB), PORT=str(port), **env)

    return serve


@pytest.fixture
def port() -> int:
    return free_ports(NODES + 1)


@pytest.fixture(scope="session")
def redis_program() -> str:
    return str(find_redis_server())


@pytest.fixture(scope="session")
def make() -> str:
    found = shutil.which("make")
    if not found:
        raise lacking("make", "install it")
    return found
