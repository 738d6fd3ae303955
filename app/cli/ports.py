"""TCP ports, taken or found busy before anything starts, with errors that say what to do about it.

It listens on nothing: uvicorn does, on the sockets made here.
"""

import errno
import socket
from collections.abc import Iterable

from ..errors import ClusterKitError, SettingsError
from ..node import url_at

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # an address for all -> one that a client can use


def bind_shared(host: str, port: int) -> socket.socket:
    """A socket on a port that other nodes of this user may share; the kernel spreads connections."""
    return _bind(host, port, socket.SO_REUSEADDR, socket.SO_REUSEPORT)


def bind_alone(host: str, port: int) -> socket.socket:
    """A socket on a port that nobody else has. Raises ClusterKitError naming the port if it is busy."""
    # REUSEADDR passes over connections in TIME_WAIT after a restart, never over a listening socket.
    return _bind(host, port, socket.SO_REUSEADDR)


def hold_shared(host: str, port: int) -> socket.socket:
    """Keeps `port` for the nodes of this user while none of them listens, as during a restart.

    It never listens, so it is given no connection; without REUSEADDR it makes every ordinary bind fail.
    """
    return _bind(host, port, socket.SO_REUSEPORT)


def require_free(host: str, ports: Iterable[int]) -> None:
    """Raises ClusterKitError naming the first of `ports` that anybody listens on.

    An ordinary bind, since one with REUSEPORT would quietly join another cluster on the same port.
    """
    for port in ports:
        bind_alone(host, port).close()


def url_of(host: str, port: int) -> str:
    """The URL by which a client on this machine reaches a server that listens on `host`."""
    return url_at(WILDCARDS.get(host, host), port)


def _bind(host: str, port: int, *options: int) -> socket.socket:
    family, address = _resolve(host, port)
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise _explained(error, host, port) from None
    return bound


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError(f"HOST: expected an address of this machine: {error} (got {host!r})") from None
    family, _, _, _, address = found[0]
    return family, address


def _explained(error: OSError, host: str, port: int) -> ClusterKitError:
    if error.errno == errno.EADDRINUSE:
        other = port + 1000 if port < 60_000 else port - 1000
        return ClusterKitError(
            f"port {port} on {host} is busy: stop what listens there, or choose another port, "
            f"for example PORT={other} make up"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return SettingsError(f"HOST: expected an address of this machine (got {host!r})")
    if error.errno == errno.EACCES:
        return SettingsError(f"PORT: expected a port this user may listen on, 1024 or above (got {port})")
    return ClusterKitError(f"port {port} on {host} cannot be used: {error.strerror}")
