"""Any node answers any request: what belongs to another node's session goes there and back unchanged."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from app.hub.emitter import Emitter
from app.settings import load_settings
from tests.support.cluster import ClusterNode, RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClient, JsClients
from tests.support.redis_server import RedisServer

from .engine import (
    PATH,
    UNKNOWN_SESSION,
    Refusal,
    Session,
    break_off_a_poll,
    close_code,
    event,
    fields_of,
    gone,
    receive,
    receive_for,
    request,
    said,
    websocket,
)

POLLERS = 50
SOAK_S = 30.0
SOAK_EVERY_S = 0.25  # between two messages, whoever sends them
MAX_MESSAGE_BYTES = 1_000_000  # the default
HOP = "X-Clusterkit-Hop"
NOBODY = "0" * 8  # no node's id
TCP_ESTABLISHED = "01"


@pytest.fixture
async def emitter(redis_server: RedisServer, cluster_prefix: str) -> AsyncIterator[Emitter]:
    """Emits anything to the module's cluster, other than the chat does."""
    settings = load_settings(redis_url=redis_server.url, key_prefix=cluster_prefix)
    async with Emitter(settings) as emitter:
        yield emitter


@pytest.fixture
def own(cluster: RunningCluster) -> str:
    """The node that has the session."""
    return cluster[0].url


@pytest.fixture
def other(cluster: RunningCluster) -> str:
    """A node that has not."""
    return cluster[1].url


async def member(http: aiohttp.ClientSession, url: str, room: str) -> Session:
    """A session whose socket is in a room, and has read everything about its own joining."""
    session = await Session.open(http, url)
    await session.connect({"room": room})
    await session.poll_for('42["userlist"')
    return session


# --- long-polling --------------------------------------------------------------------------------------------


@pytest.mark.time_limit(120)
async def test_50_pollers_through_the_shared_port_hear_everything_in_one_order(cluster: RunningCluster) -> None:
    async with JsClients() as js:
        pollers = await js.open_many(POLLERS, cluster.url, transports=["polling"], auth={"room": "soak"})
        sent = await _soak(pollers)
        heard = [await _heard(poller, len(sent)) for poller in pollers]
        assert sorted(heard[0]) == sorted(sent)
        assert all(each == heard[0] for each in heard)
        for poller in pollers:
            assert (poller.reconnects, poller.disconnects, poller.errors) == (0, [], []), poller
            assert not poller.args_of("error_msg")
            assert poller.transport == "polling"
    assert not [node.number for node in cluster.nodes if "nvalid session" in node.log()]


async def _soak(pollers: list[JsClient]) -> list[str]:
    """The pollers speak in turn for `SOAK_S`, each acknowledged; returns what was said."""
    sent: list[str] = []
    acknowledged = []
    end_s = time.monotonic() + SOAK_S
    while time.monotonic() < end_s:
        sent.append(str(len(sent)))
        poller = pollers[len(sent) % POLLERS]
        acknowledged.append(asyncio.ensure_future(poller.emit("send_msg", {"to": "ALL", "msg": sent[-1]})))
        await asyncio.sleep(SOAK_EVERY_S)  # the pace, not a wait
    assert all(answer["ok"] for answer in await asyncio.gather(*acknowledged))
    return sent


async def _heard(poller: JsClient, count: int) -> list[str]:
    def heard() -> list[str]:
        messages = [fields for (fields,) in poller.args_of("broadcast_msg") if fields["type"] == "message"]
        return [fields["msg"].rpartition(" : ")[2] for fields in messages]

    await poller.wait_until(lambda: len(heard()) >= count, what=f"{count} messages")
    return heard()


async def test_a_session_is_served_through_every_node(
    http: aiohttp.ClientSession, cluster: RunningCluster
) -> None:
    session = await member(http, cluster[0].url, "everywhere")
    heard = []
    for n in range(9):
        await session.post(event("send_msg", {"to": "ALL", "msg": str(n)}), url=cluster[n % 3].url)
        heard.append(await session.poll_for('42["broadcast_msg"', url=cluster[(n + 1) % 3].url))
    assert said(heard) == [str(n) for n in range(9)]


