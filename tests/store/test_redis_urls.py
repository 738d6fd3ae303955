"""Every way to a Redis that REDIS_URL has, each with a real server at its end."""

import asyncio
import contextlib
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from redis.exceptions import AuthenticationError, RedisError

from app.errors import SettingsError, StoreUnavailable
from app.store.bulk import BulkConnection
from app.store.redis import CONNECTION_ERRORS, SENTINEL_PORT, Store, _address, is_passing
from app.store.resp import pack_begin
from tests.cli.running import free_ports
from tests.support.eventually import eventually
from tests.support.machine import lacking
from tests.support.redis_server import RedisServer

PASSWORD = "p:w/@?#% é"
SERVICE = "main"


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    store = Store(url, 2.0)
    try:
        yield store
    finally:
        await store.aclose()


async def assert_works(url: str, redis: RedisServer, database: int = 0) -> None:
    """The pool and a connection of its own both reach `redis`, in `database`; the latter in bulk, too."""
    async with opened(url) as store:
        await store.answer(store.client.set("from-pool", "1"))
        connection = await store.connection()
        try:
            await connection.send_command("SET", "from-connection", "1")
            assert await connection.read_response() == b"OK"
            bulk = BulkConnection(connection, 2.0)
            await bulk.send(pack_begin(3, "SET", "from-bulk", 1))
            assert await bulk.replies() == [b"OK"]
        finally:
            await connection.disconnect()
    async with redis.client(single_connection_client=True) as client:
        await client.execute_command("SELECT", database)
        assert await client.delete("from-pool", "from-connection", "from-bulk") == 3


@pytest.mark.parametrize("database", [0, 3])
async def test_a_redis_is_reached_over_tcp(redis_server: RedisServer, database: int) -> None:
    await assert_works(f"redis://127.0.0.1:{redis_server.port}/{database}", redis_server, database)


async def test_a_redis_is_reached_over_a_unix_socket() -> None:
    with RedisServer(unixsocket="redis.sock") as redis:
        await assert_works(f"unix://{redis.folder}/redis.sock?db=2", redis, 2)


async def test_a_redis_that_wants_a_password_gets_it() -> None:
    with RedisServer(requirepass="secret", unixsocket="redis.sock") as redis:
        await assert_works(f"redis://:secret@127.0.0.1:{redis.port}/0", redis)
        await assert_works(f"unix://:secret@{redis.folder}/redis.sock", redis)


@pytest.fixture
def acl_redis(own_redis: RedisServer) -> RedisServer:
    own_redis.command("ACL", "SETUSER", "app", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    return own_redis


async def test_an_acl_user_and_a_password_with_any_characters_log_in(acl_redis: RedisServer) -> None:
    await assert_works(f"redis://app:{quote(PASSWORD, safe='')}@127.0.0.1:{acl_redis.port}/0", acl_redis)


@pytest.mark.parametrize("login", ["app:wrong", "nobody:x"])
async def test_a_wrong_password_is_a_clear_error(acl_redis: RedisServer, login: str) -> None:
    async with opened(f"redis://{login}@127.0.0.1:{acl_redis.port}/0") as store:
        with pytest.raises(AuthenticationError, match="invalid username-password pair"):
            await store.connection()
        with pytest.raises(StoreUnavailable, match="invalid username-password pair") as error:
            await store.answer(store.client.ping())
        assert "wrong" not in str(error.value)


async def test_a_missing_password_is_a_clear_error() -> None:
    with RedisServer(requirepass="secret") as redis:
        async with opened(f"redis://127.0.0.1:{redis.port}/0") as store:
            with pytest.raises(StoreUnavailable, match="Authentication required"):
                await store.answer(store.client.get("x"))


# --- TLS ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed one for 127.0.0.1, its key beside it."""
    if shutil.which("openssl") is None:
        raise lacking("openssl", "it makes the certificate of the TLS test")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "redis.key"), "-out", str(folder / "redis.crt")),
        ],
        check=True,
        capture_output=True,
    )
    return folder / "redis.crt"


@pytest.fixture(scope="module")
def tls_redis(certificate: Path) -> Iterator[tuple[RedisServer, int]]:
    """A Redis that speaks TLS, and the port on which it does."""
    port = free_ports(1)
    redis = RedisServer(
        tls_port=str(port),
        tls_cert_file=str(certificate),
        tls_key_file=str(certificate.with_suffix(".key")),
        tls_auth_clients="no",
    )
    try:
        redis.start()
    except RuntimeError:
        redis.close()
        raise lacking("a redis-server with TLS", "this one was built without") from None
    with contextlib.closing(redis):
        yield redis, port


