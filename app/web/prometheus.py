"""`/metrics`: what happened and what is, as Prometheus reads it, of this node and of those at the same address.

Several nodes behind one port (gunicorn's workers, `clusterkit up`) cannot be scraped one by one, so whichever is
asked asks the others too, and every sample says its node. Gauges are read when they are asked for.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

import aiohttp
from prometheus_client import Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from ..cluster.cluster import Cluster
from ..cluster.nodes import NodeRecord
from ..errors import StoreUnavailable
from ..metrics import Histogram, described
from .security import require_token

PREFIX = "clusterkit_"
ALONE = "alone"  # ?alone=1: of this node only
SIBLING_LIMIT_S = 2.0
REDIS_LIMIT_S = 1.0


class Families(Collector):
    """Families of samples that were collected before, of the same name joined."""

    def __init__(self, collected: Iterable[Metric]) -> None:
        self._by_name: dict[str, Metric] = {}
        for family in collected:
            known = self._by_name.setdefault(family.name, family)
            if known is not family:
                known.samples.extend(family.samples)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        yield from self._by_name.values()

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self)


class Exporter:
    """The endpoint. `admin_token` guards it where it is not empty; `forwarded` counts forwarded WebSockets."""

    def __init__(self, cluster: Cluster, admin_token: str, forwarded: Callable[[], int]) -> None:
        self._cluster = cluster
        self._forwarded = forwarded
        self._token = admin_token
        self._check_token = require_token(admin_token)

    async def metrics(self, request: Request) -> Response:
        """The samples of all nodes at this node's address; a node that does not answer in time is left out."""
        self._check_token(request)
        alone = ALONE in request.query_params
        parts = await asyncio.gather(self._of_redis(), *([] if alone else [self._of_siblings()]))
        families = itertools.chain(self._own(), *parts)
        return Response(Families(families).text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    def _own(self) -> Iterator[Metric]:
        node_id, metrics = self._cluster.node.node_id, self._cluster.metrics
        for name, text in described().items():
            value = getattr(metrics, name)
            if isinstance(value, Histogram):
                yield _histogram(name, text, node_id, value)
            else:
                yield _one(CounterMetricFamily(PREFIX + name, text, labels=["node"]), node_id, value)
        for name, text, value in self._gauges():
            yield _one(GaugeMetricFamily(PREFIX + name, text, labels=["node"]), node_id, value)

    def _gauges(self) -> Iterator[tuple[str, str, float]]:
        cluster, locals_ = self._cluster, self._cluster.locals
        readiness = cluster.readiness()
        yield "connections", "Engine.IO sessions with a socket here.", len(locals_.by_eio_sid)
        yield "forwarded_websockets", "WebSockets here of sessions on other nodes.", self._forwarded()
        yield "sockets", "Socket.IO sockets here.", len(locals_.sockets)
        yield "rooms", "Rooms with a member here.", len(locals_.rooms)
        yield "appends_waiting", "Appends that have no answer yet.", cluster.writer.waiting
        yield "ready", "1 where /readyz answers 200.", readiness.ready
        yield "draining", "1 where the node takes no new clients.", cluster.nodes.draining
        yield "canary_age_seconds", "Since the node last heard itself through Redis.", readiness.canary_age_s

    async def _of_redis(self) -> list[Metric]:
        client, keys = self._cluster.store.client, self._cluster.keys
        try:
            async with asyncio.timeout(REDIS_LIMIT_S):
                away = await self._cluster.store.answer(client.zcard(keys.away))
        except (StoreUnavailable, TimeoutError):
            return []
        family = GaugeMetricFamily(PREFIX + "away_sockets", "Sockets of the cluster whose connection broke.")
        family.add_metric([], away)
        return [family]

    async def _of_siblings(self) -> list[Metric]:
        own = self._cluster.node
        others = (each.url for each in await self._nodes() if each.node_id != own.node_id)
        urls = [url for url in others if _host(url) == _host(own.url)]
        if not urls:
            return []
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        limit = aiohttp.ClientTimeout(total=SIBLING_LIMIT_S)
        async with aiohttp.ClientSession(headers=headers, timeout=limit) as session:
            texts = await asyncio.gather(*(_scrape(session, url) for url in urls))
        families = (family for text in texts for family in text_string_to_metric_families(text))
        return [family for family in families if family.name != PREFIX + "away_sockets"]

    async def _nodes(self) -> list[NodeRecord]:
        """Those that Redis knows, one that has just come among them; while it is away those that it knew."""
        registry = self._cluster.nodes
        try:
            async with asyncio.timeout(REDIS_LIMIT_S):
                return await registry.all()
        except (StoreUnavailable, TimeoutError):
            return registry.seen()


async def _scrape(session: aiohttp.ClientSession, url: str) -> str:
    with contextlib.suppress(aiohttp.ClientError, OSError):  # a time-out is an OSError
        async with session.get(f"{url}/metrics?{ALONE}=1") as response:
            if response.status == 200:
                return await response.text()
    return ""


def _host(url: str) -> str | None:
    return urlsplit(url).hostname


def _one(family: CounterMetricFamily | GaugeMetricFamily, node_id: str, value: float) -> Metric:
    family.add_metric([node_id], value)
    return family


def _histogram(name: str, text: str, node_id: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, text, labels=["node"])
    buckets, total = [], 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    family.add_metric([node_id], buckets, histogram.sum)
    return family
