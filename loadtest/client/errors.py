"""Every error the load client raises or reports on purpose.

    ClientError
    ├── AddressError           the URL cannot be used
    ├── OpeningFailed          no connection came about
    │   ├── Unreachable        no such host, or nobody listens there
    │   ├── TooManyFiles       this process may open no more files
    │   ├── NoFreePort         this machine has no port left for another connection
    │   ├── TlsFailed
    │   ├── BadStatus          an HTTP status that was not expected; carries `status`
    │   ├── NotSocketIO        something answers there, but no Socket.IO v5 server
    │   ├── OpeningTimedOut    carries `step`: what was waited for
    │   └── Refused            the server's CONNECT_ERROR; carries `data`. Trying again is no use
    ├── ConnectionBroke        an established connection ended without a word
    │   ├── ServerClosed       with one: a close frame, a close packet
    │   └── ProtocolViolation  the server sent what it must not
    ├── NotConnected           `emit` on a client that is not, and will not be, connected
    ├── SendBufferFull         the server does not read what is sent
    ├── UpgradeFailed          the probe failed; the client goes on polling
    ├── BinaryUnsupported      a binary event came; it was counted and dropped
    ├── Lost                   no acknowledgement will come any more
    └── AckTimeout             none came in time; the event may or may not have been handled

Nothing is handled here. A message says what was expected, what came, and what to do where that is known.
"""

from typing import Any


class ClientError(Exception):
    """The root: `except ClientError` catches what the load client raises and nothing else."""


class AddressError(ClientError):
    """The URL is none that can be connected to."""


class OpeningFailed(ClientError):
    """No connection came about."""


class Unreachable(OpeningFailed):
    """The host has no address, or none of its addresses takes a TCP connection."""


class TooManyFiles(OpeningFailed):
    """The process or the machine may open no more files."""


class NoFreePort(OpeningFailed):
    """All ports for connections to this address are taken."""


class TlsFailed(OpeningFailed):
    """There was no TLS, or a certificate that is not trusted."""


class BadStatus(OpeningFailed):
    """An HTTP answer with another status than expected."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotSocketIO(OpeningFailed):
    """What answered does not speak Engine.IO v4 with Socket.IO v5 in it."""


class OpeningTimedOut(OpeningFailed):
    """It took longer than it may."""

    def __init__(self, message: str, step: str) -> None:
        super().__init__(message)
        self.step = step


class Refused(OpeningFailed):
    """The server answered CONNECT with CONNECT_ERROR. `data`: what it sent as such, None without."""

    def __init__(self, message: str, data: Any) -> None:
        super().__init__(message)
        self.data = data


class ConnectionBroke(ClientError):
    """An established connection ended."""


class ServerClosed(ConnectionBroke):
    """The server ended the connection, and said so."""


class ProtocolViolation(ConnectionBroke):
    """The server broke the rules of TLS, HTTP, WebSocket, Engine.IO or Socket.IO."""


class NotConnected(ClientError):
    """There is no connection, and none is on the way."""


class SendBufferFull(ClientError):
    """More is waiting to be sent than may be."""


class UpgradeFailed(ClientError):
    """The WebSocket could not take over from polling."""


class BinaryUnsupported(ClientError):
    """A binary event: the load client takes none."""


class Lost(ClientError):
    """The connection that an acknowledgement was to come through is gone."""


class AckTimeout(ClientError):
    """An acknowledgement did not come in time."""
