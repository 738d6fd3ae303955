"""`clusterkit up`: what it starts, says, starts again and leaves behind."""

import os
import signal
import socket
from pathlib import Path

import pytest

from .conftest import NODES, Start
from .running import Running, command, eventually, get, is_running, status_of


def all_gone(running: Running) -> bool:
    return not any(is_running(pid) for pid in running.pids())


def test_up_says_what_it_started_and_then_that_it_is_ready(up: Start, port: int) -> None:
    running = up()
    running.says(rf"^ready: http://127\.0\.0\.1:{port} \(2 nodes\)$")
    assert f"node1: started at http://127.0.0.1:{port + 1}" in running.text
    assert f"node2: started at http://127.0.0.1:{port + 2}" in running.text
    assert len(running.pids()) == 3


def test_the_kit_s_own_app_runs_so(start: Start, redis_program: str, port: int) -> None:
    running = start(command("up"), PORT=str(port), NODES=str(NODES))
    running.says("^ready:")
    nodes = f"http://127.0.0.1:{port}/api/nodes"
    eventually(lambda: [node["alive"] for node in get(nodes)["nodes"]] == [True, True])
    assert running.end() == 0
    assert all_gone(running)
    assert "Traceback" not in running.text


def test_each_node_is_reached_on_its_own_port_and_all_on_the_shared_one(up: Start, port: int) -> None:
    # A PRIVATE_URL for all nodes is right for one at most.
    up(PRIVATE_URL="http://10.0.0.1:80").says("^ready:")
    own = [get(f"http://127.0.0.1:{port + i}/whoami") for i in (1, 2)]
    assert [node["private_url"] for node in own] == [f"http://127.0.0.1:{port + i}" for i in (1, 2)]
    seen: set[int] = set()

    def all_seen() -> bool:
        seen.add(get(f"http://127.0.0.1:{port}/whoami")["pid"])
        return seen == {node["pid"] for node in own}

    eventually(all_seen)


