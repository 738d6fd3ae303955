"""Asks a running cluster over HTTP, for the commands that show something of it.

What the answers hold is `app.web`'s to say.
"""

import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from ..errors import ClusterKitError
from ..settings import Settings, load_settings
from .ports import url_of

ANSWER_LIMIT_S = 10.0
# Nodes are asked directly: a proxy of the environment would not know 127.0.0.1.
_opener = build_opener(ProxyHandler({}))


def ask(url: str, path: str, part: str) -> dict[str, Any]:
    """The JSON at `path` of the node at `url`, or of HOST:PORT where `url` is empty; `part` is in it.

    Sends ADMIN_TOKEN where it is set. Raises ClusterKitError if there is no cluster, or it refuses.
    """
    settings = load_settings()
    base = (url or url_of(settings.host, settings.port)).rstrip("/")
    try:
        with _opener.open(_request(base + path, settings), timeout=ANSWER_LIMIT_S) as answer:
            found = json.load(answer)
    except HTTPError as error:
        raise ClusterKitError(_refusal(base, path, error.code)) from None
    except (URLError, OSError, HTTPException) as error:
        raise ClusterKitError(f"no cluster answers at {base}: {_reason(error)}; `make up` starts one") from None
    except ValueError:
        found = None
    if not isinstance(found, dict) or part not in found:
        raise ClusterKitError(f"{base}{path} answered something else than {part}; is it a cluster?")
    return found


def _request(url: str, settings: Settings) -> Request:
    headers = {"Authorization": f"Bearer {settings.admin_token}"} if settings.admin_token else {}
    try:
        return Request(url, headers=headers)
    except ValueError:
        raise ClusterKitError(f"--url: expected a URL like http://127.0.0.1:8080 (got {url!r})") from None


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)  # urllib wraps what the socket raised
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _refusal(base: str, path: str, code: int) -> str:
    if code == 401:
        return f"{base} refused: set ADMIN_TOKEN to the token its nodes were started with"
    return f"{base}{path} answered {code}"
