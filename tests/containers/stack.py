"""The cluster of compose.yaml, as ops teams run it, under a project and on ports of the tests' own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from testcontainers.compose import DockerCompose

from tests.cli.running import free_ports
from tests.support.machine import REPOSITORY, lacking

PROJECT = "clusterkit-tests"
PROFILES = ["nginx", "haproxy"]
OVERRIDE = "tests/containers/compose.tests.yaml"
COMMAND_LIMIT_S = 300


def docker(*args: str) -> str:
    """What the command prints. Raises AssertionError with its words."""
    command = ["docker", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, cwd=REPOSITORY)
    if done.returncode:
        raise AssertionError(f"docker {' '.join(args)}: {done.stderr.strip()}")
    return done.stdout


class Stack:
    """`urls`: profile -> where its balancer serves. Containers are known by their full ids."""

    def __init__(self, folder: Path, **variables: str) -> None:
        require_engine()
        ports = free_ports(3)
        self.load_test_url = f"http://127.0.0.1:{ports + 2}"
        self.urls = {name: f"http://127.0.0.1:{ports + n}" for n, name in enumerate(PROFILES)}
        self.variables = {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "REDIS_PASSWORD": "containers",
            "NGINX_PORT": str(ports),
            "HAPROXY_PORT": str(ports + 1),
            "LOADTEST_PORT": str(ports + 2),
            "FRONT_SUBNET": "10.213.78.0/24",
            **variables,
        }
        env_file = folder / "containers.env"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in self.variables.items()))
        os.environ["COMPOSE_PROJECT_NAME"] = PROJECT  # wins over the file's name
        self._compose = DockerCompose(
            REPOSITORY,
            compose_file_name=["compose.yaml", OVERRIDE],
            env_file=str(env_file),
            profiles=PROFILES,
            build=True,
        )

    def __enter__(self) -> "Stack":
        self._compose.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._compose.stop()

    def compose(self, *args: str) -> str:
        """`docker compose` for this stack."""
        (_, _, *options) = self._compose.compose_command_property
        return docker("compose", *options, *args)

    def rolling_restart(self) -> None:
        """deploy/rolling-restart, for this stack."""
        (_, _, *options) = self._compose.compose_command_property
        command = [str(REPOSITORY / "deploy/rolling-restart"), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, cwd=REPOSITORY)
        assert done.returncode == 0, done.stderr

    def containers(self, service: str = "app") -> list[str]:
        """The ids of those that run."""
        return self.compose("ps", "-q", "--status", "running", service).split()

    def logs(self, service: str = "app") -> str:
        """Everything its containers have said."""
        return self.compose("logs", "--no-color", service)

    def node_of(self, container: str) -> str:
        """The id of the node in a container."""
        return str(self.get(container, "/healthz")["node_id"])

    def get(self, container: str, path: str) -> Any:
        """The JSON that a container's node answers, asked past the balancers."""
        return json.loads(self.text(container, path))

    @staticmethod
    def text(container: str, path: str) -> str:
        """The same, whatever it is."""
        return docker("exec", container, "python3", "-c", ASK, path)

    def healthy(self, service: str = "app") -> list[str]:
        """The containers that their health check finds well."""
        return [container for container in self.containers(service) if self._health(container) == "healthy"]

    def _health(self, container: str) -> str:
        return docker("inspect", "-f", "{{.State.Health.Status}}", container).strip()


ASK = "import sys, urllib.request as r; print(r.urlopen('http://127.0.0.1:8080' + sys.argv[1]).read().decode())"


def require_engine() -> None:
    """Skips without a Docker engine that answers and the Compose plugin."""
    try:
        docker("version", "-f", "{{.Server.Version}}")
        docker("compose", "version")
    except (FileNotFoundError, AssertionError, subprocess.TimeoutExpired):
        remedy = "install and start one, on Debian with .ci/container-engine"
        raise lacking("a Docker engine with Compose", remedy) from None
