"""A TCP connection's bytes, by callbacks: connecting, bulk reads, writes that never block, and three ways to end.

It knows nothing of what the bytes mean; TLS is put over it by `tls.py`.
"""

import _socket
import errno
import os
import struct
import time
from collections.abc import Sequence

from . import hub
from .address import SocketAddress
from .connect_errors import FILE_LIMITS, not_opened
from .errors import ClientError, ConnectionBroke, ProtocolViolation, SendBufferFull
from .hub import READ, WRITE, Watcher
from .owner import NOBODY, Nobody, Owner
from .wheel import wheel

# One read takes at most this. Below malloc's threshold for memory of its own, so that giving back what was not
# needed of it costs nothing.
READ_BYTES = 65536
# Of all streams of the process, since a read ends before the next one begins.
_buffer = bytearray(READ_BYTES)
_view = memoryview(_buffer)
UNSENT_MAX_BYTES = 8 << 20
# How long the server may take to end a connection that was said goodbye to.
LEAVE_WITHIN_S = 2.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST, and no port waits for two minutes
IP_BIND_ADDRESS_NO_PORT = 24  # Linux: the port is chosen at connect(), where all four numbers count
IN_PROGRESS = (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK)


class Traffic:
    """Bytes of all sockets of one client."""

    __slots__ = ("bytes_in", "bytes_out")

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0


class Stream:
    """One connection, to be opened once. `source_ip`: the address of this machine to connect from."""

    __slots__ = ("_connecting", "_reading", "_socket", "_source_ip", "_traffic", "_unsent", "_writing", "owner")

    def __init__(self, owner: Owner, traffic: Traffic, source_ip: str | None) -> None:
        self.owner: Owner = owner
        self._traffic = traffic
        self._source_ip = source_ip
        self._socket: _socket.socket | None = None
        self._connecting: list[SocketAddress] | None = None  # those not tried yet, while it connects
        self._reading: Watcher | None = None
        self._writing: Watcher | None = None
        self._unsent: bytearray | None = None

    # Opening

    def open(self, addresses: Sequence[SocketAddress]) -> None:
        """Connects to the first address that takes it; the owner hears `opened` or `ended`, later."""
        self._connecting = list(addresses)
        hub.soon(self._try_next)

    def _try_next(self) -> None:
        if not self._connecting:
            return  # closed meanwhile
        family, address = self._connecting.pop(0)
        try:
            self._socket = made = _socket.socket(family, _socket.SOCK_STREAM)
            made.setblocking(False)
            made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            self._bind(made)
            failed = made.connect_ex(address)
        except OSError as error:
            self._not_connected(error)
            return
        if failed and failed not in IN_PROGRESS:
            self._not_connected(OSError(failed, os.strerror(failed)))
            return
        self._writing = hub.io(made.fileno(), WRITE)
        self._writing.start(self._answered)

    def _bind(self, made: _socket.socket) -> None:
        if self._source_ip is None:
            return
        made.setsockopt(_socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        made.bind((self._source_ip, 0))

    def _answered(self) -> None:
        assert self._socket is not None
        _end(self._writing)
        self._writing = None
        failed = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if failed:
            self._not_connected(OSError(failed, os.strerror(failed)))
            return
        self._connecting = None
        self._reading = hub.io(self._socket.fileno(), READ)
        self._reading.start(self._readable)
        self._connected()

    def _not_connected(self, error: OSError) -> None:
        more, owner = self._connecting, self.owner
        self.close()
        if more and error.errno not in FILE_LIMITS:
            self._connecting, self.owner = more, owner
            self._try_next()
        else:
            owner.ended(not_opened(error))

    def _connected(self) -> None:
        self.owner.opened()

    # Reading

    def _readable(self) -> None:
        try:
            size = self._socket.recv_into(_buffer)  # type: ignore[union-attr]
        except BlockingIOError:
            return
        except OSError as error:
            self._broke(ConnectionBroke(f"the connection broke: {error.strerror or error}"))
            return
        now_s = time.monotonic()
        if not size:
            self._at_end()
            return
        data = _view[:size].tobytes()
        self._traffic.bytes_in += len(data)
        try:
            self._received(data, now_s)
        except (ProtocolViolation, SendBufferFull) as error:
            self._broke(error)
        except BaseException:
            # gevent stops a watcher whose callback raises: better no connection than one that is deaf.
            self._broke(ConnectionBroke("its own callback failed, see stderr"))
            raise

    def _received(self, data: bytes, now_s: float) -> None:
        self.owner.received(data, now_s)

    def _at_end(self) -> None:
        self._broke(ConnectionBroke("the server closed the TCP connection without a word"))

    def _broke(self, error: ClientError) -> None:
        if self._socket is not None:
            owner = self.owner
            self.close()
            owner.ended(error)

    # Writing

    def send(self, data: bytes) -> None:
        """Sends now what the kernel takes, the rest later. Raises SendBufferFull; a break is told in `ended`."""
        if self._socket is None:
            return
        if self._unsent is not None:
            self._wait_with(data)
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            # Later, since the caller is in the middle of something. What can still be read comes first.
            hub.soon(self._broke, ConnectionBroke(f"the connection broke: {error.strerror or error}"))
            return
        self._traffic.bytes_out += sent
        if sent < len(data):
            self._unsent = bytearray()
            self._wait_with(data[sent:])
            self._writing = hub.io(self._socket.fileno(), WRITE)
            self._writing.start(self._writable)

    def _wait_with(self, data: bytes) -> None:
        assert self._unsent is not None
        if len(self._unsent) + len(data) > UNSENT_MAX_BYTES:
            raise SendBufferFull(
                f"{len(self._unsent):,} bytes wait to be sent: the server does not read; send less"
            )
        self._unsent += data

    def _writable(self) -> None:
        assert self._socket is not None and self._unsent is not None
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self._broke(ConnectionBroke(f"the connection broke: {error.strerror or error}"))
            return
        self._traffic.bytes_out += sent
        del self._unsent[:sent]
        if not self._unsent:
            self._unsent = None
            _end(self._writing)
            self._writing = None

    # Ending

    def close(self) -> None:
        """Ends it at once; the owner hears nothing of it, and is forgotten. May be called twice."""
        self._connecting = self._unsent = None
        self.owner = NOBODY  # no circle is left for the garbage collector
        # Watchers first: another connection may get the number as soon as it is free.
        _end(self._reading)
        _end(self._writing)
        self._reading = self._writing = None
        if self._socket is not None:
            closed, self._socket = self._socket, None
            closed.close()

    def reset(self) -> None:
        """Breaks it (RST): what was not sent is gone, the server is told nothing else."""
        if self._socket is not None:
            self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, RESET)
        self.close()

    def leave(self) -> None:
        """Ends it politely: what is unsent goes out, and the server closes first, or is closed on soon."""
        if self._socket is None or self._connecting is not None:
            self.close()
        else:
            self.owner = _Leaving(self)


class _Leaving(Nobody):
    """Owns a stream on which nothing matters any more but its end."""

    __slots__ = ("_stream", "_tick")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._tick = wheel().watch(self, time.monotonic() + LEAVE_WITHIN_S)

    def ended(self, error: ClientError) -> None:
        """As it should."""
        wheel().forget(self, self._tick)

    def due(self, now_s: float) -> None:
        """The server keeps it open: it is closed on this side."""
        self._stream.close()


def _end(watcher: Watcher | None) -> None:
    if watcher is not None:
        watcher.stop()
        watcher.close()
