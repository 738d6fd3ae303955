"""Stock clients that have missed thousands of events, over every transport; two namespaces on one connection."""

import asyncio

import orjson
import pytest

from app.hub.emitter import Emitter
from tests.support.cluster import RunningCluster
from tests.support.js_client import JsClients
from tests.support.raw_websocket import RawWebSocket

from .door import Door
from .people import WAYS, agree, away, back, offsets, say, stock, witness

pytestmark = pytest.mark.asyncio(loop_scope="module")

MISSED = 3_000
PADDING = "x" * 500
WITHIN_S = 30.0


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    """Less than what is missed may wait for a client; both are left to come back for long."""
    return {"SEND_BUFFER_BYTES": "100000", "MAX_MESSAGE_BYTES": "50000", "LEAVE_GRACE_S": "60"}


@pytest.mark.parametrize("way", WAYS)
async def test_a_stock_client_gets_thousands_of_events_while_more_are_sent(
    cluster: RunningCluster, js: JsClients, door: Door, emitter: Emitter, room: str, way: str
) -> None:
    bob = await witness(js, cluster[2].url, room)
    ann = await stock(js, door.url, room, "ann", way)
    await say(bob, "before")
    door.shut()
    await away(ann, door.cut)
    await asyncio.gather(*(emitter.emit("step", [n, PADDING], room=room) for n in range(MISSED)))
    door.lead_to(cluster[1].url)
    for n in range(MISSED, MISSED + 300):
        await emitter.emit("step", [n, PADDING], room=room)
    await back(ann)
    await ann.wait_for("step", lambda step, _: step[0] == MISSED + 299, within_s=WITHIN_S)
    await say(bob, "after")
    await agree(ann, bob)
    assert (ann.recovered, ann.reconnects) == (True, 1)
    assert [step[0] for step, _ in ann.args_of("step")] == list(range(MISSED + 300))
    assert offsets(ann) == sorted(set(offsets(ann)))


async def test_an_event_larger_than_a_page_is_replayed(
    cluster: RunningCluster, js: JsClients, door: Door, emitter: Emitter, room: str
) -> None:
    ann = await stock(js, door.url, room, "ann")
    door.shut()
    await away(ann, door.cut)
    sizes = [45_000, 1, 45_000, 45_000, 2, 45_000]
    for size in sizes:
        await emitter.emit("blob", ("x" * size, bytes(size)), room=room)
    door.lead_to(cluster[1].url)
    await back(ann)
    await ann.wait_until(lambda: len(ann.args_of("blob")) == len(sizes))
    assert [(len(text), len(data)) for text, data, _ in ann.args_of("blob")] == [(size, size) for size in sizes]
    assert ann.recovered


class TwoNamespaces:
    """One connection with a socket in `/` and one in `/lobby`, as a stock client's manager makes it."""

    def __init__(self) -> None:
        self.ws: RawWebSocket | None = None
        self.pids: dict[str, str] = {}
        self.welcomes: dict[str, dict[str, str]] = {}

    async def come(self, url: str) -> dict[str, bool]:
        """Whether each of them was recovered."""
        self.ws = ws = await RawWebSocket.connect(url)
        await ws.shake_hands()
        await ws.open_engine()
        recovered = {}
        for namespace, prefix in (("/", "40"), ("/lobby", "40/lobby,")):
            auth = {"recover": True, "room": "two", "pid": self.pids.get(namespace)}
            await ws.say(prefix + orjson.dumps(auth).decode())
        for namespace, prefix in (("/", "40{"), ("/lobby", "40/lobby,{")):
            answer = await ws.message_for(prefix)
            self.welcomes[namespace] = orjson.loads(answer[len(prefix) - 1 :])
            pid = self.welcomes[namespace]["pid"]
            recovered[namespace], self.pids[namespace] = pid == self.pids.get(namespace), pid
        return recovered


@pytest.mark.parametrize("number", [0, 1], ids=["the same node", "another node"])
async def test_both_namespaces_of_a_half_open_connection_are_recovered(
    cluster: RunningCluster, number: int
) -> None:
    two = TwoNamespaces()
    assert await two.come(cluster[0].url) == {"/": False, "/lobby": False}
    sids = {namespace: each["sid"] for namespace, each in two.welcomes.items()}
    former = two.ws
    assert await two.come(cluster[number].url) == {"/": True, "/lobby": True}
    assert {namespace: each["sid"] for namespace, each in two.welcomes.items()} == sids
    assert former is not None
    await asyncio.wait_for(former.rest(), WITHIN_S)
    assert two.ws is not None
    await two.ws.say('421["send_msg",{"to":"ALL","msg":"a"}]', '42/lobby,2["send_msg",{"to":"ALL","msg":"b"}]')
    for prefix in ("431", "43/lobby,2"):
        assert (await two.ws.message_for(prefix)).endswith('[{"ok":true}]')
    two.ws.close()
