"""Bad input: the node answers an error, or ends that one connection, or ignores it. It never dies, never logs a
traceback for a client's mistake, and nobody else notices.

Examples are derandomised: the same ones in every run, so that a failure can be repeated.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import pytest_asyncio
import websockets.asyncio.client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.cluster import RunningCluster, running_cluster
from tests.support.js_client import JsClient, JsClients
from tests.support.redis_server import RedisServer

from .bystander import GROWTH_MAX_BYTES, Bystander, bystander_of, resident_bytes
from .people import told, until
from .raw_clients import PATH, PROBE, PROBED, Frame, raw_polling, raw_socket, request

pytestmark = pytest.mark.asyncio(loop_scope="module")

bounded = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(redis_server: RedisServer) -> AsyncIterator[RunningCluster]:
    """One node: whatever is sent, it is sent to the bystander's."""
    async with running_cluster(redis_server.url, f"bad-{uuid4().hex[:12]}", 1) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def bystander(cluster: RunningCluster, js: JsClients) -> AsyncIterator[Bystander]:
    """Somebody else on the node."""
    async with bystander_of(cluster, js) as bystander:
        yield bystander


# --- what may be sent ------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.sampled_from(
    [
        "가",
        "ALL",
        "ＡＬＬ",
        "lobby",
        "",
        " ",
        "x" * 64,
        "x" * 65,
        "\u202e",
        "\0",
        "\n",
        "\u200b",
        "😀",
        "a|b",
        "*",
        "{nickname}",
        "{0.x}",
        "%s",
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | names
)
keys = (
    st.sampled_from(["room", "nickname", "to", "msg", "id", "_placeholder", "num", "__proto__", "length"]) | texts
)


def nested(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """JSON of such leaves."""
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


# A placeholder among real attachments is a wrong packet, not a wrong argument: that is below.
values = nested(leaves) | nested(st.binary(max_size=20) | st.integers(0, 9))
field_values = names | texts | values | st.sampled_from(["y" * 4_000, "y" * 4_001])
fields = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("room", "nickname", "to", "msg", "id", "more"), field_values)
)
arguments = st.lists(values, max_size=3) | fields.map(lambda each: [each])
events = st.sampled_from(
    ["joinroom", "changename", "send_msg", "fromclient", "userlist", "__init__", "trigger_event"]
)
# What the stock client itself refuses to emit.
RESERVED = {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
any_event = events | texts.filter(lambda name: name not in RESERVED)

# --- (a) arguments of events -----------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module", params=["/", "/lobby", "/echo"])
async def speaker(request: pytest.FixtureRequest, cluster: RunningCluster, js: JsClients) -> JsClient:
    """Who sends what it likes, in each namespace."""
    return await js.open(cluster[0].url, request.param, transports=["websocket"])


@settings(bounded, max_examples=120)
@given(event=any_event, args=arguments)
@example(event="send_msg", args=[{"to": "ALL", "msg": {"_placeholder": True, "num": 0}}])
@example(event="joinroom", args=[{"room": "가", "nickname": "나", "more": b"bytes"}])
@example(event="joinroom", args=[])
@example(event="changename", args=[{"nickname": b"\xff"}])
async def test_whatever_an_event_carries_is_acknowledged_and_hurts_nobody(
    speaker: JsClient, bystander: Bystander, event: str, args: list[Any]
) -> None:
    await acknowledged(speaker, event, args)
    assert (speaker.connects, speaker.disconnects) == (1, [])
    await bystander.notices_nothing()


async def test_a_binary_event_as_deep_as_the_stack_is_answered_or_ends_its_connection(
    bystander: Bystander,
) -> None:
    """How deep Python's stack is depends on its version."""
    async with raw_socket(bystander.node.url) as socket:
        outcome = await socket.outcome(f'451-["x",{DEEPER_THAN_THE_STACK}]', b"x")
    assert outcome[-1] in ("answered", "closed")
    bystander.logged_no_traceback()


async def acknowledged(client: JsClient, event: str, args: list[Any]) -> None:
    """The event is acknowledged as the contract says; a refusal comes as `error_msg`, too."""
    client.events.clear()
    answer = await client.emit(event, *args, within_s=5)
    if answer["ok"] is True:
        assert set(answer) <= {"ok", "room", "nickname", "id"}
        return
    assert answer["ok"] is False and set(answer) == {"ok", "error"}
    assert set(answer["error"]) == {"code", "message"}
    assert all(isinstance(text, str) and text for text in answer["error"].values())
    await until(client, lambda: told(client, "error_msg") == [answer["error"]])


# --- (b) frames over a WebSocket -------------------------------------------------------------------------------

json_texts = nested(leaves).map(json.dumps) | texts
packet_texts = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from("0123456789 x"),
    st.sampled_from(["", "", "", "0-", "1-", "2-", "64-", "65-", "-1-", "99999999999-"]),
    st.sampled_from(["", "", "", "/,", "/lobby,", "/echo,", "/nope,", "/", "/lobby", "/\0,", "/lobby?a=1,"]),
    st.sampled_from(["", "", "1", "0", "00", "9" * 100, "9" * 101, "²", "٣"]),
    json_texts | st.lists(values.filter(lambda v: not has_bytes(v)), min_size=1, max_size=3).map(json.dumps),
)
event_texts = st.builds(
    lambda event, args, ack: f"2{ack}" + json.dumps([event, *args]),
    any_event,
    st.lists(nested(leaves), max_size=3),
    st.sampled_from(["", "7"]),
)
frames = (
    st.binary(max_size=40)
    | texts
    | st.builds("{}{}".format, st.sampled_from("0123456789b"), texts)
    | packet_texts.map("4{}".format)
    | event_texts.map("4{}".format)
    | st.just('451-["send_msg",{"to":"ALL","msg":{"_placeholder":true,"num":0}}]')
)


