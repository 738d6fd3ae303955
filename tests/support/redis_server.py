"""A real redis-server of the tests' own, which they may stop, kill, freeze and rob of its data.

It starts the server and never talks to the code under test; that gets `url`. Every method is synchronous
and takes some tens of milliseconds: in an async test whose nodes must go on meanwhile, call it through
`asyncio.to_thread`.
"""

import atexit
import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from .machine import find_redis_server

START_WITHIN_S = 10.0
STOP_WITHIN_S = 5.0
ANSWER_WITHIN_S = 5.0

# Another process may take the free port between our finding it and Redis binding it.
PORT_TRIES = 5

# Its log within its folder. It gets what the server prints: a wrong option never reaches a log file.
LOG = "redis.log"

# What a server has unless a test says otherwise: no disk, and no eviction (see DESIGN.md, Keys).
DEFAULTS = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}


class RedisServer:
    """A redis-server subprocess on a port of 127.0.0.1 of its own, with its data in a temporary folder.

    Options are redis.conf's, with `_` for `-`: `RedisServer(appendonly="yes", maxmemory="100mb")`. The
    port, and so `url`, stays the same over restarts. Use it as a context manager, or call `close()`; a
    test run that dies half way is cleaned up at the interpreter's exit, paused servers included.
    """

    def __init__(self, **options: str) -> None:
        self.binary = find_redis_server()
        self.options = DEFAULTS | {name.replace("_", "-"): value for name, value in options.items()}
        self.folder = Path(tempfile.mkdtemp(prefix="clusterkit-redis-"))
        self.port = 0
        self.paused = False
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The `redis://` URL of database 0, with the password if `requirepass` was given."""
        password = self.options.get("requirepass", "")
        return f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id, or None while it is stopped."""
        return self._process.pid if self._process is not None else None

    # Life

    def start(self) -> None:
        """Start the server and wait until it answers. Raises RuntimeError with its log if it does not."""
        if self._process is not None:
            raise RuntimeError("this Redis is running already")
        for _ in range(1 if self.port else PORT_TRIES):
            port = self.port or _free_port()
            if self._start_on(port):
                self.port = port
                return
        raise RuntimeError(f"redis-server did not start:\n{self.log()[-2000:]}")

    def stop(self) -> None:
        """End the server as an operator would (SIGTERM); what it had not saved to disk is gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once (SIGKILL): no goodbye to clients, nothing written."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers, until `resume()`."""
        self._running().send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT); what clients sent meanwhile is then carried out."""
        self._running().send_signal(signal.SIGCONT)
        self.paused = False

    def restart(self, *, keep_data: bool) -> None:
        """Kill and start again on the same port, with all of the data or with none of it."""
        if self.paused:
            self.resume()
        self.restore(self.snapshot() if keep_data else None)

    def snapshot(self) -> bytes:
        """All data as it is now, for `restore()`."""
        self.command("SAVE")
        return (self.folder / "dump.rdb").read_bytes()

    def restore(self, snapshot: bytes | None) -> None:
        """Kill the server, replace its data by an earlier `snapshot()` (None: by nothing), start again.

        This is what a failover to a replica that lags looks like: the same address with an older past.
        """
        self.kill()
        self._forget_data()
        if snapshot is not None:
            (self.folder / "dump.rdb").write_bytes(snapshot)
        # With appendonly Redis reads the AOF alone, never dump.rdb: switch it on after loading.
        appendonly, self.options["appendonly"] = self.options["appendonly"], "no"
        try:
            self.start()
        finally:
            self.options["appendonly"] = appendonly
        if appendonly == "yes":
            self._write_aof()

    def close(self) -> None:
        """Kill the server if it runs and remove its folder. May be called twice."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    # Talking to it

    def client(self, **options: Any) -> redis.asyncio.Redis:
        """An asyncio client, for `async with`. It decodes answers to str and repeats nothing by itself."""
        defaults: dict[str, Any] = {"decode_responses": True, "retry": Retry(NoBackoff(), 0)}
        return redis.asyncio.Redis.from_url(self.url, **(defaults | options))

    def command(self, *words: str | int | bytes) -> Any:
        """Carry out one command on a connection of its own and return the answer, decoded to str."""
        with self._admin() as client:
            return client.execute_command(*words)

    def kill_connections(self, *, name: str | None = None, kind: str | None = None) -> int:
        """Cut client connections from Redis' side (CLIENT KILL) and return how many there were.

        `name` picks those whose CLIENT SETNAME begins so, `kind` one of "normal" and "pubsub".
        """
        with self._admin() as client:
            found = client.client_list(_type=kind) if kind else client.client_list()
            own = client.client_id()
            victims = [
                each["id"] for each in found if int(each["id"]) != own and each["name"].startswith(name or "")
            ]
            return sum(int(client.client_kill_filter(_id=victim)) for victim in victims)

    def log(self) -> str:
        """What the server has logged so far."""
        path = self.folder / LOG
        return path.read_text(errors="replace") if path.exists() else ""

    # Inside

    def _admin(self) -> redis.Redis:
        return redis.Redis.from_url(
            self.url,
            decode_responses=True,
            socket_timeout=ANSWER_WITHIN_S,
            single_connection_client=True,
            retry=Retry(NoBackoff(), 0),
        )

    def _start_on(self, port: int) -> bool:
        arguments = [word for name, value in self.options.items() for word in (f"--{name}", value)]
        with (self.folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self.binary), "--port", str(port), "--bind", "127.0.0.1"),
                    *("--dir", str(self.folder), "--daemonize", "no"),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to the whole foreground group: the tests must end before their Redis does.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(port):
                return True
            time.sleep(0.005)
        self.kill()
        return False

    def _end(self, number: signal.Signals) -> None:
        process, self._process, self.paused = self._process, None, False
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        # A stopped process takes SIGTERM only once it goes on.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _write_aof(self) -> None:
        """Switch the AOF on and wait until it is written: until then Redis refuses to end on SIGTERM."""
        self.command("CONFIG", "SET", "appendonly", "yes")
        deadline = time.monotonic() + ANSWER_WITHIN_S
        with self._admin() as client:
            while _rewrites_aof(client):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the AOF was not written within {ANSWER_WITHIN_S} s")
                time.sleep(0.005)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this Redis is not running")
        return self._process

    def _forget_data(self) -> None:
        for path in self.folder.iterdir():
            if path.name == LOG:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _rewrites_aof(client: redis.Redis) -> bool:
    state = client.info("persistence")
    return bool(state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])


def _answers(port: int) -> bool:
    """Whether a loaded Redis listens there; one that wants a password counts."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
        probe.sendall(b"PING\r\n")
        return probe.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    return False