async def test_an_answer_comes_through_as_it_was_given(http: aiohttp.ClientSession, own: str, other: str) -> None:
    session = await Session.open(http, own)
    await session.post("40")
    async with http.get(session.poll_url(other), headers={"Origin": other}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; charset=UTF-8"
        assert answer.headers["Access-Control-Allow-Origin"] == other
        assert (await answer.text()).startswith("40")
    with pytest.raises(Refusal) as refused:
        await session.post("9", url=other)
    assert (refused.value.status, refused.value.json()) == (400, "Bad Request")


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
async def test_a_compressed_answer_comes_through_whole(
    http: aiohttp.ClientSession, own: str, other: str, accepted: str
) -> None:
    session, witness = [await member(http, own, f"compressed-{accepted}") for _ in range(2)]
    await session.poll_for('42["userlist"')  # with the witness in it
    await session.post(*(event("send_msg", {"to": "ALL", "msg": "x" * 1000}) for _ in range(20)))
    await witness.poll_many('42["broadcast_msg"', 20)  # a node delivers to all of its members at once
    async with http.get(session.poll_url(other), headers={"Accept-Encoding": accepted}) as answer:
        assert answer.headers.get("Content-Encoding", "identity") == accepted
        assert len(said((await answer.text()).split("\x1e"))) == 20


@pytest.mark.parametrize("size_bytes", [10, 70_000, MAX_MESSAGE_BYTES])
async def test_bodies_up_to_the_largest_are_forwarded(
    http: aiohttp.ClientSession, own: str, other: str, size_bytes: int
) -> None:
    session = await member(http, own, f"body-{size_bytes}")
    await session.post(sized(max(size_bytes, 60)), url=other)
    await session.poll_for("431[", url=other)


async def test_a_longer_body_is_refused(http: aiohttp.ClientSession, own: str, other: str) -> None:
    session = await member(http, own, "too-long")
    with pytest.raises(Refusal) as refused:
        await session.post(sized(MAX_MESSAGE_BYTES + 1), url=other)
    assert refused.value.status == 400
    with pytest.raises(Refusal):
        await session.poll(other)


async def test_large_answers_are_forwarded(
    http: aiohttp.ClientSession, own: str, other: str, emitter: Emitter
) -> None:
    session = await member(http, own, "large-answers")
    text = "글" * 900_000
    await emitter.emit("large", {"text": text}, room="large-answers")
    assert fields_of(await session.poll_for('42["large"', url=other))["text"] == text


async def test_a_body_that_waits_to_be_asked_for_is_forwarded(
    http: aiohttp.ClientSession, own: str, other: str
) -> None:
    """curl and some proxies send `Expect: 100-continue` with a large body."""
    session = await member(http, own, "expecting")
    await session.post(sized(2000), url=other, expect100=True)
    await session.poll_for("431[", url=other)


async def test_binary_messages_are_polled_in_base64(
    http: aiohttp.ClientSession, own: str, other: str, emitter: Emitter
) -> None:
    polling = await member(http, own, "both")
    upgrading = await member(http, own, "both")
    async with upgrading.upgraded(other) as ws:
        await emitter.emit("bytes", {"content": b"\x00\xff"}, room="both")
        await receive_for(ws, '451-["bytes"')
        assert await receive(ws) == b"\x00\xff"
    await polling.poll_for('451-["bytes"', url=other)
    assert await polling.poll_for("b", url=other) == "bAP8="


# --- unknown sessions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("node_id", [NOBODY, "ffffffff"])
async def test_a_session_of_no_node_is_unknown(http: aiohttp.ClientSession, own: str, node_id: str) -> None:
    for method in ("GET", "POST"):
        with pytest.raises(Refusal) as refused:
            await request(http, method, f"{own}{PATH}polling&sid={node_id}{'x' * 20}")
        assert (refused.value.status, refused.value.json()) == (400, UNKNOWN_SESSION)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with websocket(http, own, f"{node_id}{'x' * 20}"):
            pass


@pytest.mark.parametrize("sid", ["x", "", "127.0.0.1:80", "a" * 28 + "b", "%00", "../../api/nodes", "a&sid=b"])
async def test_a_made_up_session_is_unknown(http: aiohttp.ClientSession, own: str, sid: str) -> None:
    with pytest.raises(Refusal) as refused:
        await request(http, "POST", f"{own}{PATH}polling&sid={sid}")
    assert refused.value.status == 400


async def test_a_made_up_session_of_another_node_is_unknown(
    http: aiohttp.ClientSession, own: str, other: str
) -> None:
    session = await Session.open(http, own)
    with pytest.raises(Refusal) as refused:
        await request(http, "GET", f"{other}{PATH}polling&sid={session.sid[:8]}{'x' * 20}")
    assert refused.value.status == 400
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with websocket(http, other, f"{session.sid[:8]}{'x' * 20}"):
            pass


async def test_nothing_in_a_request_says_where_it_is_forwarded_to(http: aiohttp.ClientSession, own: str) -> None:
    called: list[object] = []
    trap = await asyncio.start_server(lambda reader, writer: called.append(writer), "127.0.0.1", 0)
    async with trap:
        port = trap.sockets[0].getsockname()[1]
        place = f"127.0.0.1:{port}"
        headers = {"Host": place, "X-Forwarded-Host": place, "Forwarded": f"host={place}", "Via": place}
        for sid in (f"{NOBODY}{'x' * 20}", f"{NOBODY}{'x' * 20}@{place}", place, f"http://{place}/"):
            with pytest.raises(Refusal):
                await request(http, "GET", f"{own}{PATH}polling&sid={sid}", headers=headers)
        session = await Session.open(http, own)
        await session.post("40", headers=headers)
        assert not called


async def test_what_was_forwarded_once_is_not_forwarded_again(
    http: aiohttp.ClientSession, own: str, other: str
) -> None:
    session = await Session.open(http, own)
    with pytest.raises(Refusal) as refused:
        await session.poll(other, headers={HOP: "1"})
    assert (refused.value.status, refused.value.json()) == (400, UNKNOWN_SESSION)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with http.ws_connect(f"{other}{PATH}websocket&sid={session.sid}", headers={HOP: "1"}):
            pass
    await session.post("40", headers={HOP: "1"})
    assert (await session.poll())[0].startswith("40")


# --- clients that leave --------------------------------------------------------------------------------------


async def test_a_forwarded_poll_ends_with_its_client(http: aiohttp.ClientSession, cluster: RunningCluster) -> None:
    session = await Session.open(http, cluster[0].url)
    await session.connect()
    for _ in range(50):
        await break_off_a_poll(session, cluster[1].url)
    await eventually(lambda: len(connections(cluster[1], cluster[0])) < 20, within_s=3)


async def test_connections_between_nodes_are_counted(http: aiohttp.ClientSession, cluster: RunningCluster) -> None:
    session = await Session.open(http, cluster[2].url)
    async with session.upgraded(cluster[0].url):
        assert connections(cluster[0], cluster[2])
    assert not connections(cluster[2], cluster[2])


async def test_a_node_serves_on_after_200_polls_that_were_broken_off(
    http: aiohttp.ClientSession, cluster: RunningCluster
) -> None:
    session = await Session.open(http, cluster[0].url)
    await session.connect()
    for _ in range(200):
        await break_off_a_poll(session, cluster[1].url)
    neighbour = await member(http, cluster[0].url, "neighbour")
    await neighbour.post(event("send_msg", {"to": "ALL", "msg": "fine"}), url=cluster[1].url)
    assert said([await neighbour.poll_for('42["broadcast_msg"', url=cluster[1].url)]) == ["fine"]


async def test_a_poll_whose_forwarding_is_broken_off_ends_its_session(
    http: aiohttp.ClientSession, cluster: RunningCluster
) -> None:
    """As in the Node.js server: else what comes next goes to the poll that nobody waits for, and is lost."""
    session = await member(http, cluster[0].url, "broken-off")
    await break_off_a_poll(session, cluster[1].url)
    await gone(http, cluster[0].url, "broken-off")
    with pytest.raises(Refusal):
        await session.poll(cluster[2].url)


def connections(client: ClusterNode, server: ClusterNode) -> list[str]:
    """The TCP connections from one node's process to the own port of another, as the kernel lists them."""
    port = f":{URL(server.url).port:04X}"
    sockets = set(_open_files(client.pid))
    lines = Path(f"/proc/{client.pid}/net/tcp").read_text().splitlines()[1:]
    found = [line.split() for line in lines]
    return [
        fields[1]
        for fields in found
        if fields[2].endswith(port) and fields[3] == TCP_ESTABLISHED and f"socket:[{fields[9]}]" in sockets
    ]


def _open_files(pid: int) -> Iterator[str]:
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
            yield str(file.readlink())


# --- WebSocket -----------------------------------------------------------------------------------------------


async def test_an_upgrade_through_another_node_misses_nothing(
    http: aiohttp.ClientSession, own: str, other: str
) -> None:
    session = await member(http, own, "upgrade")
    await session.post(event("send_msg", {"to": "ALL", "msg": "before"}))
    async with session.websocket(other) as ws:
        await ws.send_str("2probe")
        assert await receive(ws) == "3probe"
        await session.post(event("send_msg", {"to": "ALL", "msg": "probed"}))
        await ws.send_str("5")
        await ws.send_str(event("send_msg", {"to": "ALL", "msg": "upgraded"}))
        heard = [await receive_for(ws, '42["broadcast_msg"') for _ in range(3)]
    assert said(heard) == ["before", "probed", "upgraded"]


async def test_stock_clients_upgrade_through_the_shared_port(cluster: RunningCluster) -> None:
    async with JsClients() as js:
        clients = await js.open_many(12, cluster.url, auth={"room": "stock"})
        for client in clients:
            await client.wait_until(lambda each=client: each.transport == "websocket", what="upgrade")
        await clients[0].emit("send_msg", {"to": "ALL", "msg": "all here?"})
        for client in clients:
            await client.wait_for("broadcast_msg", lambda fields: fields["msg"].endswith("all here?"))
            assert (client.reconnects, client.errors) == (0, [])


async def test_binary_frames_go_both_ways(
    http: aiohttp.ClientSession, own: str, other: str, emitter: Emitter
) -> None:
    session = await member(http, own, "binary")
    content = bytes(range(256)) * 40
    async with session.upgraded(other) as ws:
        await ws.send_str('451-1["send_msg",{"to":"ALL","msg":{"_placeholder":true,"num":0}}]')
        await ws.send_bytes(content)
        assert fields_of(await receive_for(ws, "431["))["error"]["code"] == "bad_msg"
        await emitter.emit("bytes", {"content": content}, room="binary")
        await receive_for(ws, '451-["bytes"')
        assert await receive(ws) == content


async def test_large_messages_go_both_ways(
    http: aiohttp.ClientSession, own: str, other: str, emitter: Emitter
) -> None:
    session = await member(http, own, "large")
    async with session.upgraded(other) as ws:
        await ws.send_str(sized(MAX_MESSAGE_BYTES))
        assert fields_of(await receive_for(ws, "431["))["error"]["code"] == "bad_msg"
        await emitter.emit("large", {"text": "x" * 950_000}, room="large")
        assert len(fields_of(await receive_for(ws, '42["large"'))["text"]) == 950_000


@pytest.mark.parametrize("node", [0, 1], ids=["its own node", "forwarded"])
async def test_a_message_of_the_server_may_be_longer_than_a_client_s(
    http: aiohttp.ClientSession, cluster: RunningCluster, emitter: Emitter, node: int
) -> None:
    session = await member(http, cluster[0].url, f"longer-{node}")
    async with session.upgraded(cluster[node].url) as ws:
        await emitter.emit("large", {"text": "x" * (MAX_MESSAGE_BYTES + 100_000)}, room=f"longer-{node}")
        assert len(fields_of(await receive_for(ws, '42["large"'))["text"]) == MAX_MESSAGE_BYTES + 100_000


async def test_a_longer_message_closes_a_forwarded_websocket(
    http: aiohttp.ClientSession, own: str, other: str
) -> None:
    session = await member(http, own, "longest")
    async with session.upgraded(other) as ws:
        await ws.send_str('421["send_msg",{"to":"ALL","msg":"upgraded"}]')
        await receive_for(ws, "431")  # else both arrive together, and uvicorn drops the upgrade with the rest
        with contextlib.suppress(ConnectionError):  # closed while it is still being sent
            await ws.send_str(sized(MAX_MESSAGE_BYTES + 1))
        assert await close_code(ws) in (None, 1006, aiohttp.WSCloseCode.MESSAGE_TOO_BIG)
    await gone(http, own, "longest")


@pytest.mark.parametrize("code", [1000, 1001, 4000, None])
async def test_a_client_that_closes_is_gone_at_the_other_end(
    http: aiohttp.ClientSession, own: str, other: str, code: int | None
) -> None:
    room = f"leaving-{code}"
    session = await member(http, own, room)
    async with session.upgraded(other) as ws:
        await ws.send_str(event("send_msg", {"to": "ALL", "msg": "upgraded"}))
        await receive_for(ws, '42["broadcast_msg"')
        if code is None:  # as a browser's `close()` without arguments does: a frame without a code
            await ws._writer.send_frame(b"", aiohttp.WSMsgType.CLOSE)
        else:
            await ws.close(code=code)
        await gone(http, own, room)


async def test_a_client_that_breaks_off_is_gone_at_the_other_end(
    http: aiohttp.ClientSession, own: str, other: str
) -> None:
    session = await member(http, own, "breaking-off")
    async with session.upgraded(other) as ws:
        await ws.send_str(event("send_msg", {"to": "ALL", "msg": "upgraded"}))
        await receive_for(ws, '42["broadcast_msg"')
        ws._response.connection.transport.abort()
        await gone(http, own, "breaking-off")


async def test_a_close_by_the_server_reaches_the_client(http: aiohttp.ClientSession, own: str, other: str) -> None:
    session = await member(http, own, "closing")
    async with session.upgraded(other) as ws:
        await ws.send_str("9")  # no packet: its node ends the session
        assert await close_code(ws) == 1000


# --- nodes that are gone -------------------------------------------------------------------------------------


async def test_sessions_of_a_killed_node_are_unknown_at_once(
    redis_server: RedisServer, key_prefix: str, http: aiohttp.ClientSession
) -> None:
    async with running_cluster(redis_server.url, key_prefix, nodes=3) as cluster:
        polled, idle = [await member(http, cluster[0].url, room) for room in ("polled", "idle")]
        upgraded = await member(http, cluster[0].url, "upgraded")
        async with upgraded.upgraded(cluster[1].url) as ws:
            await ws.send_str(event("send_msg", {"to": "ALL", "msg": "upgraded"}))
            await receive_for(ws, '42["broadcast_msg"')
            pending = asyncio.create_task(polled.poll(cluster[1].url))
            await eventually(lambda: len(connections(cluster[1], cluster[0])) >= 2)
            cluster[0].kill()
            async with asyncio.timeout(1):
                await close_code(ws)
                with pytest.raises(Refusal) as refused:
                    await pending
        assert (refused.value.status, refused.value.json()) == (400, UNKNOWN_SESSION)
        for url in (cluster[1].url, cluster[2].url):
            await _unknown(idle, url)
        # A new process on the same port is another node, and says the same.
        cluster[0].start()
        await cluster.ready(0)
        for node in cluster.nodes:
            await _unknown(idle, node.url)
        assert not [node.number for node in cluster.nodes if "Traceback" in node.log()]


async def _unknown(session: Session, url: str) -> None:
    async with asyncio.timeout(1):
        for act in (session.poll(url), session.post("40", url=url)):
            with pytest.raises(Refusal) as refused:
                await act
            assert refused.value.status == 400
    await _refused_websocket(session, url)


async def _refused_websocket(session: Session, url: str) -> None:
    async with asyncio.timeout(1):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with session.websocket(url):
                pass


async def test_stock_pollers_of_a_killed_node_come_back(redis_server: RedisServer, key_prefix: str) -> None:
    async with (
        running_cluster(redis_server.url, key_prefix, nodes=3) as cluster,
        JsClients() as js,
    ):
        options: dict[str, Any] = {"transports": ["polling"], "auth": {"room": "killed"}}
        clients = await js.open_many(9, cluster.url, **options)
        members = (await cluster.get("/api/rooms/killed"))["members"]
        nodes = {node["node_id"]: node["url"] for node in (await cluster.get("/api/nodes"))["nodes"]}
        victim = next(node for node in cluster.nodes if node.url == nodes[members[0]["node_id"]])
        hit = sum(nodes[each["node_id"]] == victim.url for each in members)
        victim.kill()

        def all_back() -> bool:
            return sum(client.reconnects for client in clients) >= hit and all(each.connected for each in clients)

        last = clients[-1].number
        await eventually(all_back, within_s=15, message=f"{hit} clients come back")
        for client in clients:
            await client.emit("send_msg", {"to": "ALL", "msg": f"{client.number} is back"})
        for client in clients:
            await client.wait_for("broadcast_msg", lambda fields: fields["msg"].endswith(f" {last} is back"))


def sized(size_bytes: int) -> str:
    """A message packet of exactly this size; the chat refuses a long one, and acknowledges that."""
    frame = event("send_msg", {"to": "ALL", "msg": ""}, ack=1)
    return event("send_msg", {"to": "ALL", "msg": "x" * (size_bytes - len(frame))}, ack=1)
