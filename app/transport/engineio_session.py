"""What python-engineio's server asks of a socket, of one that is a WebSocket and writes by itself.

Reading, opening and ending are `protocol.py`'s.
"""

from typing import Any

from engineio import exceptions
from uvicorn import Config

from .direct import DirectWriting
from .frames import binary_frame, text_frame
from .opening import environ_of


class EngineSession(DirectWriting):
    """An Engine.IO session, once it is `connected`."""

    __slots__ = ("_session", "closed", "closing", "config", "connected", "opened_with", "sid")
    upgraded = True  # long-polling requests of this session are refused
    upgrading = False

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.opened_with: bytes | dict[str, Any] = b""  # the request, or its environ
        self.sid = ""
        self._session: dict[str, Any] | None = None
        self.connected = False
        self.closing = False
        self.closed = False

    @property
    def session(self) -> dict[str, Any]:
        """The app's data (python-engineio's `get_session`)."""
        if self._session is None:
            self._session = {}
        return self._session

    @session.setter
    def session(self, session: dict[str, Any]) -> None:
        self._session = session

    @property
    def environ(self) -> dict[str, Any]:
        """The request's WSGI environ, made anew each time."""
        if isinstance(self.opened_with, dict):
            return self.opened_with
        info = self.transport.get_extra_info
        secure = info("ssl_object") is not None
        return environ_of(self.opened_with, info("peername"), self.config, secure=secure)

    def write_packet(self, pkt: Any) -> None:
        """Sends an Engine.IO packet, without waiting."""
        encoded = pkt.encode()
        if not self.closing:
            self.write(text_frame(encoded.encode()) if isinstance(encoded, str) else binary_frame(encoded))

    async def send(self, pkt: Any) -> None:
        """As `write_packet`. Raises SocketIsClosedError."""
        if self.closed:
            raise exceptions.SocketIsClosedError
        self.write_packet(pkt)

    async def check_ping_timeout(self) -> bool:
        """The wheel does that."""
        return not self.closing