def test_a_warning_of_a_node_is_shown_and_the_rest_is_in_its_log(up: Start, tmp_path: Path, port: int) -> None:
    running = up()
    running.says(r"^node1 \| .* WARNING stub: a warning of the stub$")
    running.says("^ready:")
    assert " INFO " not in running.text
    assert " INFO " in (tmp_path / ".run" / f"127.0.0.1-{port}" / "node-1.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_and_leaves_no_process(up: Start, number: signal.Signals) -> None:
    running = up()
    running.says("^ready:")
    assert running.end(number) == 0
    assert all_gone(running)


def test_a_signal_while_nodes_start_leaves_no_process(up: Start) -> None:
    running = up(STUB="slow")
    running.says(r"^node1 \|")
    assert running.end() == 0
    assert all_gone(running)


def test_a_second_ctrl_c_ends_nodes_that_hang(up: Start) -> None:
    running = up(STUB="stuck")
    running.says("^ready:")
    running.send(signal.SIGINT)
    running.says("^stopping")
    assert running.end(signal.SIGINT) == 130
    assert all_gone(running)


def test_a_killed_up_leaves_no_process(up: Start) -> None:
    running = up()
    running.says("^ready:")
    running.kill()
    eventually(lambda: all_gone(running))


def test_a_killed_node_is_started_again_and_said_so(up: Start, port: int) -> None:
    running = up()
    killed = int(running.says(r"^node2: started at .* \(pid (\d+)\)")[1])
    running.says("^ready:")
    os.kill(killed, signal.SIGKILL)
    running.says(rf"^node2: ended by SIGKILL \(pid {killed}\), starting again in 0.5 s$")
    again = int(running.says(r"^node2: started again at .* \(pid (\d+)\)")[1])
    assert get(f"http://127.0.0.1:{port + 2}/whoami")["pid"] == again


def test_a_killed_redis_is_started_again_with_its_data(up: Start) -> None:
    running = up()
    found = running.says(r"^redis: started at (\S+), .* \(pid (\d+)\)")
    path, killed = found[1], int(found[2])
    running.says("^ready:")
    assert redis(path, "SET kept 1") == "+OK"
    os.kill(killed, signal.SIGKILL)
    running.says("^redis: started again")
    assert redis(path, "GET kept") == "$1"
    assert redis(path, "CONFIG GET maxmemory-policy", lines=5)[-1] == "noeviction"


def redis(path: str, line: str, lines: int = 1) -> str | list[str]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(f"{line}\r\n".encode())
        answer = connection.makefile("r")
        got = [answer.readline().strip() for _ in range(lines)]
    return got if lines > 1 else got[0]


def test_a_node_that_cannot_start_is_an_error_with_the_end_of_its_log(up: Start) -> None:
    running = up(STUB="startup")
    assert running.exit_code() == 1
    assert "RuntimeError: the stub was told to fail" in running.text
    assert "clusterkit: node" in running.text and "ended by exit code 1; the end of" in running.text
    assert all_gone(running)


@pytest.mark.parametrize("offset", [0, 2])
def test_a_busy_port_is_named_before_anything_starts(up: Start, port: int, offset: int) -> None:
    with socket.create_server(("127.0.0.1", port + offset), reuse_port=True):
        running = up()
        assert running.exit_code() == 1
    assert f"port {port + offset} on 127.0.0.1 is busy" in running.text
    assert "make up" in running.text
    assert "started" not in running.text


def test_a_second_cluster_on_the_same_port_is_refused_and_the_first_goes_on(up: Start, port: int) -> None:
    first = up()
    first.says("^ready:")
    second = up()
    assert second.exit_code() == 1
    assert f"port {port} on 127.0.0.1 is busy" in second.text
    assert status_of(f"http://127.0.0.1:{port}/readyz") == 200
    assert Path(first.says(r"^redis: started at (\S+),")[1]).exists()


def test_a_given_redis_is_used_and_not_stopped(
    up: Start, redis_program: str, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "given.sock"
    given = start([redis_program, "--port", "0", "--unixsocket", str(path), "--save", ""])
    eventually(path.exists)
    running = up(REDIS_URL=f"unix://{path}")
    running.says("^ready:")
    assert f"redis: using unix://{path}" in running.text
    assert running.end() == 0
    assert given.process.poll() is None


def test_a_given_redis_that_does_not_answer_is_named_without_its_password(up: Start) -> None:
    running = up(REDIS_URL="redis://user:secret@127.0.0.1:1/0")
    assert running.exit_code() == 1
    assert "REDIS_URL: no answer from redis://127.0.0.1:1/0" in running.text
    assert "secret" not in running.text


def test_a_long_folder_name_is_no_obstacle_to_redis_socket(start: Start, port: int, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    arguments = command("up", "--app", "tests.cli.stub_app:create_app", "--run-dir", str(folder))
    running = start(arguments, PORT=str(port), NODES="1")
    running.says(r"^ready: .* \(1 node\)$")
    path = Path(running.says(r"^redis: started at (\S+),")[1])
    assert running.end() == 0
    assert not path.parent.exists()


@pytest.mark.parametrize(
    ("env", "named"),
    [({"PORT": "8080", "NODES": "none"}, "NODES: "), ({"PORT": "65535"}, "PORT: expected at most 65532")],
)
def test_a_wrong_setting_is_named_and_exits_2(start: Start, env: dict[str, str], named: str) -> None:
    running = start(command("up"), **env)
    assert running.exit_code() == 2
    assert running.text.startswith(f"clusterkit: {named}")
    assert "Traceback" not in running.text


def test_nodes_have_as_long_to_drain_as_they_may_take(start: Start, redis_program: str, port: int) -> None:
    running = start(command("up"), PORT=str(port), NODES="1", DRAIN_NOTICE_S="13", DRAIN_TIMEOUT_S="21")
    running.says("^ready:")
    running.send(signal.SIGTERM)
    eventually(lambda: all_gone(running), limit_s=25)
    assert running.exit_code() == 0
    assert "killed" not in running.text
