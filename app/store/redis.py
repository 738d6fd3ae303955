"""Connections to Redis: a pooled client for reads and single commands, and dedicated connections.

redis-py repeats commands by itself unless told otherwise (seen: 3 EVALSHA ran 4 times around a stopped
Redis), so its retries are off everywhere; who repeats what, and for how long, is decided by `cluster.writer`
and `cluster.relay`.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Redis, Sentinel
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ..errors import SettingsError, StoreUnavailable
from .scripts import Script, all_scripts

SENTINEL_PORT = 26379
# Single commands under way at a time; more wait. redis-py's pool refuses the 101st.
COMMANDS_MAX = 32
# What a lost or silent connection raises.
CONNECTION_ERRORS = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)
# Error replies of a Redis that is starting, failing over or demoted: the same command may succeed later.
PASSING_ERRORS = ("LOADING", "READONLY", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "NOREPLICAS", "BUSY")
PASSING_CLASSES = ("BusyLoadingError", "ReadOnlyError", "TryAgainError", "ClusterDownError", "MasterDownError")

Connection = AbstractConnection


class Store:
    """One Redis (or the master that Sentinel names), and how to reach it.

    `url`: `redis://`, `rediss://`, `unix://` (redis-py's form, user and password included) or
    `redis+sentinel://[user:password@]host:port,.../service[/db][?sentinel_username=&sentinel_password=]`.
    `timeout_s`: how long connecting, and any one answer, may take. Raises SettingsError for a bad URL.
    """

    def __init__(self, url: str, timeout_s: float, name: str = "clusterkit") -> None:
        self.timeout_s = timeout_s
        options: dict[str, Any] = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,  # pub/sub messages come as plain arrays, in order with everything else
            "client_name": name,
            "driver_info": None,
        }
        self._sentinel, self.client = _open(url, options)
        self._places = asyncio.Semaphore(COMMANDS_MAX)

    async def connection(self) -> Connection:
        """A new, authenticated connection outside the pool; its user disconnects it.

        Raises one of `CONNECTION_ERRORS`, or RedisError where Redis refuses the user.
        """
        connection: Connection = self.client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()  # type: ignore[no-untyped-call]
        return connection

    async def load_scripts(self, connection: Connection) -> None:
        """Makes every script known to the Redis behind `connection`."""
        scripts = list(all_scripts())
        commands = [("SCRIPT", "LOAD", script.source) for script in scripts]
        await connection.send_packed_command(connection.pack_commands(commands))
        for _ in scripts:
            await connection.read_response()

    async def answer(self, command: Awaitable[Any]) -> Any:
        """What a command of `client` returns. Raises StoreUnavailable, as `run` does."""
        try:
            try:
                async with self._places:
                    return await command
            finally:
                if asyncio.iscoroutine(command):  # cancelled before its turn came
                    command.close()
        except (RedisError, *CONNECTION_ERRORS) as error:
            raise StoreUnavailable(f"Redis gave no answer: {error}") from error

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        """Runs a script that may safely run twice; loads it where Redis does not know it.

        Raises StoreUnavailable where Redis does not answer or refuses.
        """
        try:
            async with self._places:
                return await self._run(script, keys, args)
        except (RedisError, *CONNECTION_ERRORS) as error:
            raise StoreUnavailable(f"Redis could not run {script.name}: {error}") from error

    async def _run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        try:
            return await self.client.evalsha(script.sha, len(keys), *keys, *args)
        except NoScriptError:
            return await self.client.eval(script.source, len(keys), *keys, *args)

    async def aclose(self) -> None:
        """Closes the pool; dedicated connections are their users' to close."""
        await self.client.aclose()
        await self.client.connection_pool.disconnect()
        for sentinel in self._sentinel.sentinels if self._sentinel is not None else ():
            await sentinel.aclose()


def is_passing(error: BaseException) -> bool:
    """Whether a command that failed with `error` may succeed on a new connection or a little later."""
    if isinstance(error, CONNECTION_ERRORS):
        return True
    if type(error).__name__ in PASSING_CLASSES:
        return True
    text = str(error)  # Redis 6.2 wraps it: "Error running script ...: -READONLY ..."
    return isinstance(error, ResponseError) and any(
        text.startswith(word) or f"-{word} " in text for word in PASSING_ERRORS
    )


def _open(url: str, options: dict[str, Any]) -> tuple[Sentinel | None, Redis]:
    """The client, and the Sentinel that names its master, if one does. Raises SettingsError."""
    try:
        sentinel, client = (
            _by_sentinel(url, options)
            if url.startswith("redis+sentinel://")
            else (None, Redis.from_url(url, **options))
        )
        client.connection_pool.connection_kwargs |= options  # those in the URL's query do not win
        # no I/O: it finds options that do not exist
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError):  # whose texts may hold a part of the password
        raise SettingsError(
            "REDIS_URL: expected redis://[user:password@]host:port/db, rediss://..., unix://path?db=0 or "
            "redis+sentinel://host:port,host:port/service/db, with /, : and @ in a password written as %2F, "
            "%3A and %40, and only redis-py's options behind a ?"
        ) from None
    return sentinel, client


def _by_sentinel(url: str, options: dict[str, Any]) -> tuple[Sentinel, Redis]:
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not hosts or not service:
        raise ValueError("no hosts or no service")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if unknown := query.keys() - {"sentinel_username", "sentinel_password"}:
        raise ValueError(f"unknown options {unknown}")
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [_address(host) for host in hosts.split(",")],
        sentinel_kwargs=options
        | {"username": query.get("sentinel_username"), "password": query.get("sentinel_password")},
        **options,
        **_login(login),
        db=int(database or 0),
    )
    client: Redis = sentinel.master_for(service)
    return sentinel, client


def _login(text: str) -> dict[str, str]:
    if not text:
        return {}
    username, _, password = text.partition(":")
    login = {"username": unquote(username), "password": unquote(password)}
    return {name: value for name, value in login.items() if value}


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text.strip()}")
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or SENTINEL_PORT
