"""One session, against a running node, byte by byte: its handshake, its upgrade, its POSTs and its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from yarl import URL

from app.main import create_app
from app.settings import load_settings
from app.transport import engineio_socket
from tests.support.cluster import RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.js_client import JsClients
from tests.support.redis_server import RedisServer
from tests.support.serving import serve

from .engine import (
    Refusal,
    Session,
    break_off_a_poll,
    close_code,
    event,
    fields_of,
    gone,
    greeted,
    receive,
    receive_for,
    request,
    said,
    websocket,
)

MAX_MESSAGE_BYTES = 50_000
MANY = 300  # messages while a stock client upgrades


@pytest.fixture(scope="module")
def cluster_nodes() -> int:
    return 1


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    return {"MAX_MESSAGE_BYTES": str(MAX_MESSAGE_BYTES)}


@pytest.fixture
def url(cluster: RunningCluster) -> str:
    return cluster[0].url


@asynccontextmanager
async def impatient_node(redis_server: RedisServer, key_prefix: str, **settings: Any) -> AsyncIterator[str]:
    """A node of this process, for what must be shortened; yields its URL."""
    given = {"redis_url": redis_server.url, "key_prefix": key_prefix} | settings
    async with serve(create_app(load_settings(**given)), ws="websockets-sansio", lifespan="on") as url:
        yield url


async def member(http: aiohttp.ClientSession, url: str, room: str, nickname: str) -> Session:
    """A session whose socket is in a room, and has read everything about its own joining."""
    session = await Session.open(http, url)
    await session.connect({"room": room, "nickname": nickname})
    await session.poll_for('42["userlist"')
    return session


async def say(session: Session, *texts: str) -> None:
    """Says them in one POST and waits until all are in the log and back."""
    await session.post(*(event("send_msg", {"to": "ALL", "msg": text}, ack=7) for text in texts))
    heard: list[str] = []
    while len(said(heard)) < len(texts):
        heard.append(await session.poll_for('42["broadcast_msg"'))


async def test_the_handshake_tells_intervals_in_ms_and_the_node(http: aiohttp.ClientSession, url: str) -> None:
    session = await Session.open(http, url)
    async with http.get(f"{url}/healthz") as answer:
        node_id = (await answer.json())["node_id"]
    assert session.handshake == {
        "sid": session.sid,
        "upgrades": ["websocket"],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": MAX_MESSAGE_BYTES,
    }
    assert session.sid.startswith(node_id)
    assert len(session.sid) == 28


async def test_the_handshake_of_a_websocket_offers_no_upgrade(http: aiohttp.ClientSession, url: str) -> None:
    async with websocket(http, url) as ws:
        handshake = fields_of(f"[{str(await receive(ws))[1:]}]")
    assert handshake["upgrades"] == []
    assert handshake["pingInterval"] == 25_000


async def test_a_fraction_of_a_second_is_announced_in_ms(
    redis_server: RedisServer, key_prefix: str, http: aiohttp.ClientSession
) -> None:
    async with impatient_node(redis_server, key_prefix, ping_interval_s=0.3, ping_timeout_s=0.75) as url:
        handshake = (await Session.open(http, url)).handshake
    assert (handshake["pingInterval"], handshake["pingTimeout"]) == (300, 750)


@pytest.mark.parametrize("query", ["EIO=3&transport=polling", "transport=polling", "EIO=4&transport=carrier"])
async def test_a_handshake_of_another_protocol_is_refused(
    http: aiohttp.ClientSession, url: str, query: str
) -> None:
    with pytest.raises(Refusal) as refused:
        await request(http, "GET", f"{url}/socket.io/?{query}")
    assert refused.value.status == 400


# --- upgrade -------------------------------------------------------------------------------------------------


async def test_what_is_said_at_every_step_of_an_upgrade_arrives_once_and_in_order(
    http: aiohttp.ClientSession, url: str
) -> None:
    speaker = await member(http, url, "steps", "speaker")
    listener = await member(http, url, "steps", "listener")
    heard: list[str] = []
    await say(speaker, "before")
    heard += await listener.poll_many('42["broadcast_msg"', 1)
    pending = asyncio.create_task(listener.poll())
    async with listener.websocket() as ws:
        await say(speaker, "opened")
        heard += await pending
        pending = asyncio.create_task(listener.poll())
        await ws.send_str("2probe")
        assert await receive(ws) == "3probe"
        assert await pending == ["6"]
        await say(speaker, "probed", "still probed")
        assert await listener.poll() == ["6"]
        await ws.send_str("5")
        heard += [await receive_for(ws, '42["broadcast_msg"') for _ in range(2)]
        await say(speaker, "upgraded")
        heard += [await receive_for(ws, '42["broadcast_msg"')]
        await ws.send_str(event("send_msg", {"to": "ALL", "msg": "own"}))
        heard += [await receive_for(ws, '42["broadcast_msg"')]
    assert said(heard) == ["before", "opened", "probed", "still probed", "upgraded", "own"]


async def test_a_stock_client_misses_nothing_while_it_upgrades(url: str) -> None:
    async with JsClients() as js:
        speaker = await js.open(url, transports=["websocket"], auth={"room": "storm", "nickname": "speaker"})
        speaker.send_many("send_msg", MANY, {"to": "ALL", "msg": "{n}"})
        listeners = await js.open_many(5, url, auth={"room": "storm"})
        speaker.send_many("send_msg", MANY, {"to": "ALL", "msg": "more {n}"})
        for listener in listeners:
            await listener.wait_until(lambda each=listener: each.transport == "websocket", what="upgrade")
            await listener.wait_for("broadcast_msg", lambda fields: fields["msg"].endswith(f"more {MANY - 1}"))
        for listener in listeners:
            texts = [
                fields["msg"] for (fields,) in listener.args_of("broadcast_msg") if "speaker :" in fields["msg"]
            ]
            expected = [f"speaker : {n}" for n in range(MANY)] + [f"speaker : more {n}" for n in range(MANY)]
            assert texts == expected[-len(texts) :]
            assert len(texts) >= MANY


@pytest.mark.parametrize("word", ["2wrong", "4hello", "5", "x"])
async def test_a_wrong_probe_leaves_polling_usable(http: aiohttp.ClientSession, url: str, word: str) -> None:
    session = await member(http, url, f"wrong-{word}", "one")
    async with session.websocket() as ws:
        await ws.send_str(word)
        await close_code(ws)
    await say(session, "still here")


async def test_an_upgrade_broken_off_after_the_probe_leaves_polling_usable(
    http: aiohttp.ClientSession, url: str
) -> None:
    speaker = await member(http, url, "broken-off", "speaker")
    listener = await member(http, url, "broken-off", "listener")
    async with listener.websocket() as ws:
        await ws.send_str("2probe")
        assert await receive(ws) == "3probe"
        await say(speaker, "in between")
    await say(speaker, "afterwards")
    assert said(await listener.poll_many('42["broadcast_msg"', 2)) == ["in between", "afterwards"]
    async with listener.upgraded() as ws:
        await say(speaker, "at last")
        assert said([await receive_for(ws, '42["broadcast_msg"')]) == ["at last"]


async def test_a_second_upgrade_of_the_same_session_is_refused(http: aiohttp.ClientSession, url: str) -> None:
    session = await member(http, url, "twice", "one")
    async with session.upgraded() as ws:
        await ws.send_str(event("send_msg", {"to": "ALL", "msg": "first"}))
        await receive_for(ws, '42["broadcast_msg"')
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with session.websocket():
                pass
        await ws.send_str(event("send_msg", {"to": "ALL", "msg": "second"}))
        assert said([await receive_for(ws, '42["broadcast_msg"')]) == ["second"]


async def test_a_probe_that_is_never_finished_ends_after_its_time(
    redis_server: RedisServer, key_prefix: str, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engineio_socket, "UPGRADE_TIMEOUT_S", 0.3)
    async with impatient_node(redis_server, key_prefix) as url:
        session = await member(http, url, "never", "one")
        async with session.websocket() as ws:
            await ws.send_str("2probe")
            assert await receive(ws) == "3probe"
            await close_code(ws)
        await say(session, "still here")


@pytest.mark.parametrize("words", [[], ["2probe"], ["2probe", "wrong"]])
async def test_a_websocket_that_fails_to_upgrade_leaves_another_s_upgrade_alone(
    http: aiohttp.ClientSession, url: str, words: list[str]
) -> None:
    """A proxy that opens a WebSocket anew may leave the first one behind, to be closed some time later."""
    session = await member(http, url, f"two-{len(words)}", "one")
    async with session.websocket() as late, session.upgraded() as ws:
        await ws.send_str(event("send_msg", {"to": "ALL", "msg": "upgraded"}))
        await receive_for(ws, '42["broadcast_msg"')
        for word in words:
            await late.send_str(word)
        await late.close()
        for text in ("still", "here"):
            await ws.send_str(event("send_msg", {"to": "ALL", "msg": text}))
            assert said([await receive_for(ws, '42["broadcast_msg"')]) == [text]
        with pytest.raises(Refusal):
            await session.post("3")


async def test_polls_of_an_upgraded_session_are_refused(http: aiohttp.ClientSession, url: str) -> None:
    session = await member(http, url, "polls", "one")
    async with session.upgraded() as ws:
        await ws.send_str(event("send_msg", {"to": "ALL", "msg": "upgraded"}))
        await receive_for(ws, '42["broadcast_msg"')
        with pytest.raises(Refusal) as refused:
            await session.poll()
        assert refused.value.status == 400
        with pytest.raises(Refusal) as refused:
            await session.post("40")
        assert refused.value.status == 400


# --- POSTs ---------------------------------------------------------------------------------------------------


async def test_one_post_may_hold_more_than_16_packets(http: aiohttp.ClientSession, url: str) -> None:
    session = await member(http, url, "forty", "one")
    await session.post(*(event("send_msg", {"to": "ALL", "msg": str(n)}, ack=n) for n in range(40)))
    heard = await session.poll_many("4", 80)
    assert said([packet for packet in heard if packet.startswith("42")]) == [str(n) for n in range(40)]
    acknowledged = [packet for packet in heard if packet.startswith("43")]
    assert acknowledged == [f'43{n}[{{"ok":true}}]' for n in range(40)]


async def test_several_posts_are_handled_in_order(http: aiohttp.ClientSession, url: str) -> None:
    session = await Session.open(http, url)
    await session.post("40", event("joinroom", {"room": "posts"}))
    for n in range(0, 30, 3):
        await session.post(*(event("send_msg", {"to": "ALL", "msg": str(n + m)}) for m in range(3)))
    heard = await session.poll_many('42["broadcast_msg"', 31)
    assert said(heard) == [str(n) for n in range(30)]


async def test_a_body_of_the_largest_size_is_taken(http: aiohttp.ClientSession, url: str) -> None:
    session = await member(http, url, "large", "one")
    await session.post(sized(MAX_MESSAGE_BYTES))
    assert fields_of(await session.poll_for("431["))["error"]["code"] == "bad_msg"


async def test_a_longer_body_is_refused_and_ends_the_session(http: aiohttp.ClientSession, url: str) -> None:
    session = await member(http, url, "larger", "one")
    with pytest.raises(Refusal) as refused:
        await session.post(sized(MAX_MESSAGE_BYTES + 1))
    assert refused.value.status == 400
    with pytest.raises(Refusal):
        await session.poll()


async def test_a_longer_message_closes_a_websocket(http: aiohttp.ClientSession, url: str) -> None:
    session = await member(http, url, "largest", "one")
    async with session.upgraded() as ws:
        await ws.send_str(sized(MAX_MESSAGE_BYTES))
        assert fields_of(await receive_for(ws, "431["))["error"]["code"] == "bad_msg"
        await ws.send_str(sized(MAX_MESSAGE_BYTES + 1))
        assert await close_code(ws) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_a_body_without_a_length_is_read_as_any_other(http: aiohttp.ClientSession, url: str) -> None:
    """A proxy that streams bodies may send them in chunks, without Content-Length."""
    session = await member(http, url, "chunks", "one")

    async def chunks() -> AsyncIterator[bytes]:
        yield event("send_msg", {"to": "ALL", "msg": "in chunks"}).encode()

    await request(http, "POST", session.poll_url(), data=chunks())
    assert said([await session.poll_for('42["broadcast_msg"')]) == ["in chunks"]


async def test_a_body_that_was_cut_off_is_not_acted_on(http: aiohttp.ClientSession, url: str) -> None:
    session, witness = [await greeted(http, url) for _ in range(2)]
    whole = '42/echo,["fromclient",{"msg":"first"}]'
    await cut_off(session, whole, whole)
    await witness.post('42/echo,["fromclient",{"msg":"second"}]')
    assert await witness.poll_for('42/echo,["toclient"') == '42/echo,["toclient",{"msg":"second"}]'


async def cut_off(session: Session, *packets: str) -> None:
    """A POST whose connection ends within its body, behind the first packet."""
    address = URL(session.poll_url())
    _, writer = await asyncio.open_connection(address.host, address.port)
    length_bytes = len("\x1e".join(packets))
    head = f"POST {address.raw_path_qs} HTTP/1.1\r\nHost: x\r\nContent-Length: {length_bytes}\r\n\r\n"
    writer.write(f"{head}{packets[0]}".encode())
    await writer.drain()
    async with aiohttp.ClientSession() as http, http.get(f"{session.url}/healthz") as answer:
        assert answer.status == 200  # so what was written before has been read
    writer.close()
    await writer.wait_closed()
    async with aiohttp.ClientSession() as http, http.get(f"{session.url}/healthz") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("body", [b"", b"9", b"bnot base64!", b"\xff\xfe", b"3\x1e", b"2", b"0{}"])
async def test_bytes_that_are_no_packets_end_the_session_with_400(
    http: aiohttp.ClientSession, url: str, body: bytes
) -> None:
    session = await Session.open(http, url)
    await session.connect()
    pending = asyncio.create_task(session.poll())
    with pytest.raises(Refusal) as refused:
        await request(http, "POST", session.poll_url(), data=body)
    assert refused.value.status == 400
    with pytest.raises(Refusal) as refused:
        await pending
    assert refused.value.status == 400
    with pytest.raises(Refusal) as refused:
        await session.poll()
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"1\x1e9",
        b"1\x1e1",
        b"4garbage\x1e4garbage",
        b"1\x1e\xff",
        b"4garbage\x1e\xff",
    ],
)
async def test_what_follows_the_end_of_a_session_is_not_read(
    redis_server: RedisServer, key_prefix: str, http: aiohttp.ClientSession, body: bytes
) -> None:
    async with impatient_node(redis_server, key_prefix) as url:
        session = await Session.open(http, url)
        await session.connect()
        async with http.post(session.poll_url(), data=body) as answer:
            assert answer.status in (200, 400)
        with pytest.raises(Refusal) as refused:
            await session.poll()
        assert refused.value.status == 400


@pytest.mark.parametrize("frame", ["", "9", "bnot base64!", "2", "0{}"])
async def test_frames_that_are_no_packets_close_the_websocket(
    http: aiohttp.ClientSession, url: str, frame: str
) -> None:
    async with websocket(http, url) as ws:
        await receive_for(ws, "0{")
        await ws.send_str(frame)
        assert await close_code(ws) == 1000


async def test_a_poll_that_was_broken_off_swallows_nothing(http: aiohttp.ClientSession, url: str) -> None:
    """A browser or a proxy repeats a GET whose connection broke; its answer must not go to the first one.

    Either the session ends, as with the Node.js server, or the second poll gets what comes.
    """
    session, witness = [await greeted(http, url) for _ in range(2)]
    await break_off_a_poll(session)
    await witness.post('42/echo,["fromclient",{"msg":"who hears me?"}]')
    await witness.poll_for('42/echo,["toclient",{"msg":"who hears me?"}]')
    with contextlib.suppress(Refusal):
        assert await asyncio.wait_for(session.poll(), 2) == ['42/echo,["toclient",{"msg":"who hears me?"}]']


# --- end -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def short(redis_server: RedisServer, key_prefix: str) -> AsyncIterator[str]:
    """A node with short intervals."""
    async with impatient_node(redis_server, key_prefix, ping_interval_s=0.2, ping_timeout_s=0.3) as url:
        yield url


async def test_a_silent_websocket_is_closed(short: str, http: aiohttp.ClientSession) -> None:
    async with websocket(http, short) as ws:
        await receive_for(ws, "2")
        async with asyncio.timeout(2):
            assert await close_code(ws) == 1000


async def test_a_silent_poller_s_session_ends(short: str, http: aiohttp.ClientSession) -> None:
    session = await member(http, short, "silent", "one")
    assert await session.poll() == ["2"]
    with pytest.raises(Refusal) as refused:
        async with asyncio.timeout(2):
            await session.poll()
    assert refused.value.status == 400
    async with http.get(f"{short}/api/rooms/silent") as answer:
        assert answer.status == 404


async def test_who_answers_pings_stays(short: str, http: aiohttp.ClientSession) -> None:
    async with websocket(http, short) as ws:
        for _ in range(6):
            await receive_for(ws, "2")
            await ws.send_str("3")
    session = await member(http, short, "awake", "one")
    for _ in range(6):
        assert await session.poll() == ["2"]
        await session.post("3")
    await say(session, "still here")


async def test_sessions_that_are_given_up_are_forgotten(
    redis_server: RedisServer, key_prefix: str, http: aiohttp.ClientSession
) -> None:
    settings = {"redis_url": redis_server.url, "key_prefix": key_prefix}
    app = create_app(load_settings(**settings, ping_interval_s=0.2, ping_timeout_s=0.3))
    async with serve(app, ws="websockets-sansio", lifespan="on") as url:
        opened, connected, polled, probed, upgraded, goodbye = [await Session.open(http, url) for _ in range(6)]
        for session in (connected, polled, probed, upgraded, goodbye):
            await session.connect({"room": "given-up"})
        await break_off_a_poll(polled)
        async with probed.websocket() as ws:
            await ws.send_str("2probe")
            await receive(ws)
        async with upgraded.upgraded() as ws:
            await ws.send_str("3")
        async with websocket(http, url) as ws:
            await receive(ws)
        await goodbye.post("1")
        assert opened.sid in app.server.eio.sockets
        await eventually(lambda: not app.server.eio.sockets)
        await gone(http, url, "given-up")


async def test_a_client_that_says_goodbye_is_gone_at_once(http: aiohttp.ClientSession, url: str) -> None:
    session = await member(http, url, "goodbye", "one")
    await session.post("1")
    async with http.get(f"{url}/api/rooms/goodbye") as answer:
        assert answer.status == 404
    with pytest.raises(Refusal):
        await session.poll()


async def test_a_node_that_stops_closes_websockets_and_fails_polls(
    redis_server: RedisServer, key_prefix: str, http: aiohttp.ClientSession
) -> None:
    async with running_cluster(redis_server.url, key_prefix, nodes=2) as cluster, JsClients() as js:
        url = cluster[0].url
        poller = await member(http, url, "stop", "poller")
        watcher = await member(http, url, "stop", "watcher")
        await poller.poll_many('42["', 2)
        pending = asyncio.create_task(poller.poll())
        stock = [
            await js.open(cluster.url, transports=[transport], auth={"room": "stock"})
            for transport in ["websocket", "polling"] * 5
        ]
        async with watcher.upgraded() as ws:
            ended = asyncio.create_task(asyncio.to_thread(cluster[0].end))
            assert await close_code(ws) == 1000
        with pytest.raises(Refusal) as refused:
            await pending
        assert refused.value.status == 400
        assert await ended == 0
        for client in stock:
            await client.wait_connected(connects=client.connects)
        answers = await asyncio.gather(*(back(client) for client in stock))
        assert all(answer["ok"] for answer in answers)
        assert any(client.reconnects for client in stock), "none of them was on the node that stopped"
        assert "Traceback" not in cluster[0].log()


async def back(client: Any) -> Any:
    """What a client is answered on the node that is left, after it has found out."""

    async def answered() -> Any:
        try:
            return await client.emit("send_msg", {"to": "ALL", "msg": "here"}, within_s=1)
        except TimeoutError:  # sent to the node that stopped
            return None

    return await eventually(answered, within_s=15)


def sized(size_bytes: int) -> str:
    """A message packet of exactly this size; the chat refuses it, and acknowledges that."""
    frame = event("send_msg", {"to": "ALL", "msg": ""}, ack=1)
    return event("send_msg", {"to": "ALL", "msg": "x" * (size_bytes - len(frame))}, ack=1)
