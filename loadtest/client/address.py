"""Where a server is: its URL taken apart, the targets of requests to it, and its IP addresses."""

import socket
import time
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from . import hub
from .errors import AddressError, Unreachable

DEFAULT_PATH = "/socket.io/"
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
SECURE = ("https", "wss")
# A name is looked up once for all clients that connect within this time, not ten thousand times at once.
NAME_KEPT_S = 10.0

SocketAddress = tuple[int, tuple[object, ...]]  # family, what connect() takes

_names: dict[tuple[str, int], tuple[float, hub.Outcome]] = {}  # (host, port) -> asked at, the addresses


@dataclass(frozen=True, slots=True)
class Address:
    """`authority`: the Host header's value; `query`: the URL's own, put behind Engine.IO's parameters."""

    secure: bool
    host: str
    port: int
    authority: str
    path: str
    query: str

    def target(self, transport: str, sid: str | None) -> str:
        """What a request line names: the Engine.IO endpoint, of the session if there is one."""
        session = f"&sid={sid}" if sid is not None else ""
        own = f"&{self.query}" if self.query else ""
        return f"{self.path}?EIO=4&transport={transport}{session}{own}"

    def resolve(self) -> list[SocketAddress]:
        """Its IP addresses, in the resolver's order; blocks the greenlet. Raises Unreachable."""
        key = self.host, self.port
        asked_s, answer = _names.get(key, (0.0, None))
        if answer is None or time.monotonic() - asked_s > NAME_KEPT_S:
            answer = hub.Outcome()
            _names[key] = time.monotonic(), answer
            try:
                answer.tell(_look_up(*key))
            except Unreachable as error:
                del _names[key]
                answer.fail(error)
            except BaseException:  # whoever asked was killed: those who wait for the same must know
                del _names[key]
                answer.fail(Unreachable(f"expected the address of {self.host!r}, the look-up was broken off"))
                raise
        found: list[SocketAddress] = answer.wait(None)
        return found


@lru_cache(maxsize=256)
def parse(url: str, path: str = DEFAULT_PATH) -> Address:
    """Takes a URL apart; the same one gives the same object. Raises AddressError."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise AddressError(f"expected http://host:port, or https, ws, wss, got {url!r}") from None
    if not parts.hostname or parts.path not in ("", "/"):
        raise AddressError(
            f"expected http://host:port without a path, got {url!r}: a namespace and a path are arguments"
        )
    if not url.isascii() or any(each.isspace() for each in url + path):
        raise AddressError(f"expected a URL of ASCII characters without spaces, got {url!r}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authority = host if port == DEFAULT_PORTS[parts.scheme] else f"{host}:{port}"
    return Address(parts.scheme in SECURE, parts.hostname, port, authority, path, parts.query)


def _look_up(host: str, port: int) -> list[SocketAddress]:
    try:
        return [(family, address) for family, _, _, _, address in hub.addresses(host, port)]
    except OSError as error:
        raise Unreachable(f"expected the address of {host!r}, got: {error}") from error


def family_of(ip: str) -> int:
    """AF_INET or AF_INET6. Raises AddressError for what is no IP address."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, ip)
        except OSError:
            continue
        return int(family)
    raise AddressError(f"expected an IP address of this machine, got {ip!r}")
