"""Opening requests: which are taken, what answers them, and the environ that an app sees of them.

What is right is said by others: python-engineio's server and the `websockets` library, which handle the same
requests by the ordinary way.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qs

import pytest
import uvicorn
from engineio.async_drivers.asgi import translate_request
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import Request
from websockets.server import ServerProtocol

from app.transport.opening import Opening, environ_of
from app.transport.protocol import HEAD_MAX_BYTES, WebSocketConnection

USUAL = "/socket.io/?EIO=4&transport=websocket"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455, 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
HEADERS = {
    "host": "a.example",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": KEY,
}
light = settings(max_examples=300, deadline=None, database=None, derandomize=True)


def head(target: str = USUAL, *more: str, method: str = "GET", **changed: str | None) -> bytes:
    """A request as uvicorn writes it; `changed` headers have another value, or none, `more` come behind."""
    names = {name.replace("_", "-"): value for name, value in changed.items()}
    headers = [f"{name}: {value}" for name, value in (HEADERS | names).items() if value is not None]
    return "\r\n".join([f"{method} {target} HTTP/1.1", *headers, *more, "", ""]).encode("latin-1")


# --- whose they are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "sid"),
    [
        (USUAL, None),
        ("/socket.io?EIO=4&transport=websocket", None),
        ("/socket.io/?transport=websocket&EIO=4", None),
        ("/socket.io/?EIO=4&transport=websocket&t=abc", None),
        ("/socket.io/?EIO=4&transport=websocket&sid=", None),  # as python-engineio has it
        ("/socket.io/?EIO=4&transport=websocket&sid=abc", "abc"),
        ("/socket.io/?sid=abc&transport=websocket", "abc"),
        ("/socket.io/?EIO=4&transport=websocket&sid=%61%2Fb%20c", "a/b c"),
    ],
)
def test_a_request_for_an_engine_io_websocket_is_taken(target: str, sid: str | None) -> None:
    opening = Opening(head(target))
    assert opening.engineio
    assert opening.sid == sid
    assert opening.answer() is not None


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/socket.io/socket.io.js?EIO=4&transport=websocket",
        "/socket.iox?EIO=4&transport=websocket",
        "/socket.io//?EIO=4&transport=websocket",
        "/Socket.IO/?EIO=4&transport=websocket",
        "/%73ocket.io/?EIO=4&transport=websocket",
        "/a/socket.io/?EIO=4&transport=websocket",
        "http://a.example/socket.io/?EIO=4&transport=websocket",
        "*",
        "/socket.io/",
        "/socket.io/?",
        "/socket.io/?transport=websocket",
        "/socket.io/?EIO=3&transport=websocket",
        "/socket.io/?EIO=4&EIO=4&transport=websocket",
        "/socket.io/?EIO=3&transport=websocket&sid=abc",
        "/socket.io/?eio=4&transport=websocket",
        "/socket.io/?EIO=4",
        "/socket.io/?EIO=4&transport=polling",
        "/socket.io/?EIO=4&transport=WebSocket",
        "/socket.io/?EIO=4&transport=websocket&transport=polling",
        "/socket.io/?EIO=4&transport=polling&transport=websocket",
        "/socket.io/?EIO=4&transport=websocket&sid=a&sid=b",
        "/socket.io/?EIO=4&transport=websocket&j=0",
        "/socket.io/?EIO=4&transport=websocket#fragment",
    ],
)
def test_any_other_request_is_left_to_the_ordinary_way(target: str) -> None:
    assert not Opening(head(target)).engineio


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "get", "CONNECT"])
def test_another_method_is_left_to_the_ordinary_way(method: str) -> None:
    assert not Opening(head(method=method)).engineio


names = st.sampled_from(["EIO", "transport", "sid", "j", "t", "EIO%20", "trans%70ort", ""])
values = st.sampled_from(["4", "3", "websocket", "polling", "a", "", "%34", "web%73ocket", "+4"])
queries = st.lists(st.tuples(names, values), max_size=5).map(
    lambda fields: "&".join("=".join(field) for field in fields)
)


@light
@given(query=queries, slash=st.sampled_from(["/", ""]))
def test_whatever_is_taken_python_engineio_would_have_taken_for_the_same(query: str, slash: str) -> None:
    opening = Opening(head(f"/socket.io{slash}?{query}"))
    if not opening.engineio:
        return
    theirs = parse_qs(query)  # as in AsyncServer.handle_request
    assert theirs.get("transport", ["polling"])[0] == "websocket"
    assert "j" not in theirs
    assert (theirs["sid"][0] if "sid" in theirs else None) == opening.sid
    assert opening.sid is not None or theirs.get("EIO") == ["4"]


# --- the answer ----------------------------------------------------------------------------------------------


def test_the_answer_is_byte_for_byte_the_one_of_rfc_6455() -> None:
    assert Opening(head()).answer() == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
    )


def test_no_extension_and_no_subprotocol_is_taken_up() -> None:
    answer = Opening(
        head(
            sec_websocket_extensions="permessage-deflate; client_max_window_bits",
            sec_websocket_protocol="chat, superchat",
        )
    ).answer()
    assert answer is not None
    assert b"extensions" not in answer.lower()
    assert b"protocol:" not in answer.lower()


WRONG_KEYS = [
    *(None, "", "x", "a" * 24, "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", f"{KEY}x"),
    *("dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZSBub25jZWU=", "dGhlIHNhbXBsZ\xe9Bub25jZQ==", f"{KEY[:8]} {KEY[8:]}"),
]


@pytest.mark.parametrize("key", WRONG_KEYS)
def test_without_a_key_of_16_bytes_there_is_no_answer(key: str | None) -> None:
    opening = Opening(head(sec_websocket_key=key))
    assert opening.engineio
    assert opening.answer() is None


@pytest.mark.parametrize("version", [None, "", "8", "12", "14", "013", "13, 8", "13.0"])
def test_without_version_13_there_is_no_answer(version: str | None) -> None:
    assert Opening(head(sec_websocket_version=version)).answer() is None


def opened_by_websockets(data: bytes) -> bool:
    """Whether `websockets` opens the WebSocket that a request asks for."""
    server = ServerProtocol()
    server.receive_data(data)
    events = server.events_received()
    return bool(events) and isinstance(events[0], Request) and server.accept(events[0]).status_code == 101


@pytest.mark.parametrize("key", [KEY, *WRONG_KEYS])
@pytest.mark.parametrize("version", ["13", "8", None, ""])
def test_what_is_answered_the_websockets_library_would_have_opened(key: str | None, version: str | None) -> None:
    data = head(sec_websocket_key=key, sec_websocket_version=version)
    assert Opening(data).answer() is None or opened_by_websockets(data)


@pytest.mark.parametrize(
    "odd",
    [
        ("x-empty: ",),
        ("x-colons: a: b: c",),
        ("x-latin: caf\xe9",),
        ("x-twice: 1", "x-twice: 2"),
        ("x-long: " + "x" * 8000,),
        ('x-quotes: "a\\"b", \'c\'',),
        ("origin: ",),
    ],
)
def test_odd_header_values_do_not_matter(odd: tuple[str, ...]) -> None:
    opening = Opening(head(USUAL, *odd))
    assert opening.engineio
    assert opening.answer() is not None
    assert opening.headers[b"host"] == b"a.example"


def test_of_two_keys_none_is_answered() -> None:
    assert Opening(head(USUAL, f"sec-websocket-key: {KEY}")).answer() is None


def test_a_head_that_is_too_long_to_keep_is_refused() -> None:
    state, transport = ServerState(), Transport(("10.0.0.1", 1234))
    connection = WebSocketConnection(configured(), state, {})
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.data_received(head(USUAL, "x-long: " + "x" * HEAD_MAX_BYTES))
    assert transport.written.startswith(b"HTTP/1.1 431 ")
    assert transport.closed
    assert connection.opened_with == b""
    connection.shutdown()
    connection.connection_lost(None)
    assert not state.connections


# --- the environ ---------------------------------------------------------------------------------------------


class Transport:
    """A transport without a network that comes from `peername`."""

    def __init__(self, peername: Any) -> None:
        self._extra = {"peername": peername, "sockname": ("10.9.9.9", 8080)}
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses."""
        return self._extra.get(name, default)

    def write(self, data: bytes) -> None:
        """Notes."""
        self.written += data

    def close(self) -> None:
        """Notes."""
        self.closed = True


