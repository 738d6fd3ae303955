"""Any worker answers any request: one that belongs to another node's session is forwarded there.

The session id names its node, and the node registry says where that is; nothing of the request does. Bodies
are streamed, a forwarded request is never forwarded again, and everything has a time limit. A session of a
node that is gone gets the protocol's "unknown session" error at once. A node that drains ends what it forwards
(`forwarded.py`), too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import aiohttp

from ..metrics import Metrics
from ..node import Node, node_of
from .forwarded import ForwardedPoll, ForwardedWebSocket, Receive, Send

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
# node id -> the URL of a living node's own listener, or None
FindNode = Callable[[str], Awaitable[str | None]]

CONNECT_TIMEOUT_S = 2.0
# Beyond the longest poll (ping interval + ping timeout).
MARGIN_S = 5.0
CLOSE_S = 2.0  # what the owner of a WebSocket may take to answer its closing frame
HOP = b"x-clusterkit-hop"  # on what was forwarded once; a client that sends it only keeps itself from being
# Has the owner answer a session's poll, the one under way or the next, with a NOOP where it has nothing else. A
# client that sends it only ends its own.
END_POLL = b"x-clusterkit-end-poll"
# RFC 9110, 7.6.1, and what a WebSocket's opening negotiates for one connection only.
NOT_FORWARDED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade".split()
    + b"sec-websocket-key sec-websocket-version sec-websocket-extensions sec-websocket-protocol".split()
)
# What this node's server says itself.
NOT_ANSWERED = NOT_FORWARDED | {b"date", b"server"}
DRAINING = [(b"retry-after", b"1")]  # with 503: a balancer asks the next node
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
        self._websockets: set[ForwardedWebSocket] = set()
        self._polls: set[ForwardedPoll] = set()
        self._leaving = False

    @property
    def websockets(self) -> int:
        """How many WebSockets are forwarded now."""
        return len(self._websockets)

    def leave(self) -> "list[ForwardedWebSocket | ForwardedPoll]":
        """What the node that drains must close. From here on no WebSocket is forwarded, and no poll waits."""
        self._leaving = True
        return [*self._websockets, *self._polls]

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
        answer = _Answer(send)
        exchange = asyncio.ensure_future(self._exchange(url, scope, body, answer))
        leaving = asyncio.ensure_future(body.left())
        poll = ForwardedPoll(exchange, partial(self._end_poll, url))
        if scope["method"] == "GET":
            self._polls.add(poll)
        cut_short = False
        try:
            await asyncio.wait((exchange, leaving), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # the server ends, and the owner has not answered
            cut_short = True
        self._polls.discard(poll)
        for task in (exchange, leaving):
            task.cancel()
        outcome, _ = await asyncio.gather(exchange, leaving, return_exceptions=True)
        if isinstance(outcome, Exception):
            logger.warning("forwarding to %s broke off: %r", url.partition("?")[0], outcome)
        if cut_short and not answer.started:
            await _refuse(scope, send)

    async def _end_poll(self, url: str) -> None:
        # OPTIONS: to a node that does not know the header it does nothing.
        headers = {HOP.decode(): "1", END_POLL.decode(): "1"}
        async with self._session().options(url, headers=headers):
            pass

    async def _exchange(self, url: str, scope: Scope, body: "_Body", answer: "_Answer") -> None:
        # Whoever has its poll answered by a node that leaves comes with the next one to another node.
        asked = [(END_POLL, b"1")] if self._leaving and scope["method"] == "GET" else []
        try:
            async with self._session().request(
                scope["method"],
                url,
                headers=_headers(scope, body.has_content, asked),
                data=body.chunks() if body.has_content else None,
                allow_redirects=False,
            ) as response:
                headers = [(n.lower(), v) for n, v in response.raw_headers if n.lower() not in NOT_ANSWERED]
                if self._leaving:
                    headers.append((b"connection", b"close"))
                await answer.send({"type": "http.response.start", "status": response.status, "headers": headers})
                async for chunk in response.content.iter_any():
                    await answer.send({"type": "http.response.body", "body": chunk, "more_body": True})
                await answer.send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._failed(url, error)
            if answer.started:
                raise  # the response cannot be finished: the server cuts the connection
            await _refuse(scope, answer.send)

    # --- WebSocket -----------------------------------------------------------------------------------------

    async def _forward_websocket(self, url: str, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        if self._leaving:
            await _send_away(scope, send)
            return
        try:
            other = await self._session().ws_connect(
                url,
                headers=_headers(scope, has_content=False),
                max_msg_size=0,
                compress=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._failed(url, error)
            await _refuse(scope, send)
            return
        async with other:
            if self._leaving:  # meanwhile
                await _send_away(scope, send)
                return
            forwarded = ForwardedWebSocket(other, receive, send)
            self._websockets.add(forwarded)
            try:
                await forwarded.serve()
            finally:
                self._websockets.discard(forwarded)

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


class _Answer:
    """Where an HTTP answer goes, and whether it has begun."""

    def __init__(self, send: Send) -> None:
        self.started = False
        self._send = send

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """As ASGI has it."""
        self.started = True
        await self._send(message)


async def _send_away(scope: Scope, send: Send) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await _refuse(scope, send)
        return
    await send({"type": "websocket.http.response.start", "status": 503, "headers": DRAINING})
    await send({"type": "websocket.http.response.body", "body": b""})


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


def _headers(
    scope: Scope, has_content: bool, more: Iterable[tuple[bytes, bytes]] = ()
) -> Iterable[tuple[str, str]]:
    dropped = NOT_FORWARDED | {HOP} | (set() if has_content else {b"content-length", b"content-type"})
    kept = [(key, value) for key, value in scope["headers"] if key not in dropped]
    return [(key.decode("latin-1"), value.decode("latin-1")) for key, value in [*kept, (HOP, b"1"), *more]]
