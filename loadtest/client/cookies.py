"""A client's cookies: names and values, as a load balancer needs them to know its client again.

Every cookie goes with every request: domain and path are not looked at, an expiry only as far as it deletes.
"""

import re

SET_COOKIE = re.compile(rb"\r\nset-cookie:[ \t]*([^=;\r\n]+)=([^;\r\n]*)([^\r\n]*)", re.IGNORECASE)
DELETED = re.compile(rb";[ \t]*(?:max-age=[ \t]*(?:0|-\d+)[ \t]*(?:;|$)|expires=[^;]*\b19\d\d\b)", re.IGNORECASE)


class CookieJar:
    """`header`: the line to send, with its line end, or nothing."""

    __slots__ = ("_values", "header")

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] | None = None
        self.header = ""

    def read(self, head: bytes) -> None:
        """Takes the cookies that a response's head sets, and drops those it deletes."""
        for name, value, attributes in SET_COOKIE.findall(head):
            values = self._values = self._values or {}
            if DELETED.search(attributes):
                values.pop(name.strip(), None)
            else:
                values[name.strip()] = value.strip()
            pairs = b"; ".join(name + b"=" + value for name, value in values.items())
            self.header = f"Cookie: {pairs.decode('latin-1')}\r\n" if pairs else ""


class NoCookies(CookieJar):
    """Keeps none."""

    __slots__ = ()

    def read(self, head: bytes) -> None:
        """Looks away."""