async def by_the_ordinary_way(data: bytes, transport: Transport, **options: Any) -> dict[str, Any]:
    """The environ that python-engineio makes of a request that uvicorn's own protocol got."""
    found: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.set_result(await translate_request(scope, receive, send))
        await send({"type": "websocket.close"})

    state = ServerState()
    protocol = WebSocketsSansIOProtocol(configured(app, **options), state, {})
    protocol.connection_made(transport)  # type: ignore[arg-type]
    protocol.data_received(data)
    environ = await asyncio.wait_for(found, 2)
    await asyncio.gather(*state.tasks)
    return environ


def configured(app: Any = "app.main:app", **options: Any) -> uvicorn.Config:
    """uvicorn's configuration; the app is loaded where it is one."""
    config = uvicorn.Config(app, log_level="error", **options)
    if callable(app):
        config.load()
    return config


def described(environ: dict[str, Any]) -> dict[str, Any]:
    """What two environs of the same request have in common; whatever is not data is its type."""
    kept = (str, int, float, bool, bytes, tuple)
    return {
        name: value if isinstance(value, kept) else type(value).__name__
        for name, value in environ.items()
        if name not in ("asgi.receive", "asgi.send", "asgi.scope")
    }


SCOPE = ("type", "scheme", "http_version", "client", "root_path", "path", "raw_path", "query_string", "headers")