def has_bytes(value: Any) -> bool:
    """Whether there are bytes anywhere in it."""
    if isinstance(value, dict):
        return any(map(has_bytes, value.values()))
    return any(map(has_bytes, value)) if isinstance(value, list) else isinstance(value, bytes)


@settings(bounded, max_examples=250)
@given(sent=st.lists(frames, min_size=1, max_size=6))
async def test_whatever_frames_come_the_connection_goes_on_or_is_closed(
    bystander: Bystander, sent: list[Frame]
) -> None:
    async with raw_socket(bystander.node.url) as socket:
        assert (await socket.outcome(*sent))[-1] in ("answered", "closed")
    await bystander.notices_nothing()


def attached(number: str) -> list[Frame]:
    """A binary event whose placeholder names this attachment, and one attachment."""
    return [f'451-1["send_msg",{{"to":"ALL","msg":{{"_placeholder":true,"num":{number}}}}}]', b"xx"]


DEEP = "[" * 2_000 + "]" * 2_000
DEEPER_THAN_THE_STACK = "[" * 900 + '{"_placeholder":true,"num":0}' + "]" * 900
BREAKING: list[list[Frame]] = [
    *([frame] for frame in ("", "x", "0", "2", "2probe", "6", "7", "9", "b", "b!!!", "bAAAA", b"", b"abc")),
    *([frame] for frame in ("4", "4x", "4[1]", "4{}", "4true", "4null", "41.5", "47", "4-1", "4٤2[]")),
    *([frame] for frame in ("42", "42[]", "42{}", "42[1]", "42[null]", "42[{}]", '421["x"]1', "42[", '42"x"')),
    *([f'42["{name}"]'] for name in ("connect", "disconnect", "connect_error", "disconnecting")),
    *([frame] for frame in ('42²["x"]', f'42{"9" * 101}["x"]', '421e5["x"]', '42["x",NaN]', f'42["x",{DEEP}]')),
    *([frame] for frame in ("40[1]", '40"x"', "41[]", "41{}", "43", "430", "43[]", "44", "45", "46")),
    *([frame] for frame in ('4565-["x"]', '4599999999999-["x"]', '45-1-["x"]', "411-", "401-{}", '421-["x"]')),
    ['451-["x",{"_placeholder":true,"num":5}]', b"x"],
    ['451-["x",{"_placeholder":true,"num":0}]', '42["x"]'],
    ['451-["x",{"_placeholder":true,"num":0}]', "41"],
    ['451-[{"_placeholder":true,"num":0}]', b"x"],
    ['451-/nope,["x",{"_placeholder":true,"num":0}]', b"x"],
    *(attached(number) for number in ("1", "-2", "1.5", "true", '"0"', "null", "[0]", "{}", "9" * 20, str(2**63))),
    ['4"21[\\"x\\"]"'],
    ["1"],
    ["4" + "x" * 1_000_001],
]


async def test_packets_that_break_the_protocol_end_their_connection_quietly(bystander: Bystander) -> None:
    for sent in BREAKING:
        async with raw_socket(bystander.node.url) as socket:
            outcome = await socket.outcome(*sent)
        assert outcome == ["closed"], f"{str(sent)[:80]}: {outcome}"
        bystander.logged_no_traceback()
    await bystander.notices_nothing()


async def test_packets_about_nothing_are_ignored(bystander: Bystander) -> None:
    unasked = ("3", "431[]", '4399["x"]', '461-1[{"_placeholder":true,"num":0}]')
    elsewhere = ('42/lobby,1["changename",{}]', '42/nope,["x"]', "41/nope", "43/lobby,1[]", "41/lobby,")
    for frame in (*unasked[:3], *elsewhere):
        async with raw_socket(bystander.node.url) as socket:
            assert await socket.outcome(frame) == ["answered"], frame
    async with raw_socket(bystander.node.url) as socket:
        assert await socket.outcome(unasked[3], b"x") == ["answered"]
    await bystander.notices_nothing()


