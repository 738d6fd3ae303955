"""Who is alive: told by heartbeats that move while one's own are answered, and by nothing else."""

import asyncio
import contextlib
import signal
from typing import Any

import pytest
from redis.exceptions import RedisError

from app.cluster import nodes as nodes_module
from app.cluster.nodes import UNSURE_S
from app.cluster.supervision import end
from app.errors import StoreUnavailable
from app.store.redis import CONNECTION_ERRORS
from app.wire import Canary, decode, to_json
from tests.store.redis_proxy import Between, Cut, redis_proxy
from tests.support.cluster import running_cluster
from tests.support.eventually import eventually, steadily
from tests.support.redis_server import RedisServer

from .registry import Member, Registry, record_of

# --- where it is -------------------------------------------------------------------------------------------


async def test_a_node_that_listens_everywhere_is_where_redis_sees_it_also_when_that_changes(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with redis_proxy(registry.redis.port) as proxy:
        one = registry.member(url=proxy.url, at="http://0.0.0.0:8081")

        async def known_at(url: str) -> bool:
            record = record_of(registry, one)
            return record is not None and record["url"] == url

        one.run()
        await eventually(lambda: known_at("http://127.0.0.1:8081"))
        monkeypatch.setattr(nodes_module, "local_host", lambda connection: "10.0.0.7")
        proxy.once(Cut(0), containing=b"HSET")
        await eventually(lambda: known_at("http://10.0.0.7:8081"))


async def test_a_node_that_was_told_where_it_is_stays_there(registry: Registry) -> None:
    one = registry.member(at="http://10.0.0.5:80")
    await one.beat()
    assert (record_of(registry, one) or {})["url"] == "http://10.0.0.5:80"


# --- beating -----------------------------------------------------------------------------------------------


async def test_a_heartbeat_registers_the_node_with_what_it_is_now(registry: Registry) -> None:
    one = registry.member()
    await one.beat()
    assert record_of(registry, one) == {
        "beat": 1,
        "url": "http://127.0.0.1:1",
        "started_at": "2026-01-01",
        "connections": 0,
        "draining": False,
        "confirmed": 0,
    }
    one.connections, one.nodes.draining = 7, True
    await one.beat(2)
    record = record_of(registry, one)
    assert record is not None
    assert (record["beat"], record["connections"], record["draining"]) == (3, 7, True)


async def test_a_canary_goes_to_the_nodes_own_inbox_with_every_heartbeat(registry: Registry) -> None:
    one, other = registry.member(), registry.member()
    async with registry.redis.client(decode_responses=False) as client, client.pubsub() as heard:
        await heard.subscribe(one.keys.inbox(one.node.node_id))
        await one.beat()
        await other.beat()
        await one.beat()
        found = []
        while len(found) < 2:
            message = await heard.get_message(timeout=2)
            assert message is not None
            if message["type"] == "message":
                found.append(decode(message["data"]).payload)
    assert found == [Canary(1), Canary(2)]


async def test_a_node_is_dead_after_a_lease_of_ones_own_answered_heartbeats(registry: Registry) -> None:
    one, other = registry.member(lease_s=5), registry.member(lease_s=5)
    await other.beat()
    await one.beat(5)  # the first sees the other's counter, the four after it see that it stands still
    assert await one.sees(one, other) == [True, True]
    await one.beat()
    assert await one.sees(one, other) == [True, False]
    assert await other.sees(one, other) == [True, True], "how often the others beat is nothing to go by"


async def test_a_node_that_beats_again_is_alive_at_once(registry: Registry) -> None:
    one, other = registry.member(), registry.member()
    await other.beat()
    await one.beat(8)
    assert await one.sees(other) == [False]
    await other.beat()
    assert await one.sees(other) == [True]
    assert other.losses == 0


async def test_a_redis_that_does_not_answer_kills_nobody(registry: Registry) -> None:
    one, other = registry.member(timeout_s=0.03), registry.member()
    await other.beat()
    await one.beat()
    registry.redis.pause()
    for _ in range(8):
        with pytest.raises((RedisError, *CONNECTION_ERRORS)):
            await one.beat()
    registry.redis.resume()
    assert await eventually(lambda: sees(one, other)) == [True]
    await eventually(lambda: beaten(one))
    assert await one.sees(one, other) == [True, True]
    assert one.losses == 0


async def sees(one: Member, *others: Member) -> list[bool] | None:
    with contextlib.suppress(StoreUnavailable):
        return await one.sees(*others)
    return None


async def beaten(one: Member) -> bool:
    with contextlib.suppress(RedisError, *CONNECTION_ERRORS):
        await one.beat()
        return True
    return False


async def test_nodes_that_run_survive_a_redis_that_stalls_for_many_leases(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_module, "BEAT_S", 0.03)
    members = [registry.member(lease_s=0.3, timeout_s=0.1) for _ in range(2)]
    for member in members:
        member.run()

    async def all_alive() -> bool:
        return [await sees(member, *members) for member in members] == [[True, True]] * 2

    await eventually(all_alive)
    registry.redis.pause()
    await steadily(lambda: not any(loop.done() for m in members for loop in m.loops), for_s=1.0)  # three leases
    registry.redis.resume()
    await eventually(all_alive, within_s=1)
    await steadily(all_alive, for_s=0.5)
    assert [member.losses for member in members] == [0, 0]


async def test_the_loop_goes_on_when_redis_goes_and_comes(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_module, "BEAT_S", 0.02)
    one = registry.member(timeout_s=0.1)
    one.run()
    await eventually(lambda: record_of(registry, one))
    await asyncio.to_thread(registry.redis.restart, keep_data=False)
    await eventually(lambda: record_of(registry, one))
    await eventually(lambda: one.losses == 1)
    assert not one.loops[0].done()


# --- what was confirmed ------------------------------------------------------------------------------------


async def confirmed_with_each_beat(member: Member, beats: int) -> list[int]:
    """What is confirmed a second behind each of so many beats, the nth of which finds all up to n delivered."""
    found = []
    for _ in range(beats):
        member.delivered += 1
        await member.beat()
        found.append(member.nodes.confirmed)
    return found


@pytest.mark.parametrize(("confirmed_after_s", "beats"), [(3.0, 2), (2.1, 2), (0.5, 0), (65.0, 64)])
async def test_what_was_delivered_is_confirmed_when_the_node_has_lived_for_so_long_since(
    registry: Registry, confirmed_after_s: float, beats: int
) -> None:
    one = registry.member(confirmed_after_s=confirmed_after_s)
    assert one.nodes.confirmed == 0
    found = await confirmed_with_each_beat(one, beats + 3)
    assert found == [0] * beats + [1, 2, 3]


async def test_nothing_is_confirmed_while_a_node_stands_still(registry: Registry) -> None:
    one = registry.member(confirmed_after_s=3)
    await confirmed_with_each_beat(one, 4)
    for one.delivered in range(5, 25):
        await one.nodes.beat()  # in no time of its own
        assert one.nodes.confirmed == 2
    assert await confirmed_with_each_beat(one, 4) == [3, 4, 5, 26]


async def test_beats_that_were_not_answered_confirm_nothing(registry: Registry) -> None:
    async with redis_proxy(registry.redis.port) as proxy:
        one = registry.member(url=proxy.url, confirmed_after_s=3)
        assert await confirmed_with_each_beat(one, 5) == [0, 0, 1, 2, 3]
        for request_bytes in [0, 10**6] * 5:  # not done, and done
            one.delivered += 100
            proxy.once(Cut(request_bytes), containing=b"HSET")
            with pytest.raises((RedisError, *CONNECTION_ERRORS)):
                await one.beat()
            assert one.nodes.confirmed == 3
        one.delivered = 5
        assert await confirmed_with_each_beat(one, 3) == [4, 5, 6]


async def test_what_is_confirmed_does_not_fall_while_a_node_does_not_know_what_it_has_delivered(
    registry: Registry,
) -> None:
    one = registry.member(confirmed_after_s=1)
    one.delivered = 7
    await one.beat(3)
    assert one.nodes.confirmed == 7
    one.delivered = 0
    await one.beat(5)
    assert one.nodes.confirmed == 7
    one.delivered = 8
    await one.beat(3)
    assert one.nodes.confirmed == 8


async def test_a_heartbeat_tells_the_others_what_was_confirmed_and_not_more(registry: Registry) -> None:
    one, other = registry.member(confirmed_after_s=3), registry.member()
    for number in range(8):
        confirmed = one.nodes.confirmed
        one.delivered = number + 1
        await one.beat()
        await other.beat()
        record = other.nodes.record(one.node.node_id)
        assert record is not None
        assert record.confirmed == confirmed
    assert confirmed == 5


async def test_a_node_that_tells_nothing_of_what_was_confirmed_has_confirmed_nothing(registry: Registry) -> None:
    one, older = registry.member(), registry.member()
    await older.beat()
    found = record_of(registry, older)
    assert found is not None
    del found["confirmed"]
    registry.redis.command("HSET", older.keys.nodes, older.node.node_id, to_json(found))
    await one.beat()
    record = one.nodes.record(older.node.node_id)
    assert record is not None
    assert record.confirmed == 0


# --- the dead ----------------------------------------------------------------------------------------------


async def test_the_dead_are_those_whose_lease_has_passed_until_they_beat_again(registry: Registry) -> None:
    one, other, third = registry.member(), registry.member(), registry.member()
    await other.beat()
    await third.beat()
    await one.beat(5)
    assert one.nodes.dead() == []
    await third.beat()
    await one.beat()
    assert [record.node_id for record in one.nodes.dead()] == [other.node.node_id]
    await other.beat()
    await one.beat()
    assert one.nodes.dead() == []


async def test_what_was_last_seen_of_a_node_is_there_while_redis_is_not(registry: Registry) -> None:
    one, other = registry.member(), registry.member()
    await other.beat(3)
    await one.beat()
    registry.redis.kill()
    record = one.nodes.record(other.node.node_id)
    assert record is not None
    assert (record.node_id, record.beat) == (other.node.node_id, 3)
    assert one.nodes.record("00000000") is None


# --- forgetting --------------------------------------------------------------------------------------------


async def test_a_node_that_was_dead_for_long_is_forgotten(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_module, "FORGET_LEASES", 3)
    one, other = registry.member(lease_s=2), registry.member()
    await other.beat()
    await one.beat(6)
    assert len(await one.nodes.all()) == 2
    assert record_of(registry, other) is not None
    await one.beat()
    assert record_of(registry, other) is None
    assert [record.node_id for record in await one.nodes.all()] == [one.node.node_id]


async def test_a_node_that_was_forgotten_comes_back_and_checks_what_is_left_of_it(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_module, "FORGET_LEASES", 1)
    one, other = registry.member(lease_s=2), registry.member()
    await other.beat(2)
    await one.beat(4)
    assert record_of(registry, other) is None
    await other.beat()
    assert await one.sees(other) == [True]
    assert (one.losses, other.losses) == (0, 1)


async def test_a_node_that_leaves_is_gone_at_once(registry: Registry) -> None:
    one, other = registry.member(), registry.member()
    await other.beat()
    await one.beat()
    await other.nodes.leave()
    assert record_of(registry, other) is None
    assert [record.node_id for record in await one.nodes.all()] == [one.node.node_id]
    assert await one.nodes.find(other.node.node_id) is None
    with contextlib.suppress(StoreUnavailable):
        await other.nodes.leave()  # twice is fine


async def test_leaving_a_redis_that_is_away_is_an_error(registry: Registry) -> None:
    one = registry.member()
    await one.beat()
    registry.redis.kill()
    with pytest.raises(StoreUnavailable):
        await one.nodes.leave()


async def test_a_node_that_leaves_in_the_middle_of_a_heartbeat_is_gone(registry: Registry) -> None:
    async with redis_proxy(registry.redis.port) as proxy:
        one = registry.member(url=proxy.url)
        await one.beat()
        released = asyncio.Event()
        proxy.once(Between(0, released.wait), containing=b"HSET")
        beat = asyncio.create_task(one.beat())
        await eventually(lambda: proxy.held)
        leaving = asyncio.create_task(one.nodes.leave())
        released.set()
        await asyncio.gather(beat, leaving)
        await one.beat()
        assert record_of(registry, one) is None


async def test_cancelling_ends_a_heartbeat_wherever_it_is(registry: Registry) -> None:
    one = registry.member()
    await one.beat()
    for steps in range(40):
        one.run()
        for _ in range(steps):
            await asyncio.sleep(0)
        await asyncio.wait_for(end([one.loops[-1]]), 2.0)
        assert one.loops[-1].done(), f"cancelled after {steps} steps"


# --- asking ------------------------------------------------------------------------------------------------


async def test_all_is_what_redis_has_now_and_asking_ages_nobody(registry: Registry) -> None:
    one = registry.member(started_at="2026-01-02")
    await one.beat()
    other = registry.member(started_at="2026-01-01")
    await other.beat()
    for _ in range(20):
        found = await one.nodes.all()
    assert [record.node_id for record in found] == [other.node.node_id, one.node.node_id], "the oldest first"
    assert all(one.nodes.is_alive(record) for record in found)
    other.connections = 5
    await other.beat()
    assert [record.connections for record in await one.nodes.all()] == [5, 0]


async def test_a_node_that_has_not_beaten_can_ask_too(registry: Registry) -> None:
    one, other = registry.member(), registry.member()
    await other.beat()
    assert await one.sees(one, other) == [False, True]


async def test_asking_a_redis_that_is_away_is_an_error(registry: Registry) -> None:
    one = registry.member()
    registry.redis.kill()
    with pytest.raises(StoreUnavailable):
        await one.nodes.all()


async def test_a_look_between_heartbeats_brings_nobodys_death_nearer(registry: Registry) -> None:
    one, other = registry.member(lease_s=2), registry.member()
    await one.beat()
    one.alive_s += 0.9
    await other.beat()
    assert await one.sees(other) == [True]
    assert await one.nodes.find(other.node.node_id)
    await one.beat()  # at once after it was first seen
    one.alive_s -= 0.1
    await one.beat()
    assert await one.sees(other) == [True], "0.9 s is not a lease of 2 s"
    await one.beat()
    assert await one.sees(other) == [False]


async def test_heartbeats_in_a_row_are_no_lease(registry: Registry) -> None:
    one, other = registry.member(lease_s=2), registry.member()
    await other.beat()
    for _ in range(20):
        await one.nodes.beat()
    assert await one.sees(other) == [True]


async def test_time_in_which_this_node_did_not_look_counts_as_one_heartbeat(registry: Registry) -> None:
    one, other = registry.member(lease_s=2), registry.member()
    await other.beat()
    await one.beat()
    one.alive_s += 60
    await one.beat()
    assert await one.sees(other) == [True]


async def test_a_living_node_is_found_by_its_id_and_no_other(registry: Registry) -> None:
    one, other = registry.member(), registry.member()
    await one.beat()
    assert await one.nodes.find("00000000") is None
    assert await one.nodes.find(other.node.node_id) is None
    await other.beat()
    found = await one.nodes.find(other.node.node_id)
    assert found is not None
    assert (found.node_id, found.url) == (other.node.node_id, other.node.url)
    await one.beat(6)
    assert await one.nodes.find(other.node.node_id) is None, "it is dead"
    await other.beat()
    assert await one.nodes.find(other.node.node_id) is not None, "it beats again, as Redis says"
    await one.beat(6)
    assert await one.nodes.find(other.node.node_id) is None


async def test_a_node_that_others_may_hold_dead_is_registered_with_its_next_heartbeat(registry: Registry) -> None:
    one = registry.member()
    waiting = asyncio.ensure_future(one.nodes.registered())
    assert not (await asyncio.wait([waiting], timeout=0.2))[0]
    await one.beat()
    await asyncio.wait_for(waiting, 0.2)
    await asyncio.wait_for(one.nodes.registered(), 0.2)
    one.nodes.answered_s -= UNSURE_S
    waiting = asyncio.ensure_future(one.nodes.registered())
    assert not (await asyncio.wait([waiting], timeout=0.2))[0]
    await one.beat()
    await asyncio.wait_for(waiting, 0.2)


async def test_nobody_waits_long_for_a_redis_that_is_away(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cluster.nodes.REGISTERED_WITHIN_S", 0.1)
    await asyncio.wait_for(registry.member().nodes.registered(), 5)


async def test_finding_needs_redis_for_a_new_node_only(registry: Registry) -> None:
    one, other = registry.member(), registry.member()
    await other.beat()
    await one.beat()
    registry.redis.kill()
    assert await one.nodes.find(other.node.node_id) is not None
    assert await one.nodes.find("00000000") is None


# --- processes ---------------------------------------------------------------------------------------------


async def test_a_node_that_is_stopped_is_dead_for_the_others_and_alive_when_it_goes_on(
    own_redis: RedisServer, key_prefix: str
) -> None:
    async with running_cluster(own_redis.url, key_prefix, 2, LEASE_S="2") as cluster:

        async def alive() -> dict[str, bool]:
            nodes = (await cluster.get("/api/nodes"))["nodes"]
            return {node["url"]: node["alive"] for node in nodes}

        first, second = (node.url for node in cluster.nodes)
        await eventually(lambda: is_now(alive, {first: True, second: True}))
        cluster[1].send(signal.SIGSTOP)
        started_s = asyncio.get_running_loop().time()
        await eventually(lambda: is_now(alive, {first: True, second: False}), within_s=6)
        assert asyncio.get_running_loop().time() - started_s > 1, "a lease has passed"
        cluster[1].send(signal.SIGCONT)
        await eventually(lambda: is_now(alive, {first: True, second: True}))
        assert "Redis lost data" not in cluster[0].log() + cluster[1].log()
        assert cluster[1].end() == 0
        await eventually(lambda: is_now(alive, {first: True}))


async def is_now(alive: Any, expected: dict[str, bool]) -> bool:
    found: dict[str, bool] = await alive()
    assert found == expected
    return True