async def both(data: bytes, peername: Any, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our environ and the ordinary one."""
    transport = Transport(peername)
    ours = environ_of(data, peername, configured(**options))
    return ours, await by_the_ordinary_way(data, transport, **options)


ODD_HEADERS = [
    "cookie: a=1; b=2",
    "cookie: c=3",
    "authorization: Bearer x",
    "x-empty: ",
    "x-latin: caf\xe9",
    "x-utf-8: " + "é".encode().decode("latin-1"),
    "x-under_score: 1",
    "x-twice: 1",
    "x-twice: 2",
    "content-type: text/plain",
    "origin: https://b.example",
    "sec-websocket-protocol: chat",
]


@pytest.mark.parametrize("odd", [(), *((header,) for header in ODD_HEADERS), tuple(ODD_HEADERS)], ids=len)
@pytest.mark.parametrize(
    "target",
    [
        USUAL,
        "/socket.io?EIO=4&transport=websocket",
        "/socket.io/?EIO=4&transport=websocket&sid=%61+b&t=%ED%95%9C",
    ],
)
async def test_the_environ_is_the_one_that_the_ordinary_way_makes(target: str, odd: tuple[str, ...]) -> None:
    ours, theirs = await both(head(target, *odd), ("10.0.0.1", 1234))
    assert described(ours) == described(theirs)
    assert {name: ours["asgi.scope"][name] for name in SCOPE} == {
        name: theirs["asgi.scope"][name] for name in SCOPE
    }


async def test_white_space_behind_a_value_is_no_part_of_it() -> None:
    data = head(USUAL, "x-token: abc  ")  # llhttp leaves it there, and so does uvicorn's HttpToolsProtocol
    ours, theirs = await both(data, ("10.0.0.1", 1234))
    assert ours["HTTP_X_TOKEN"] == theirs["HTTP_X_TOKEN"] == "abc"


FORWARDED = ("x-forwarded-for: 1.2.3.4, 5.6.7.8", "x-forwarded-proto: https")


@pytest.mark.parametrize(
    ("options", "client", "scheme"),
    [
        ({}, ("10.0.0.1", 1234), "ws"),
        ({"forwarded_allow_ips": ""}, ("10.0.0.1", 1234), "ws"),
        ({"forwarded_allow_ips": "10.0.0.2"}, ("10.0.0.1", 1234), "ws"),
        ({"forwarded_allow_ips": "10.0.0.1"}, ("5.6.7.8", 0), "wss"),
        ({"forwarded_allow_ips": "10.0.0.0/8,5.6.7.8"}, ("1.2.3.4", 0), "wss"),
        ({"forwarded_allow_ips": "*"}, ("1.2.3.4", 0), "wss"),
        ({"forwarded_allow_ips": "*", "proxy_headers": False}, ("10.0.0.1", 1234), "ws"),
    ],
)
async def test_only_trusted_proxies_say_who_the_client_is(
    options: dict[str, Any], client: tuple[str, int], scheme: str
) -> None:
    ours, theirs = await both(head(USUAL, *FORWARDED), ("10.0.0.1", 1234), **options)
    for environ in (ours, theirs):
        assert (environ["asgi.scope"]["client"], environ["asgi.scope"]["scheme"]) == (client, scheme)
    assert described(ours) == described(theirs)


@pytest.mark.parametrize(
    "peername",
    [
        ("::1", 1234, 0, 0),
        "",
        b"",
        None,
    ],
)
async def test_a_client_is_described_as_asgi_has_it_whatever_its_address(peername: Any) -> None:
    """ASGI, "WebSocket Connection Scope": two fields, a host and a port, or None."""
    client = environ_of(head(), peername, configured())["asgi.scope"]["client"]
    assert client is None or (len(client) == 2 and isinstance(client[0], str) and isinstance(client[1], int))


async def test_an_environ_is_made_anew_each_time() -> None:
    first, second = (environ_of(head(), ("10.0.0.1", 1234), configured()) for _ in range(2))
    first["mine"] = 1
    assert "mine" not in second


async def test_an_environ_says_that_the_client_is_connecting() -> None:
    environ = environ_of(head(), ("10.0.0.1", 1234), configured())
    assert await environ["asgi.receive"]() == {"type": "websocket.connect"}
