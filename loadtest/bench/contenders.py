"""Who is compared, and how each is started: a fresh process, pinned, with a key prefix of its own."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..ports import free_ports
from .children import Child, Place, answers
from .redis_server import RedisServer

NODE_FOLDER = Path(__file__).parent / "node"
INSTALL_LIMIT_S = 300.0


class Missing(Exception):
    """What a contender needs is not on this machine; the others can still be compared."""


@dataclass(frozen=True, slots=True)
class Contender:
    """`command` and `environment` start it; it is ready when `ready_path` answers 200."""

    name: str
    title: str
    command: Callable[[], list[str]]
    environment: Callable[[int, RedisServer], dict[str, str]]
    ready_path: str = "/"

    def start(self, redis: RedisServer, place: Place, prefix: str) -> tuple[Child, int]:
        """The running server and its port. Raises ChildFailed."""
        port = free_ports(1)
        env = {"PORT": str(port), "KEY_PREFIX": prefix} | self.environment(port, redis)
        child = Child(self.name, self.command(), place, env)
        try:
            child.wait_until(lambda: answers(port, self.ready_path))
        except BaseException:
            child.end()
            raise
        return child, port


def _kit(port: int, redis: RedisServer) -> dict[str, str]:
    return {"HOST": "127.0.0.1", "REDIS_URL": redis.url, "LOG_LEVEL": "error"}


CONTENDERS = {
    each.name: each
    for each in [
        Contender(
            "kit",
            "clusterkit, one node",
            lambda: [sys.executable, "-m", "app.cli", "serve"],
            _kit,
            "/readyz",
        ),
        Contender(
            "recovery",
            "the same with RECOVERY=on",
            lambda: [sys.executable, "-m", "app.cli", "serve"],
            lambda port, redis: _kit(port, redis) | {"RECOVERY": "on"},
            "/readyz",
        ),
        Contender(
            "node",
            "Node socket.io + @socket.io/redis-adapter",
            lambda: [find_node(), str(NODE_FOLDER / "server.js")],
            lambda port, redis: {"REDIS_SOCKET": str(redis.socket), "NODE_ENV": "production"},
        ),
        Contender(
            "stock",
            "python-socketio + AsyncRedisManager, uvicorn",
            lambda: [sys.executable, "-m", "loadtest.bench.stock_server"],
            lambda port, redis: {"REDIS_URL": redis.url},
        ),
    ]
}

TRIVIAL = Contender(
    "trivial",
    "a server that only writes",
    lambda: [sys.executable, "-m", "loadtest.bench.trivial_server"],
    lambda port, redis: {},
)


def find_node() -> str:
    """The Node to run. Raises Missing."""
    found = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))
    if found is None:
        raise Missing("there is no node on the PATH")
    return found


def install_node_packages() -> None:
    """Gets what package-lock.json pins, once. Raises Missing, also where npm cannot."""
    find_node()
    stamp, lock = NODE_FOLDER / "node_modules" / ".stamp", NODE_FOLDER / "package-lock.json"
    if stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime:
        return
    npm = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if npm is None:
        raise Missing("there is no npm on the PATH to get socket.io with")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    print("set-up: socket.io and its Redis adapter for the contender on Node")
    try:
        done = subprocess.run(
            command, cwd=NODE_FOLDER, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"npm was not done within {INSTALL_LIMIT_S:g} s") from None
    if done.returncode:
        raise Missing(f"npm could not get socket.io: {done.stderr.strip()[-300:]}")
    stamp.touch()