async def test_events_of_odd_shape_are_acknowledged_as_refused(bystander: Bystander) -> None:
    for frame in (
        '421["changename",{}]',
        '42/,1["changename",{}]',
        '421["send_msg"]',
        '421["newListener"]',
        '421["__proto__",{"__proto__":{}}]',
        '421["\\u0000"]',
        f'421["{"x" * 990_000}"]',
        f'421["x",{"[" * 900}{"]" * 900}]',
        f'421["x",{"9" * 300}]',
    ):
        async with raw_socket(bystander.node.url) as socket:
            outcome = await socket.outcome(frame)
        assert len(outcome) == 3, f"{frame[:80]}: {outcome}"
        error, answer, end = outcome
        assert error.startswith('42["error_msg",') and len(error) < 300, frame[:80]
        assert answer.startswith('431[{"ok":false,') and len(answer) < 300, frame[:80]
        assert end == "answered"
    await bystander.notices_nothing()


async def test_a_socket_that_left_its_namespace_is_not_heard_and_may_come_back(bystander: Bystander) -> None:
    async with raw_socket(bystander.node.url) as socket:
        assert await socket.outcome("41", '421["changename",{}]', "41") == ["answered"]
        connected, end = await socket.outcome("40")
        assert connected.startswith("40{") and end == "answered"
        again, end = await socket.outcome("40")
        assert again.startswith("44") and end == "answered"
    await bystander.notices_nothing()


async def test_a_lone_surrogate_in_a_text_does_not_end_the_connection(bystander: Bystander) -> None:
    """A stock client sends it as it was typed: JSON.stringify writes the escape."""
    async with raw_socket(bystander.node.url) as socket:
        outcome = await socket.outcome('421["send_msg",{"to":"ALL","msg":"\\ud800"}]')
    assert outcome[-1] == "answered"


async def test_a_text_frame_that_is_no_utf_8_ends_its_connection_quietly(bystander: Bystander) -> None:
    url = bystander.node.url.replace("http", "ws", 1) + PATH + "websocket"
    async with websockets.asyncio.client.connect(url) as ws:
        await ws.recv()
        await ws.send(b'42["\xff"]', text=True)
        await asyncio.wait_for(ws.wait_closed(), 5)
    bystander.logged_no_traceback()


# --- (c) bodies of a long-polling session ----------------------------------------------------------------------

bodies = (
    st.binary(max_size=200)
    | st.lists(frames.filter(lambda frame: isinstance(frame, str)), max_size=6).map("\x1e".join).map(str.encode)
    | st.sampled_from(
        [b"", b"\x1e", b"\x1e" * 1_000, b"3", b"2\xff", b"4\xed\xa0\x80", b"b" * 100, b"\x1e3", b"3\x1e"]
    )
)


@settings(bounded, max_examples=120)
@given(body=bodies)
async def test_whatever_is_posted_the_session_goes_on_or_ends(bystander: Bystander, body: bytes) -> None:
    async with raw_polling(bystander.node.url) as client:
        status, text = await client.post(body + b"\x1e" + PROBE.encode())
        assert status in (200, 400), text
        while PROBED not in text:  # poll by poll, until the session ends or has answered everything
            status, text = await client.poll()
            assert status in (200, 400), text
            if status == 400:
                break
    await bystander.notices_nothing()


@settings(bounded, max_examples=30)
@given(sent=st.lists(bodies, min_size=2, max_size=3))
@example(sent=[b"1", b"3"])
@example(sent=[b"4", b"3"])
async def test_whatever_is_posted_again_and_again_the_session_goes_on_or_ends(
    bystander: Bystander, sent: list[bytes]
) -> None:
    async with raw_polling(bystander.node.url) as client:
        for body in sent:
            status, text = await client.post(body)
            assert status in (200, 400), text
    await bystander.notices_nothing()


async def test_a_session_that_ends_in_the_middle_of_a_post_is_answered(bystander: Bystander) -> None:
    async with raw_polling(bystander.node.url) as client:
        polling = asyncio.ensure_future(client.poll())
        await client.post(b"3")
        status, text = await client.post(b"4bad\x1e0")
        assert (await polling)[0] in (200, 400)
        assert status in (200, 400), text
    bystander.logged_no_traceback()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Content-Length: -1"], b"3"),
        (["Content-Length: x"], b"3"),
        (["Content-Length: +1"], b"3"),
        (["Content-Length: 1_0"], b"3" * 10),
        ([f"Content-Length: {'9' * 30}"], b"3"),
        (["Content-Length: 1", "Content-Length: 2"], b"3"),
        (["Content-Length: 1000001"], b"3" * 1_000_001),
        (["Content-Length: 0"], b""),
        ([], b""),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_wrong_length_is_a_bad_request(bystander: Bystander, headers: list[str], body: bytes) -> None:
    async with raw_polling(bystander.node.url) as client:
        assert await request(bystander.node.url, "POST", client.path, headers, body) == 400
    await bystander.notices_nothing()


