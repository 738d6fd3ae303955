"""The WebSocket transport: Engine.IO messages, one to a text message. `websocket_opening.py` comes before it."""

from .errors import ClientError, ProtocolViolation
from .frames import CLOSE, PONG, TEXT, FrameReader, client_frame
from .packets import Batches
from .route import Route
from .session import Session
from .websocket_opening import Opening


class WebSocketTransport:
    """One WebSocket; with `sid` it is to take over a session that polls."""

    __slots__ = ("_batches", "_known", "_reader", "_session", "_stream")

    name = "websocket"

    def __init__(self, session: Session, route: Route, batches: Batches, sid: str | None = None) -> None:
        self._session = session
        self._batches = batches
        self._known = batches.known
        self._reader = FrameReader()
        self._stream = Opening(session, route, sid, self).stream

    def send(self, messages: list[bytes]) -> None:
        """As Transport's."""
        self._stream.send(b"".join([client_frame(TEXT, message) for message in messages]))

    def leave(self) -> None:
        """As Transport's; the close frame carries no code, as that of a stock client."""
        self._stream.send(client_frame(CLOSE, b""))
        self._stream.leave()

    def reset(self) -> None:
        """As Transport's."""
        self._stream.reset()

    def close(self) -> None:
        """As Transport's."""
        self._stream.close()

    # Of the stream

    def opened(self) -> None:
        """`agreed` is, instead."""

    def received(self, data: bytes, now_s: float) -> None:
        """Frames, or parts of some: the load client's hottest path."""
        reader = self._reader
        between = reader.between
        if between:
            batch = self._known.get(data)
            if batch is not None:
                self._session.heard(batch, now_s)
                return
        messages = reader.feed(data)
        if messages:
            batch = self._batches.of(messages)
            if batch is None:
                self._session.messages(self, messages, now_s)
            else:
                if between and reader.between and not reader.controlled:
                    self._batches.keep(data, batch)
                self._session.heard(batch, now_s)
        if reader.controlled:
            self._obey(reader)

    def ended(self, error: ClientError) -> None:
        """The TCP connection did."""
        self._session.broke(self, error)

    def agreed(self, rest: bytes, now_s: float) -> None:
        """The server has agreed to a WebSocket; `rest` came right behind its answer."""
        self._stream.owner = self
        self._session.step("Engine.IO's OPEN packet")
        self._session.opened(self)
        if rest:
            self.received(rest, now_s)

    def _obey(self, reader: FrameReader) -> None:
        """Answers control frames. What was heard before may have ended the client: then nothing is sent."""
        stream = self._stream
        for payload in reader.pings or ():
            stream.send(client_frame(PONG, payload))
        reader.pings, error = None, reader.ended
        reader.controlled = error is not None
        if error is None or stream.owner is not self:
            return
        if isinstance(error, ProtocolViolation):
            stream.close()
        else:
            stream.send(client_frame(CLOSE, b""))
            stream.leave()
        self._session.broke(self, error)
