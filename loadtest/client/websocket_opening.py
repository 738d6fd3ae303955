"""A WebSocket's opening, as a client does it (RFC 6455, section 4.1)."""

import base64
import hashlib
import os
import re
from typing import Protocol

from .errors import BadStatus, ClientError, ConnectionBroke, NotSocketIO, OpeningFailed
from .http_messages import SWITCHED, Response, ResponseReader
from .owner import Owner
from .route import Route
from .session import Session

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ACCEPT = re.compile(rb"\r\nsec-websocket-accept:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)


class Opened(Owner, Protocol):
    """Who is told when it has worked, or that it has not."""

    def agreed(self, rest: bytes, now_s: float) -> None:
        """The server has agreed. Becomes the stream's owner, and takes the `rest` of what has come, if any."""


class Opening:
    """Owns the stream until the server has agreed; with `sid` the WebSocket is to take over that session."""

    __slots__ = ("_opened", "_reader", "_route", "_session", "_sid", "_wanted", "stream")

    def __init__(self, session: Session, route: Route, sid: str | None, opened: Opened) -> None:
        self._session = session
        self._route = route
        self._sid = sid
        self._opened = opened
        self._wanted = b""
        self._reader = ResponseReader()
        self._session.step("a TCP connection")
        self.stream = route.connect(self)

    def opened(self) -> None:
        """Asks for a WebSocket."""
        key = base64.b64encode(os.urandom(16))
        self._wanted = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
        self._session.step("an answer to the WebSocket's opening")
        request = self._route.request(
            *("GET", "websocket", self._sid),
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
            f"Sec-WebSocket-Key: {key.decode()}\r\n",
        )
        self.stream.send(request)

    def received(self, data: bytes, now_s: float) -> None:
        """The answer, or parts of it."""
        response = self._reader.feed(data)
        if response is None:
            return
        self._route.cookies.read(response.head)
        wrong = self._wrong(response)
        if wrong is None:
            self._opened.agreed(response.body, now_s)
        else:
            self.stream.close()
            self._opened.ended(wrong)

    def ended(self, error: ClientError) -> None:
        """The TCP connection did, or there was none."""
        response = self._reader.end()
        wrong = self._wrong(response) if response is not None else None
        if wrong is None and isinstance(error, ConnectionBroke):
            wrong = OpeningFailed(f"expected an answer to the WebSocket's opening, got: {error}")
        self._opened.ended(wrong or error)

    def _wrong(self, response: Response) -> ClientError | None:
        if response.status != SWITCHED:
            message = f"expected HTTP status 101 to the WebSocket's opening, got {response}"
            return BadStatus(message, response.status)
        accepted = ACCEPT.search(response.head)
        if accepted is None or accepted[1] != self._wanted:
            return NotSocketIO(f"expected Sec-WebSocket-Accept: {self._wanted.decode()}, got {response.head!r}")
        return None
