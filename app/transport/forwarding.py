"""Any worker answers any request: one that belongs to another node's session is forwarded there.

The session id names its node, and the node registry says where that is; nothing of the request does. Bodies
are streamed, a forwarded request is never forwarded again, and everything has a time limit. A session of a
node that is gone gets the protocol's "unknown session" error at once.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

import aiohttp

from ..metrics import Metrics
from ..node import Node, node_of

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
# node id -> the URL of a living node's own listener, or None
FindNode = Callable[[str], Awaitable[str | None]]

CONNECT_TIMEOUT_S = 2.0
# Beyond the longest poll (ping interval + ping timeout).
MARGIN_S = 5.0
HOP = b"x-clusterkit-hop"  # on what was forwarded once; a client that sends it only keeps itself from being
# RFC 9110, 7.6.1, and what a WebSocket's opening negotiates for one connection only.
NOT_FORWARDED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade".split()
    + b"sec-websocket-key sec-websocket-version sec-websocket-extensions sec-websocket-protocol".split()
)
# What this node's server says itself.
NOT_ANSWERED = NOT_FORWARDED | {b"date", b"server"}
UNKNOWN_SESSION = b'{"code":1,"message":"Session ID unknown"}'  # as the Node.js server says it


class Forwarder:
    """An ASGI app before the Engine.IO server `app` of this node.

    `findable` returns once other nodes' `find_node` finds this one; `poll_s`: the longest a poll may take.
    """

    def __init__(
        self,
        app: App,
        node: Node,
        find_node: FindNode,
        findable: Callable[[], Awaitable[None]],
        metrics: Metrics,
        *,
        poll_s: float,
    ) -> None:
        self._app = app
        self._node = node
        self._find_node = find_node
        self._findable = findable
        self._metrics = metrics
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=poll_s + MARGIN_S
        )
        self._client: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves or forwards one request or WebSocket."""
        node_id = _node_of(scope)
        if node_id is None and scope["type"] == "http":
            await self._findable()  # the new session's next request may come to any node
        if node_id is None or node_id == self._node.node_id:
            await self._app(scope, receive, send)
            return
        url = None if _has(scope, HOP) else await self._find_node(node_id)
        if url is None:
            await _refuse(scope, send)
            return
        self._metrics.forwards += 1
        forward = self._forward_http if scope["type"] == "http" else self._forward_websocket
        await forward(url + _target(scope), scope, receive, send)

    async def aclose(self) -> None:
        """Ends what is being forwarded."""
        if self._client is not None:
            await self._client.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=self._timeout,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._client

    # --- HTTP ----------------------------------------------------------------------------------------------

    async def _forward_http(self, url: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(receive, has_content=scope["method"] == "POST")
        exchange = asyncio.ensure_future(self._exchange(url, scope, body, send))
        leaving = asyncio.ensure_future(body.left())
        await asyncio.wait((exchange, leaving), return_when=asyncio.FIRST_COMPLETED)
        for task in (exchange, leaving):
            task.cancel()
        outcome, _ = await asyncio.gather(exchange, leaving, return_exceptions=True)
        if isinstance(outcome, Exception):
            logger.warning("forwarding to %s broke off: %r", url.partition("?")[0], outcome)

    async def _exchange(self, url: str, scope: Scope, body: "_Body", send: Send) -> None:
        started = False
        try:
            async with self._session().request(
                scope["method"],
                url,
                headers=_headers(scope, body.has_content),
                data=body.chunks() if body.has_content else None,
                allow_redirects=False,
            ) as response:
                headers = [(n.lower(), v) for n, v in response.raw_headers if n.lower() not in NOT_ANSWERED]
                await send({"type": "http.response.start", "status": response.status, "headers": headers})
                started = True
                async for chunk in response.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._failed(url, error)
            if started:
                raise  # the response cannot be finished: the server cuts the connection
            await _refuse(scope, send)

    # --- WebSocket -----------------------------------------------------------------------------------------

    async def _forward_websocket(self, url: str, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        try:
            other = await self._session().ws_connect(
                url, headers=_headers(scope, has_content=False), max_msg_size=0, compress=0
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._failed(url, error)
            await _refuse(scope, send)
            return
        async with other:
            await send({"type": "websocket.accept"})
            pumps = [
                asyncio.ensure_future(_pump_in(receive, other)),
                asyncio.ensure_future(_pump_out(other, send)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def _failed(self, url: str, error: BaseException) -> None:
        self._metrics.forward_failures += 1
        logger.info("could not forward to %s: %r", url.partition("?")[0], error)


class _Body:
    """A request's body, and the word that its client has left."""

    def __init__(self, receive: Receive, *, has_content: bool) -> None:
        self.has_content = has_content
        self._receive = receive
        self._read = asyncio.Event()
        if not has_content:
            self._read.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client left")
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]
        self._read.set()

    async def left(self) -> None:
        """Returns when the client has left after its request was read."""
        await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _pump_in(receive: Receive, other: aiohttp.ClientWebSocketResponse) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") is not None:
            await other.send_str(message["text"])
        else:
            await other.send_bytes(message["bytes"])
    await other.close(code=_close_code(message.get("code")))


async def _pump_out(other: aiohttp.ClientWebSocketResponse, send: Send) -> None:
    async for message in other:
        if message.type is aiohttp.WSMsgType.TEXT:
            await send({"type": "websocket.send", "text": message.data})
        elif message.type is aiohttp.WSMsgType.BINARY:
            await send({"type": "websocket.send", "bytes": message.data})
    await send({"type": "websocket.close", "code": _close_code(other.close_code)})


def _close_code(code: int | None) -> int:
    """1005 and 1006 say how a connection ended and may not be sent (RFC 6455, 7.4.1)."""
    return 1000 if code in (None, 1005) else 1011 if code == 1006 else code


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": UNKNOWN_SESSION})


def _node_of(scope: Scope) -> str | None:
    sids = parse_qs(scope["query_string"].decode("latin-1")).get("sid", [])
    return node_of(sids[0]) if len(sids) == 1 else None


def _target(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return f"{raw.decode('latin-1')}?{scope['query_string'].decode('latin-1')}"


def _has(scope: Scope, name: bytes) -> bool:
    return any(key == name for key, _ in scope["headers"])


def _headers(scope: Scope, has_content: bool) -> Iterable[tuple[str, str]]:
    dropped = NOT_FORWARDED | {HOP} | (set() if has_content else {b"content-length", b"content-type"})
    kept = [(key, value) for key, value in scope["headers"] if key not in dropped]
    kept.append((HOP, b"1"))
    return [(key.decode("latin-1"), value.decode("latin-1")) for key, value in kept]
