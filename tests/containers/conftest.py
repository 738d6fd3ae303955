"""One stack for all tests here: starting it takes half a minute."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chat.conftest import js, js_process, room

from .stack import Stack

__all__ = ["js", "js_process", "room"]


SAID = pytest.StashKey[list[str]]()  # what a run shows in the end, of tests that passed too


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SAID] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[SAID]:
        terminalreporter.write_line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.containers)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Three nodes behind nginx and haproxy. None of them logs a traceback."""
    with Stack(tmp_path_factory.mktemp("containers")) as stack:
        yield stack
        logs = stack.logs()
    assert "Traceback" not in logs, logs[-5000:]
