"""`/metrics`: every counter and gauge of every node at an address, read from what is."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from app.metrics import Histogram, Metrics, described
from tests.recovery.breakdowns import paused
from tests.recovery.visitor import Visitor
from tests.support.cluster import RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "secret"
MEMBERS = 7
Samples = dict[tuple[str, str], float]  # (name, node or "") -> value


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(own_module_redis: RedisServer) -> AsyncIterator[RunningCluster]:
    async with running_cluster(own_module_redis.url, "metrics", 2, ADMIN_TOKEN=TOKEN, LOCALE="en") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def own_module_redis() -> Iterator[RedisServer]:
    with RedisServer() as redis:
        yield redis


async def scraped(url: str, query: str = "") -> Samples:
    headers = {"Authorization": f"bearer {TOKEN}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{url}/metrics{query}") as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        text = await response.text()
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for name, labels, value, *_ in family.samples:
            if not name.endswith("_bucket"):
                place = (name, labels.get("node", ""))
                assert place not in samples, place
                samples[place] = value
    return samples


def of(samples: Samples, name: str) -> list[float]:
    return [value for (each, _), value in samples.items() if each == f"clusterkit_{name}"]


async def test_every_counter_is_there_for_each_node_whichever_is_asked(cluster: RunningCluster) -> None:
    for node in cluster.nodes:  # which has hardly begun to look at the other
        samples = await scraped(node.url)
        for name in described():
            values = [*of(samples, f"{name}_total"), *of(samples, f"{name}_count")]
            assert len(values) == 2, name
        assert of(samples, "away_sockets") == [0]
    alone = await scraped(cluster[0].url, "?alone=1")
    assert len(of(alone, "connections")) == 1


async def test_gauges_and_counters_tell_what_is_and_what_happened(cluster: RunningCluster) -> None:
    members = [Visitor({"recover": False, "room": "room", "nickname": f"{n}"}) for n in range(MEMBERS)]
    for number, each in enumerate(members):
        await each.come(cluster[number % 2].url)

    async def all_counted() -> bool:
        samples = await scraped(cluster[0].url)
        return (sum(of(samples, "connections")), of(samples, "rooms")) == (MEMBERS, [2, 2])

    await eventually(all_counted)
    samples = await scraped(cluster[1].url)
    assert sorted(of(samples, "sockets")) == [MEMBERS // 2, MEMBERS - MEMBERS // 2]
    assert of(samples, "ready") == [1, 1]
    assert of(samples, "draining") == [0, 0]
    assert all(0 <= age < 5 for age in of(samples, "canary_age_seconds"))
    assert sum(of(samples, "appends_total")) == sum(of(samples, "append_seconds_count")) >= 2 * MEMBERS
    assert all(took > 0 for took in of(samples, "append_seconds_sum"))
    assert all(count > 0 for count in of(samples, "flush_bytes_count"))
    for each in members:
        each.cut()

    async def none_left() -> bool:
        return sum(of(await scraped(cluster[0].url), "connections")) == 0

    await eventually(none_left)


async def test_it_asks_for_the_token(cluster: RunningCluster) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{cluster[0].url}/metrics") as response:
        assert response.status == 401


async def test_it_answers_while_redis_and_the_other_node_do_not(
    cluster: RunningCluster, own_module_redis: RedisServer
) -> None:
    assert len(of(await scraped(cluster[0].url), "connections")) == 2  # from here on it knows the other
    own_module_redis.pause()
    try:
        samples = await asyncio.wait_for(scraped(cluster[0].url), 8)
    finally:
        own_module_redis.resume()
    assert of(samples, "away_sockets") == []
    assert len(of(samples, "connections")) == 2
    with paused(cluster[1]):
        samples = await asyncio.wait_for(scraped(cluster[0].url), 8)
    assert len(of(samples, "connections")) == 1


async def test_a_histogram_counts_up_to_its_bounds() -> None:
    histogram = Histogram((1, 2.5))
    for value in (0.5, 1, 2, 2.5, 3, 100):
        histogram.observe(value)
    assert (histogram.counts, histogram.sum) == ([2, 2, 2], 109)
    assert Metrics().append_seconds is not Metrics().append_seconds
