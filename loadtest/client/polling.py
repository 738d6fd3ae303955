"""The long-polling transport: a GET is always on its way, and POSTs take what is sent, one at a time.

Each has a connection of its own. Messages of a body are joined by `\\x1e` (Engine.IO v4).
"""

import time
from collections.abc import Callable

from .errors import BadStatus, ClientError, SendBufferFull, ServerClosed
from .http_connection import HttpConnection
from .http_messages import Response
from .packets import CLOSE, SEPARATOR, Batches
from .route import Route
from .session import Session
from .stream import LEAVE_WITHIN_S, UNSENT_MAX_BYTES
from .wheel import wheel

OK = 200
POST_LINES = "Accept: */*\r\nContent-Type: text/plain;charset=UTF-8\r\n"


class PollingTransport:
    """It polls from the time it is made, without a session at first.

    `sid` and `max_payload_bytes` (0: no limit) are set by the session when it knows them.
    """

    __slots__ = (
        *("_batches", "_closed", "_get", "_known", "_leaving", "_paused", "_poll_made_for"),
        *("_poll_request", "_polling", "_post", "_posting"),
        *("_route", "_session", "_waiting", "_waiting_bytes", "max_payload_bytes", "sid"),
    )

    name = "polling"

    def __init__(self, session: Session, route: Route, batches: Batches) -> None:
        self._session = session
        self._route = route
        self._batches = batches
        self._known = batches.known
        self._waiting: list[bytes] = []  # messages for the next POST
        self._waiting_bytes = 0
        self._posting = False
        self._polling = False
        self._closed = False
        self._paused: Callable[[], None] | None = None
        self._leaving = 0  # the tick of the deadline, once it leaves
        self.sid: str | None = None
        self.max_payload_bytes = 0
        self._poll_request = b""
        self._poll_made_for: tuple[str | None, str] | None = None  # the session and the cookies in it
        self._get = HttpConnection(self, route)
        self._post: HttpConnection | None = None
        session.step("the answer to the first poll")
        self._poll()

    def send(self, messages: list[bytes]) -> None:
        """As Transport's."""
        size = sum(map(len, messages))
        if self._waiting_bytes + size > UNSENT_MAX_BYTES:
            raise SendBufferFull(
                f"{self._waiting_bytes:,} bytes wait for a POST to be answered: send less, or wait for acks"
            )
        self._waiting += messages
        self._waiting_bytes += size
        if not self._posting:
            self._send_next()

    def pause(self, paused: Callable[[], None]) -> None:
        """Calls back once no request is on its way; nothing may be sent after that."""
        self._paused = paused
        self._look_if_paused()

    def leave(self) -> None:
        """As Transport's: Engine.IO's CLOSE goes out last."""
        self._leaving = wheel().watch(self, time.monotonic() + LEAVE_WITHIN_S)
        self.send([CLOSE])

    def due(self, now_s: float) -> None:
        """The last POST was not answered in time."""
        self.close()

    def reset(self) -> None:
        """As Transport's."""
        self._closed = True
        for connection in (self._get, self._post):
            if connection is not None:
                connection.reset()

    def close(self) -> None:
        """As Transport's."""
        self._closed = True
        if self._leaving:
            wheel().forget(self, self._leaving)
        for connection in (self._get, self._post):
            if connection is not None:
                connection.close()

    # Of its connections

    def answered(self, connection: HttpConnection, response: Response, now_s: float) -> None:
        """A poll's messages, or the end of a POST."""
        if b"ookie:" in response.head:
            self._route.cookies.read(response.head)
        if self._leaving and connection is self._get:
            return
        if response.status != OK:
            what = "a poll" if connection is self._get else "a POST"
            self._fail(BadStatus(f"expected HTTP status 200 to {what}, got {response}", response.status))
        elif connection is self._get:
            self._polled(response.body, now_s)
        else:
            self._posting = False
            self._send_next()

    def failed(self, connection: HttpConnection, error: ClientError) -> None:
        """A request had no answer."""
        if not self._leaving or connection is self._post:
            self._fail(error)

    def _fail(self, error: ClientError) -> None:
        leaving = self._leaving
        self.close()
        if not leaving:
            self._session.broke(self, error)

    # Polling

    def _poll(self) -> None:
        self._polling = True
        made_for = self.sid, self._route.cookies.header
        if self._poll_made_for != made_for:
            self._poll_made_for = made_for
            self._poll_request = self._route.request("GET", "polling", self.sid, "Accept: */*\r\n")
        self._get.ask(self._poll_request)

    def _polled(self, body: bytes, now_s: float) -> None:
        self._polling = False
        if not self._hand_over(body, now_s):
            self._fail(ServerClosed("the server closed the session"))
        elif self._paused is not None:
            self._look_if_paused()
        elif not self._closed and not self._leaving:
            self._poll()

    def _hand_over(self, body: bytes, now_s: float) -> bool:
        """To the session; False where the server has closed it."""
        batch = self._known.get(body)
        if batch is not None:
            self._session.heard(batch, now_s)
            return True
        messages = body.split(SEPARATOR)
        batch = self._batches.of(messages)
        if batch is not None:
            self._batches.keep(body, batch)
            self._session.heard(batch, now_s)
            return True
        closes = CLOSE in messages
        self._session.messages(self, messages[: messages.index(CLOSE)] if closes else messages, now_s)
        return not closes

    def _look_if_paused(self) -> None:
        if self._paused is not None and not self._polling and not self._posting:
            paused, self._paused = self._paused, None
            paused()

    # Posting

    def _send_next(self) -> None:
        if not self._waiting:
            if self._leaving:
                self.close()
            self._look_if_paused()
            return
        body = SEPARATOR.join(self._take())
        if self._post is None:
            self._post = HttpConnection(self, self._route)
        self._posting = True
        length = f"Content-Length: {len(body)}\r\n"
        self._post.ask(self._route.request("POST", "polling", self.sid, POST_LINES, length) + body)

    def _take(self) -> list[bytes]:
        """What one body may hold of what waits: at least one message, since a longer one cannot be split."""
        size = count = 0
        for message in self._waiting:
            size += len(message) + (1 if count else 0)
            if count and self.max_payload_bytes and size > self.max_payload_bytes:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_bytes -= sum(map(len, taken))
        return taken
