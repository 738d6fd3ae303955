"""Who may use what: origins, the admin token, and the headers that every answer carries."""

import hmac
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"[A-Za-z0-9.\-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")


def origin_check(allowed: Sequence[str]) -> Callable[[str | None, dict[str, Any]], bool]:
    """For python-engineio: whether a browser page of this origin may connect.

    The page's own host always may, whatever the scheme (a balancer may end TLS); others as `allowed` says.
    """

    def may_connect(origin: str | None, environ: dict[str, Any]) -> bool:
        if origin is None or "*" in allowed or origin in allowed:
            return True
        host: str = environ.get("HTTP_HOST", "")
        return host != "" and _host_of(origin) == host.lower()

    return may_connect


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def require_token(token: str) -> Callable[[Request], None]:
    """A check that raises 401 where a request lacks `Authorization: Bearer <token>`; none where token is ""."""

    def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if token and (scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), token.encode())):
            raise HTTPException(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})

    return check


class SecurityHeaders:
    """ASGI middleware: no guessing of types, and for pages no script, style or frame but our own."""

    def __init__(self, app: ASGIApp, *, pages: bool = True) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Adds the headers to every answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if self._pages:
                    headers["Content-Security-Policy"] = _policy(Request(scope).headers.get("host", ""))
                    headers["Referrer-Policy"] = "no-referrer"
                    headers["Cross-Origin-Opener-Policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, with_headers)


def _policy(host: str) -> str:
    # 'self' does not cover WebSockets in every browser (Safari before 15.4), so the host is named, too.
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{sockets}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
