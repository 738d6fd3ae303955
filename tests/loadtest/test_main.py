"""What `python -m loadtest` gives locust beside what it is given."""

from types import SimpleNamespace
from typing import Any

import pytest

from loadtest import __main__ as main

from .running import environment


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The environment of each locust that was started; none is."""
    found: list[dict[str, str]] = []

    def start(command: list[str], env: dict[str, str]) -> Any:
        found.append(env)
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr(main.subprocess, "Popen", start)
    monkeypatch.setattr(main.os, "environ", environment())
    return found


def test_who_says_nothing_runs_the_headline(ran: list[dict[str, str]]) -> None:
    main.run_locust(["--host", "http://127.0.0.1:9"])
    assert {name: ran[0][name] for name in main.HEADLINE} == main.HEADLINE
    assert ran[0]["LOADTEST_TALK_TIME"] == "30"


@pytest.mark.parametrize("options", [("--shape", "ramp"), ("--shape=ramp",), ("--run-time", "5m"), ("-t", "5m")])
def test_who_says_when_it_ends_is_not_cut_short(ran: list[dict[str, str]], options: tuple[str, ...]) -> None:
    main.run_locust(options)
    assert "LOADTEST_TALK_TIME" not in ran[0]


def test_a_variable_says_it_too(ran: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADTEST_SHAPE", "steps")
    main.run_locust([])
    assert "LOADTEST_TALK_TIME" not in ran[0]
