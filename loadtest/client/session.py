"""What a transport asks of the session it belongs to, and what the session asks of a transport."""

from typing import Protocol

from .errors import ClientError
from .packets import Batch


class Session(Protocol):
    """An Engine.IO session, as its transports see it. All are called in the hub."""

    def step(self, waiting_for: str) -> None:
        """What an opening waits for now, for the message of a timeout."""

    def opened(self, transport: "Transport") -> None:
        """It can send."""

    def heard(self, batch: Batch, now_s: float) -> None:
        """Events, and nothing else. Not to be called before OPEN has been a message."""

    def messages(self, transport: "Transport", messages: list[bytes], now_s: float) -> None:
        """Engine.IO messages in order, not all of which are events."""

    def broke(self, transport: "Transport", error: ClientError) -> None:
        """It did not open, or ended. Called once, and not after it was told to end."""


class Transport(Protocol):
    """WebSocket or long-polling. It connects when made; the session hears `opened` or `broke`, later."""

    @property
    def name(self) -> str:
        """As in the query: `websocket` or `polling`."""

    def send(self, messages: list[bytes]) -> None:
        """Engine.IO messages. Raises SendBufferFull."""

    def leave(self) -> None:
        """Says goodbye, once what was sent has gone, and ends."""

    def reset(self) -> None:
        """Breaks all TCP connections."""

    def close(self) -> None:
        """Ends all TCP connections at once."""
