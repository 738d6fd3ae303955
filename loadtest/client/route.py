"""How one client reaches its server: address, TLS, cookies, and what all of its requests have in common."""

import ssl
from collections.abc import Mapping, Sequence

from .address import Address, SocketAddress, family_of
from .cookies import CookieJar, NoCookies
from .errors import AddressError
from .http_messages import request_head
from .owner import Owner
from .stream import Stream, Traffic
from .tls import TlsStream, context


class Route:
    """`addresses`: the server's, as last resolved. `cookies`: kept over reconnections, as the traffic is."""

    __slots__ = ("_headers", "_source_ip", "_tls", "address", "addresses", "cookies", "traffic")

    def __init__(
        self,
        address: Address,
        *,
        tls: bool | ssl.SSLContext,
        cookies: bool,
        headers: Mapping[str, str] | None,
        source_ip: str | None,
    ) -> None:
        if source_ip is not None:
            family_of(source_ip)
        self.address = address
        self.addresses: Sequence[SocketAddress] = ()
        self.cookies = CookieJar() if cookies else NoCookies()
        self.traffic = Traffic()
        self._headers = _lines(headers) if headers else ""
        self._source_ip = source_ip
        self._tls = tls

    def resolve(self) -> None:
        """Looks the server's addresses up; blocks the greenlet. Raises Unreachable."""
        self.addresses = self.address.resolve()

    def connect(self, owner: Owner) -> Stream:
        """A new connection to the server, on its way."""
        stream = self._stream(owner)
        stream.open(self.addresses)
        return stream

    def request(self, method: str, transport: str, sid: str | None, *lines: str) -> bytes:
        """The head of a request to the Engine.IO endpoint; `lines` as of `request_head`."""
        target = self.address.target(transport, sid)
        return request_head(method, target, self.address.authority, *lines, self._headers, self.cookies.header)

    def _stream(self, owner: Owner) -> Stream:
        if not self.address.secure:
            return Stream(owner, self.traffic, self._source_ip)
        tls = self._tls if isinstance(self._tls, ssl.SSLContext) else context(verified=self._tls)
        return TlsStream(owner, self.traffic, self._source_ip, tls, self.address.host)


def _lines(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if not name or any(each in "\r\n" for each in name + value) or ":" in name:
            raise AddressError(f"expected a header's name and value on one line, got {name!r}: {value!r}")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())
