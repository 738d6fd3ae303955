"""A WebSocket's opening request: what it asks for, the answer to it (RFC 6455, 4.2), and its WSGI environ.

uvicorn's HTTP protocol has parsed the request and writes it out again for the WebSocket protocol, so a head
here is well-formed and its header names are lower case. Whether the request may have what it asks for is
`engineio_server.py`'s to say.
"""

import base64
import binascii
import hashlib
from typing import Any
from urllib.parse import parse_qs, unquote

from engineio.async_drivers.asgi import translate_request
from uvicorn import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

PATHS = (b"/socket.io/", b"/socket.io")
# What a stock client that begins with a WebSocket asks for, and nearly all there is.
USUAL_QUERY = b"EIO=4&transport=websocket"
VERSION = b"13"
KEY_BYTES = 16
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = b"\r\nsec-websocket-key: "
_END = b"\r\n\r\n"


class Opening:
    """A request for a WebSocket; `sid` is that of the session it wants to upgrade, None for a new one.

    `acceptable`: whether it is one at all. What follows another method's head, or one that announces a body, would
    be taken for frames.
    """

    __slots__ = ("acceptable", "engineio", "head", "headers", "sid")

    def __init__(self, head: bytes) -> None:
        request, *lines = head[: head.index(_END)].split(b"\r\n")
        method, target, _ = request.split(b" ", 2)
        path, _, query = target.partition(b"?")
        self.head = head
        self.headers = dict(map(_header, lines))  # name -> value, of several the last
        self.sid: str | None = None
        has_body = self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers
        self.acceptable = method == b"GET" and not has_body
        self.engineio = self.acceptable and path in PATHS and self._reads(query)

    def _reads(self, query: bytes) -> bool:
        """Whether the query asks for a WebSocket of Engine.IO 4, without anything unusual."""
        if query == USUAL_QUERY:
            return True
        fields = parse_qs(query.decode("latin-1"))
        sids = fields.get("sid", [])
        self.sid = sids[0] if sids else None
        version = fields.get("EIO") == ["4"] or (self.sid is not None and "EIO" not in fields)
        return version and fields.get("transport") == ["websocket"] and len(sids) <= 1 and "j" not in fields

    def answer(self) -> bytes | None:
        """The answer that opens the WebSocket; None where RFC 6455 would have it refused.

        No extension is taken up, permessage-deflate neither: one frame is made for all members of a room, and
        a compressor for each connection would cost many times what the connection does.
        """
        key = self.headers.get(b"sec-websocket-key", b"") if self.head.count(_KEY) == 1 else b""
        if self.headers.get(b"sec-websocket-version") != VERSION or not _is_key(key):
            return None
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name, value.strip(b" \t")


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == KEY_BYTES
    except binascii.Error:
        return False


def environ_of(head: bytes, peername: Any, config: Config, *, secure: bool = False) -> dict[str, Any]:
    """The environ that python-engineio's ASGI driver makes of a WebSocket's request; `peername` as transports
    have it.

    It is made anew when somebody asks, since it is ten times as large as the request.
    """
    request, *lines = head[: head.index(_END)].split(b"\r\n")
    _, target, _ = request.split(b" ", 2)
    path, _, query = target.partition(b"?")
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if secure else "ws",
        # IPv6 addresses have four fields, the peer of a Unix socket has no name.
        "client": (peername[0], peername[1]) if isinstance(peername, tuple | list) else None,
        "root_path": "",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "headers": [_header(line) for line in lines],
        "subprotocols": [],
    }
    describe = translate_request
    if config.proxy_headers:
        describe = ProxyHeadersMiddleware(translate_request, trusted_hosts=config.forwarded_allow_ips)
    environ: dict[str, Any] = _at_once(describe(scope, _connecting, None))
    return environ


async def _connecting() -> dict[str, str]:
    return {"type": "websocket.connect"}


def _at_once(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("expected a coroutine that does not wait")
