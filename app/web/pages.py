"""The pages, the files they load, and the stock browser client."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

HERE = Path(__file__).parent
PAGES = HERE / "pages"
STATIC = HERE / "static"
# Fetched from npm at set-up, not committed.
CLIENT = HERE / "client"
CLIENT_FILES = frozenset(
    name + ending
    for name in ("socket.io.js", "socket.io.min.js", "socket.io.esm.min.js")
    for ending in ("", ".map")
)
FRESH = {"Cache-Control": "no-cache"}  # asked for again each time, answered with 304 where unchanged


def routes() -> list[BaseRoute]:
    """The routes, for Starlette; the last one takes every other path for a room's name."""
    return [
        Route("/", _page("index")),
        Route("/lobby", _page("lobby")),
        Route("/echo", _page("echo")),
        Route("/favicon.ico", _icon),
        Mount("/static", _Static(directory=STATIC)),
        Route("/socket.io/{file:path}", client_file),
        Route("/{room:path}", _room),
    ]


async def client_file(request: Request) -> Response:
    """`/socket.io/socket.io.js` and its kin, as the Node.js server serves them."""
    file = request.path_params["file"]
    if file not in CLIENT_FILES:
        raise HTTPException(404, "there is no such file")
    path = CLIENT / file
    if not path.is_file():
        raise HTTPException(503, "the browser client was not fetched; `make up` or `make test` does it")
    media_type = "application/json" if file.endswith(".map") else "text/javascript"
    return FileResponse(path, headers=FRESH, media_type=media_type)


async def not_found(request: Request, error: Exception) -> Response:
    """Errors as text for people, as JSON for programs."""
    assert isinstance(error, HTTPException)
    if request.url.path.startswith(("/api/", "/rooms.json")):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def page(request: Request) -> Response:
        return FileResponse(PAGES / f"{name}.html", headers=FRESH)

    return page


async def _icon(request: Request) -> Response:
    return FileResponse(STATIC / "icon.svg", headers=FRESH)


async def _room(request: Request) -> Response:
    room = request.path_params["room"]
    if room.split("/")[0] in ("api", "static"):
        raise HTTPException(404, "there is nothing here")
    return FileResponse(PAGES / "room.html", headers=FRESH)


class _Static(StaticFiles):
    def file_response(self, *args: object, **kwargs: object) -> Response:
        """As Starlette's, asked for again each time."""
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(FRESH)
        return response