async def test_more_than_was_announced_is_another_request_and_a_bad_one(bystander: Bystander) -> None:
    async with raw_polling(bystander.node.url) as client:
        status = await request(bystander.node.url, "POST", client.path, ["Content-Length: 1"], b"3\x1e3\x1e3")
        assert status in (200, 400)
    await bystander.notices_nothing()


async def test_a_body_without_end_is_not_collected(bystander: Bystander) -> None:
    """60 MB in chunks, with no length to refuse beforehand."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(60):
            yield b"3" * 1_000_000

    before_bytes = resident_bytes(bystander.node.pid, "VmHWM")
    async with raw_polling(bystander.node.url) as client, aiohttp.ClientSession() as http:
        with contextlib.suppress(aiohttp.ClientError):
            async with http.post(bystander.node.url + client.path, data=endless()) as answer:
                assert answer.status in (400, 413)
    await bystander.notices_nothing()
    assert resident_bytes(bystander.node.pid, "VmHWM") - before_bytes < GROWTH_MAX_BYTES


async def test_a_client_that_leaves_before_its_body_is_no_error(bystander: Bystander) -> None:
    async with raw_polling(bystander.node.url) as client:
        length = ["Content-Length: 5"]
        assert await request(bystander.node.url, "POST", client.path, length, leave=True) in (0, 400)
    await bystander.healthy()
    bystander.logged_no_traceback()


async def test_a_body_that_was_cut_off_is_not_handled(bystander: Bystander) -> None:
    async with raw_polling(bystander.node.url) as client:
        length = ["Content-Length: 40"]
        await request(bystander.node.url, "POST", client.path, length, b"40/lobby,", leave=True)
        status, seen = await client.post(PROBE.encode())
        while status == 200 and PROBED not in seen:
            status, text = await client.poll()
            seen += text
    assert "40/lobby" not in seen


# The packets of one body must not take the node from everybody else: so long may /healthz wait meanwhile.
STALL_MAX_S = 0.4


@pytest.mark.parametrize("packet", [b"5", b"3"], ids=["upgrades", "pongs"])
async def test_a_body_of_very_many_packets_stalls_nobody(
    redis_server: RedisServer, js: JsClients, key_prefix: str, packet: bytes
) -> None:
    async with running_cluster(redis_server.url, key_prefix, 1) as cluster, bystander_of(cluster, js) as bystander:
        async with raw_polling(bystander.node.url) as client:
            posting = asyncio.ensure_future(client.post(b"\x1e".join([packet] * 490_000)))
            longest_s = 0.0
            while not posting.done():
                longest_s = max(longest_s, await bystander.healthy())
            assert posting.result()[0] in (200, 400, 413)
        assert longest_s < STALL_MAX_S
        await bystander.notices_nothing()


# --- requests that open no session -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/socket.io/",
        "/socket.io/?EIO=3&transport=polling",
        "/socket.io/?EIO=4&transport=carrier-pigeon",
        "/socket.io/?EIO=4&transport=polling&sid=",
        "/socket.io/?EIO=4&transport=polling&sid=%ff%fe",
        "/socket.io/?EIO=4&transport=polling&sid=a&sid=b",
        "/socket.io/?EIO=4&transport=polling&sid=0123456789abcdef",
        "/socket.io/?EIO=4&transport=polling&j=x",
        "/socket.io/?EIO=4&transport=websocket",
        "/socket.io/?EIO=4&transport=polling&sid=../../x",
    ],
)
async def test_a_wrong_query_is_a_bad_request(bystander: Bystander, path: str) -> None:
    if not path.endswith("sid="):  # an empty one is none
        assert await request(bystander.node.url, "GET", path) == 400
    assert await request(bystander.node.url, "POST", path, ["Content-Length: 1"], b"3") == 400
    await bystander.notices_nothing()


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://]"])
async def test_an_origin_that_is_none_is_refused(bystander: Bystander, origin: str) -> None:
    path = f"{PATH}polling"
    assert await request(bystander.node.url, "GET", path, [f"Origin: {origin}"]) in (400, 403)
    bystander.logged_no_traceback()


async def test_an_upgrade_that_is_none_is_a_bad_request(bystander: Bystander) -> None:
    path = f"{PATH}websocket"
    assert await request(bystander.node.url, "GET", path, ["Upgrade: websocket"]) == 400
