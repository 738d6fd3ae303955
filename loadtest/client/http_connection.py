"""One HTTP connection for one request at a time; it opens when needed, and again where the server closed it."""

import time
from typing import Protocol

from .errors import ClientError, ConnectionBroke
from .http_messages import Response, ResponseReader
from .route import Route
from .stream import Stream


class Asker(Protocol):
    """Who asks; both are called in the hub."""

    def answered(self, connection: "HttpConnection", response: Response, now_s: float) -> None:
        """The answer, whatever its status. Another request may be made at once."""

    def failed(self, connection: "HttpConnection", error: ClientError) -> None:
        """There will be none; the server may have handled the request or not."""


class _Nobody:
    """Asks no more."""

    __slots__ = ()

    def answered(self, connection: "HttpConnection", response: Response, now_s: float) -> None:
        """Too late."""

    def failed(self, connection: "HttpConnection", error: ClientError) -> None:
        """Too late."""


_NOBODY = _Nobody()


class HttpConnection:
    """Keeps its TCP connection from one request to the next where the server does."""

    __slots__ = ("_asker", "_asking", "_handing", "_reader", "_request", "_route", "_stream")

    def __init__(self, asker: Asker, route: Route) -> None:
        self._asker: Asker = asker
        self._route = route
        self._reader = ResponseReader()
        self._stream: Stream | None = None
        self._request: bytes | None = None  # waits for the connection to open
        self._asking = False
        self._handing = False

    def ask(self, request: bytes) -> None:
        """Sends a whole request; not before the last one was answered."""
        self._asking = True
        if self._stream is None:
            self._request = request
            self._stream = self._route.connect(self)
        else:
            self._stream.send(request)

    def close(self) -> None:
        """Ends it; whoever asked hears nothing, and is forgotten: no circle is left for the garbage collector."""
        self._asker = _NOBODY
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def reset(self) -> None:
        """Breaks it; otherwise as `close`."""
        self._asker = _NOBODY
        if self._stream is not None:
            self._stream.reset()
            self._stream = None

    # Of the stream

    def opened(self) -> None:
        """Sends what waits."""
        request, self._request = self._request, None
        if self._stream is not None and request is not None:
            self._stream.send(request)

    def received(self, data: bytes, now_s: float) -> None:
        """A response, or a part of one."""
        response = self._reader.feed(data)
        if response is None:
            return
        stream = self._stream
        if not response.keeps:
            self._stream = None
        self._answer(response, now_s)
        if stream is not None and not response.keeps:
            stream.close()

    def ended(self, error: ClientError) -> None:
        """The stream did. While nothing is asked, nobody minds."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        response = self._reader.end()
        if response is not None:
            self._answer(response, time.monotonic())
            return
        self._reader = ResponseReader()
        if not self._asking and not self._handing:
            return
        if self._asking and type(error) is ConnectionBroke:
            error = ConnectionBroke(f"expected an HTTP answer, got: {error}")
        self._asking = self._handing = False
        self._asker.failed(self, error)

    def _answer(self, response: Response, now_s: float) -> None:
        self._asking = False
        self._handing = True  # where this raises, the stream is ended, and that is told
        self._asker.answered(self, response, now_s)
        self._handing = False
