"""The tests' Redis can be broken in every way a test needs, and leaves nothing behind."""

import os

import pytest
import redis.exceptions

from tests.support.redis_server import RedisServer


async def test_a_client_speaks_to_it(redis_server: RedisServer, key_prefix: str) -> None:
    async with redis_server.client() as client:
        await client.set(f"{key_prefix}:greeting", "안녕")
        assert await client.get(f"{key_prefix}:greeting") == "안녕"


def test_it_never_evicts_and_writes_no_snapshots_by_itself(redis_server: RedisServer) -> None:
    assert redis_server.command("CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert redis_server.command("CONFIG", "GET", "save") == {"save": ""}


def test_options_are_passed_on_and_a_password_is_in_the_url() -> None:
    with RedisServer(requirepass="secret", maxmemory_policy="allkeys-lru") as server:
        assert ":secret@" in server.url
        assert server.command("CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_a_restart_keeps_the_data_or_loses_it_and_keeps_the_port(appendonly: str) -> None:
    with RedisServer(appendonly=appendonly) as server:
        port = server.port
        server.command("SET", "key", "value")
        server.restart(keep_data=True)
        assert (server.port, server.command("GET", "key")) == (port, "value")
        server.restart(keep_data=False)
        assert (server.port, server.command("GET", "key")) == (port, None)
        assert server.command("CONFIG", "GET", "appendonly") == {"appendonly": appendonly}


def test_with_appendonly_always_a_killed_server_comes_back_with_its_data() -> None:
    with RedisServer(appendonly="yes", appendfsync="always") as server:
        server.command("SET", "key", "value")
        server.kill()
        server.start()
        assert server.command("GET", "key") == "value"


@pytest.mark.parametrize("appendonly", ["yes", "no"])
def test_a_restored_snapshot_lacks_what_came_after_it(appendonly: str) -> None:
    with RedisServer(appendonly=appendonly) as server:
        server.command("SET", "key", "old")
        snapshot = server.snapshot()
        server.command("SET", "key", "new")
        server.restore(snapshot)
        assert server.command("GET", "key") == "old"


async def test_a_paused_server_answers_nothing_and_goes_on_where_it_was(own_redis: RedisServer) -> None:
    async with own_redis.client(socket_timeout=0.05) as client:
        await client.set("key", "value")
        own_redis.pause()
        with pytest.raises(redis.exceptions.TimeoutError):
            await client.get("key")
        own_redis.resume()
        assert own_redis.command("GET", "key") == "value"


async def test_a_stopped_server_refuses_connections(own_redis: RedisServer) -> None:
    own_redis.stop()
    async with own_redis.client() as client:
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.ping()


async def test_connections_are_cut_by_the_name_they_gave_themselves(own_redis: RedisServer) -> None:
    async with (
        own_redis.client(client_name="node-1") as first,
        own_redis.client(client_name="node-2") as second,
    ):
        await first.ping()
        await second.ping()
        assert own_redis.kill_connections(name="node-1") == 1
        names = {each["name"] for each in await second.client_list()}
        assert "node-2" in names and "node-1" not in names


async def test_subscriptions_are_cut_without_the_ordinary_connections(own_redis: RedisServer) -> None:
    async with own_redis.client() as client, client.pubsub() as listener:
        await listener.subscribe("channel")
        await client.ping()
        assert own_redis.kill_connections(kind="pubsub") == 1
        assert own_redis.command("PUBSUB", "NUMSUB", "channel") == ["channel", 0]


def test_a_paused_server_is_cleaned_up_too() -> None:
    with RedisServer() as server:
        pid, folder = server.pid, server.folder
        assert pid is not None
        server.pause()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not folder.exists()


def test_a_server_that_cannot_start_shows_its_log() -> None:
    with pytest.raises(RuntimeError, match="not-a-policy"), RedisServer(maxmemory_policy="not-a-policy"):
        pass
