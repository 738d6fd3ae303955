"""Who uses a client, and the words in which it is told why a connection is lost."""

from typing import TYPE_CHECKING, Protocol

from .engine import PingTimeout
from .errors import ClientError, ConnectionBroke, ProtocolViolation
from .packets import Batch

if TYPE_CHECKING:
    from .client import Client

# Reasons, in the stock client's words.
BY_SERVER = "io server disconnect"
BY_CLIENT = "io client disconnect"
PING_TIMEOUT = "ping timeout"
TRANSPORT_CLOSE = "transport close"
TRANSPORT_ERROR = "transport error"
PARSE_ERROR = "parse error"


class Listener(Protocol):
    """All are called in the hub, or in the greenlet that asked for it: none may block.

    One that raises loses the connection, and its traceback is printed.
    """

    def heard(self, client: "Client", packets: Batch, now_s: float) -> None:
        """Events in order, each the whole message `b'42["name",...]'`; with the `time.monotonic` of their reading.

        `packets` may be the very object other clients got, for the same bytes: it must not be changed, and its
        `note` may hold what was found out about it. An event that wants an acknowledgement was answered already.
        """

    def connected(self, client: "Client") -> None:
        """The first time, and after each reconnection; `client.recovered` tells whether nothing is missing."""

    def lost(self, client: "Client", reason: str) -> None:
        """It was connected and no longer is, by its own `disconnect`, too (BY_CLIENT).

        `client.state` tells whether it tries again (`reconnecting`, or `closed`), `client.why` more.
        """

    def failed(self, client: "Client", error: ClientError) -> None:
        """An attempt to reconnect or to upgrade failed, or a binary event came."""


def reason_of(error: ClientError) -> str:
    """What the stock client calls the loss of a connection by this error."""
    if isinstance(error, PingTimeout):
        return PING_TIMEOUT
    if isinstance(error, ProtocolViolation):
        return PARSE_ERROR
    return TRANSPORT_CLOSE if isinstance(error, ConnectionBroke) else TRANSPORT_ERROR
