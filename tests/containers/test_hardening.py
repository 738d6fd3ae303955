"""What ops teams check first: files are valid, variables are real, nothing runs with more than it needs."""

import os
import re
import subprocess
from itertools import chain

import pytest

from app.settings import Settings
from tests.support.machine import REPOSITORY

from .stack import PROFILES, Stack, docker

# Of the entrypoint, of gunicorn, and of uvicorn.
NO_SETTINGS = {"SERVER", "WEB_CONCURRENCY", "MAX_REQUESTS", "FORWARDED_ALLOW_IPS"}
SERVICES = ("app", "redis", *PROFILES)
every_service = pytest.mark.parametrize("service", SERVICES)


@pytest.mark.parametrize("profiles", [(), ("nginx",), ("haproxy",), ("nginx", "haproxy")])
def test_compose_accepts_its_file_with_every_profile(stack: Stack, profiles: tuple[str, ...]) -> None:
    stack.compose(*chain.from_iterable(("--profile", profile) for profile in profiles), "config", "-q")


def test_compose_says_which_variable_is_missing() -> None:
    command = ["docker", "compose", "--env-file", "/dev/null", "config", "-q"]
    env = {name: value for name, value in os.environ.items() if name != "REDIS_PASSWORD"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=env)
    assert done.returncode != 0
    assert "REDIS_PASSWORD" in done.stderr and "set a password" in done.stderr


def test_every_variable_of_a_node_is_a_setting(stack: Stack) -> None:
    text = (REPOSITORY / "compose.yaml").read_text().partition("  app:\n")[2].partition("\n    env_file:")[0]
    names = set(re.findall(r"^      ([A-Z_]+):", text.partition("environment:\n")[2], re.MULTILINE))
    assert {"REDIS_URL", "DRAIN_TIMEOUT_S"} <= names
    assert names - NO_SETTINGS <= {name.upper() for name in Settings.model_fields}


def test_nginx_accepts_both_ways_to_choose_a_node(stack: Stack) -> None:
    (container,) = stack.containers("nginx")
    docker("exec", container, "nginx", "-t")
    image = docker("inspect", "-f", "{{.Config.Image}}", container).strip()
    files = REPOSITORY / "nginx"
    mounts = {"nginx.conf": "nginx.conf", "upstream-hash.conf": "upstream.conf"}
    options = [f"-v={files}/{ours}:/etc/nginx/{theirs}:ro" for ours, theirs in mounts.items()]
    options += ["--rm", "--read-only", "--tmpfs=/tmp", f"--network=container:{container}", "--entrypoint=nginx"]
    docker("run", *options, image, "-t")


def test_haproxy_accepts_its_file(stack: Stack) -> None:
    (container,) = stack.containers("haproxy")
    docker("exec", container, "haproxy", "-c", "-f", "/usr/local/etc/haproxy/haproxy.cfg")


def test_every_variable_of_compose_is_documented_with_its_default() -> None:
    text = (REPOSITORY / "compose.yaml").read_text()
    docs = (REPOSITORY / "deploy/README.md").read_text()
    table = docs.partition("## Variables of compose")[2].partition("\n## ")[0]
    for name, default in re.findall(r"\$\{([A-Z_]+)(?::-([^}]*))?", text):
        (row,) = [line for line in table.splitlines() if f"`{name}`" in line]
        assert default in row, name


def test_haproxy_s_own_pages_are_there_and_not_published(stack: Stack) -> None:
    (container,) = stack.containers("haproxy")
    assert {line.split(" ")[0] for line in docker("port", container).splitlines()} == {"8080/tcp"}
    pages = {"/metrics": "haproxy_server_status{", "/": "Statistics Report", "/alive": " 200 "}
    for path, expected in pages.items():
        ask = f"exec 3<>/dev/tcp/127.0.0.1/8404 && printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3"
        assert expected in docker("exec", container, "bash", "-c", ask)


@every_service
def test_nothing_runs_as_root_or_may_become_it(stack: Stack, service: str) -> None:
    for container in stack.containers(service):
        status = docker("exec", container, "cat", "/proc/1/status")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split()
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
        assert fields["NoNewPrivs"] == "1"
        users = {line.split()[0] for line in docker("top", container, "-eo", "user:20,pid").splitlines()[1:]}
        assert users and "root" not in users


@every_service
def test_the_root_file_system_cannot_be_written(stack: Stack, service: str) -> None:
    for container in stack.containers(service):
        write = ["docker", "exec", container, "sh", "-c", "echo x > /written"]
        written = subprocess.run(write, capture_output=True)
        assert written.returncode != 0
        assert b"Read-only file system" in written.stderr


def test_redis_is_not_published_and_tells_nobody_its_password(stack: Stack) -> None:
    (container,) = stack.containers("redis")
    assert docker("port", container).strip() == ""
    assert stack.variables["REDIS_PASSWORD"] not in docker("top", container, "-eo", "pid,args")
    refused = docker("exec", container, "redis-cli", "ping")
    assert "NOAUTH" in refused


def test_stopping_takes_less_than_whoever_stops_waits(stack: Stack) -> None:
    """DRAIN_TIMEOUT_S < gunicorn's graceful_timeout < the grace period."""
    config = stack.compose("config")
    grace_s = int(re.search(r"stop_grace_period: (\d+)s", config.partition("\n  app:\n")[2])[1])  # type: ignore[index]
    text = (REPOSITORY / "compose.yaml").read_text()
    drain_s = int(re.search(r"DRAIN_TIMEOUT_S:-(\d+)", text)[1])  # type: ignore[index]
    (container, *_) = stack.containers()
    script = "import runpy; print(runpy.run_path('/opt/clusterkit/gunicorn.conf.py')['graceful_timeout'])"
    graceful_s = int(docker("exec", "-e", f"DRAIN_TIMEOUT_S={drain_s}", container, "python3", "-c", script))
    assert drain_s < graceful_s < grace_s


def test_redis_makes_no_snapshots_and_evicts_nothing(stack: Stack) -> None:
    (container,) = stack.containers("redis")
    for name, value in {"save": "", "appendonly": "yes", "maxmemory-policy": "noeviction"}.items():
        ask = f'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli --raw config get {name}'
        _, found, *_ = docker("exec", container, "sh", "-c", ask).split("\n")
        assert found == value
