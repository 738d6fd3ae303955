"""Finds the address by which the other nodes reach this one, where PRIVATE_URL does not name it.

Forwarding requests to that address is `app.web`'s work.
"""

import socket
from urllib.parse import urlsplit

from ..errors import SettingsError
from ..settings import Settings
from .ports import WILDCARDS, url_of

REDIS_PORT = 6379


def private_url(settings: Settings, own_port: int | None) -> str:
    """http://host:port of this node alone: HOST, or where that is every address, the one Redis sees.

    Raises SettingsError where it cannot be found, since a wrong one would make nodes forward to themselves.
    """
    port = own_port or settings.port
    if settings.private_url:
        return settings.private_url
    if settings.host not in WILDCARDS:
        return url_of(settings.host, port)
    return url_of(_address_towards(settings.redis_url), port)


def _address_towards(redis_url: str) -> str:
    parts = urlsplit(redis_url)
    first = parts.netloc.rpartition("@")[2].split(",")[0]
    host = urlsplit(f"//{first}").hostname
    if parts.scheme == "unix" or not host:
        return "127.0.0.1"  # Redis is on this machine, so all nodes are
    try:
        return _source_address(host)
    except OSError as error:
        raise SettingsError(
            f"PRIVATE_URL: cannot find the address the other nodes reach this one by ({host}: {error}); "
            "set it, for example PRIVATE_URL=http://10.0.0.5:8081"
        ) from None


def _source_address(host: str) -> str:
    family, kind, _, _, address = socket.getaddrinfo(host, REDIS_PORT, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # a datagram socket sends nothing: the kernel only chooses a route
        return str(probe.getsockname()[0])