async def test_a_redis_is_reached_over_tls(tls_redis: tuple[RedisServer, int], certificate: Path) -> None:
    redis, port = tls_redis
    await assert_works(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={quote(str(certificate))}", redis)
    await assert_works(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none&ssl_check_hostname=false", redis)


async def test_a_certificate_that_nobody_vouches_for_is_a_clear_error(
    tls_redis: tuple[RedisServer, int],
) -> None:
    async with opened(f"rediss://127.0.0.1:{tls_redis[1]}/0") as store:
        with pytest.raises(StoreUnavailable, match="certificate verify failed"):
            await store.answer(store.client.ping())


# --- Sentinel ----------------------------------------------------------------------------------------------


class SentinelServer:
    """A real Sentinel that watches one master."""

    def __init__(self, redis: RedisServer, folder: Path, *, password: str = "") -> None:
        self.port = free_ports(1)
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {redis.port} 1",
            f"sentinel down-after-milliseconds {SERVICE} 30000",
        ]
        if master_password := redis.options.get("requirepass"):
            lines.append(f"sentinel auth-pass {SERVICE} {master_password}")
        if password:
            lines.append(f"requirepass {password}")
        self._password = password
        file = folder / "sentinel.conf"
        file.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            [str(redis.binary), str(file), "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def command(self, *words: str) -> str:
        """One inline command and what came back for it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
            for line in ([f"AUTH {self._password}"] if self._password else []) + [" ".join(words)]:
                link.sendall(line.encode() + b"\r\n")
                answer = link.recv(65_536)
                assert not answer.startswith(b"-"), answer
        return answer.decode()

    async def ready(self) -> None:
        def answers() -> bool:
            with contextlib.suppress(OSError):
                self.command("PING")
                return True
            return False

        await eventually(answers)

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(5)


async def test_sentinel_names_the_master_and_its_successor(tmp_path: Path) -> None:
    with (
        RedisServer(requirepass="secret") as first,
        RedisServer(requirepass="secret") as second,
        contextlib.closing(SentinelServer(first, tmp_path)) as sentinel,
    ):
        await sentinel.ready()
        dead = free_ports(1)
        url = f"redis+sentinel://:secret@127.0.0.1:{dead},127.0.0.1:{sentinel.port}/{SERVICE}/1"
        await assert_works(url, first, 1)
        async with opened(url) as store:
            await store.answer(store.client.set("x", "1"))
            sentinel.command("SENTINEL", "REMOVE", SERVICE)
            sentinel.command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", str(second.port), "1")
            sentinel.command("SENTINEL", "SET", SERVICE, "auth-pass", "secret")
            first.kill()
            await eventually(lambda: answered(store))
            assert (await store.client.info("server"))["tcp_port"] == second.port
        await assert_works(url, second, 1)


async def answered(store: Store) -> bool:
    with contextlib.suppress(StoreUnavailable):
        return bool(await store.answer(store.client.set("y", "2")))
    return False


async def test_a_sentinel_that_wants_a_password_gets_its_own(redis_server: RedisServer, tmp_path: Path) -> None:
    with contextlib.closing(SentinelServer(redis_server, tmp_path, password="guard")) as sentinel:
        await sentinel.ready()
        address = f"127.0.0.1:{sentinel.port}/{SERVICE}"
        await assert_works(f"redis+sentinel://{address}?sentinel_password=guard", redis_server)
        async with opened(f"redis+sentinel://{address}") as store:
            with pytest.raises((RedisError, *CONNECTION_ERRORS)):
                await store.connection()


async def test_a_closed_store_keeps_no_connection_to_sentinel(redis_server: RedisServer, tmp_path: Path) -> None:
    with contextlib.closing(SentinelServer(redis_server, tmp_path)) as sentinel:
        await sentinel.ready()
        async with opened(f"redis+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}") as store:
            await store.answer(store.client.ping())
            assert "name=clusterkit" in sentinel.command("CLIENT", "LIST")
        await eventually(lambda: "name=clusterkit" not in sentinel.command("CLIENT", "LIST"), within_s=0.5)


async def test_a_service_that_sentinel_does_not_know_may_be_known_later(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with contextlib.closing(SentinelServer(redis_server, tmp_path)) as sentinel:
        await sentinel.ready()
        async with opened(f"redis+sentinel://127.0.0.1:{sentinel.port}/other") as store:
            with pytest.raises((RedisError, *CONNECTION_ERRORS), match="No master found for 'other'") as error:
                await store.connection()
            assert is_passing(error.value)


async def test_sentinels_that_are_all_away_may_come_back() -> None:
    async with opened(f"redis+sentinel://127.0.0.1:{free_ports(1)}/{SERVICE}") as store:
        with pytest.raises((RedisError, *CONNECTION_ERRORS)) as error:
            await asyncio.wait_for(store.connection(), 5)
        assert is_passing(error.value)


def test_a_sentinel_without_a_port_has_the_usual_one() -> None:
    assert _address("10.0.0.1") == ("10.0.0.1", SENTINEL_PORT)
    assert _address(" 10.0.0.1:5000 ") == ("10.0.0.1", 5000)


@pytest.mark.parametrize(("text", "address"), [("[::1]:5000", ("::1", 5000)), ("[::1]", ("::1", SENTINEL_PORT))])
def test_a_sentinel_may_have_an_ipv6_address(text: str, address: tuple[str, int]) -> None:
    assert _address(text) == address


# --- what is no URL ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:notaport/0",
        "redis://127.0.0.1:6379/0?no_such_option=1",
        "redis+sentinel://127.0.0.1:26379",
        "redis+sentinel:///service",
        "redis+sentinel://127.0.0.1:x/service",
        "redis+sentinel://127.0.0.1:26379/service/notadb",
        "redis+sentinel://127.0.0.1:26379/service?no_such_option=1",
        "http://127.0.0.1",
    ],
)
def test_a_url_that_leads_nowhere_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^REDIS_URL: "):
        Store(url, 1.0)
