"""JSON over HTTP: health, and what the cluster looks like from any of its nodes."""

import time
from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ..cluster.cluster import Cluster
from ..errors import StoreUnavailable
from ..wire import RoomId
from .security import require_token

PAGE_MAX = 1_000
# The home page asks for the rooms every few seconds, from every visitor; one answer serves them all.
ROOMS_CACHE_S = 1.0
ROOMS_SHOWN = 100

Endpoint = Callable[[Request], Awaitable[JSONResponse]]


class Api:
    """The endpoints. `admin_token` guards `/api/*` where it is not empty."""

    def __init__(self, cluster: Cluster, admin_token: str) -> None:
        self._cluster = cluster
        self._check_token = require_token(admin_token)
        self._shown: tuple[float, JSONResponse] | None = None

    def routes(self) -> list[Route]:
        """The routes, for Starlette."""
        return [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/rooms.json", self._answering(self.shown_rooms)),
            Route("/api/nodes", self._guarded(self.nodes)),
            Route("/api/rooms", self._guarded(self.rooms)),
            Route("/api/rooms/{room:path}", self._guarded(self.room)),
        ]

    async def healthz(self, request: Request) -> JSONResponse:
        """Alive: the process answers."""
        return JSONResponse({"status": "ok", "node_id": self._cluster.node.node_id})

    async def readyz(self, request: Request) -> JSONResponse:
        """200 where a canary has come back through Redis of late, else 503 and the reason."""
        readiness = self._cluster.readiness()
        age_s = readiness.canary_age_s
        body = {
            "ready": readiness.ready,
            "reason": readiness.reason,
            "node_id": self._cluster.node.node_id,
            "canary_age_s": round(age_s, 3) if age_s < float("inf") else None,
        }
        return JSONResponse(body, 200 if readiness.ready else 503)

    async def shown_rooms(self, request: Request) -> JSONResponse:
        """The largest chat rooms, for the home page."""
        if self._shown is None or time.monotonic() - self._shown[0] > ROOMS_CACHE_S:
            rooms = await self._cluster.roster.rooms("/")
            largest = [{"room": room.name, "members": count} for room, count in rooms.items()][:ROOMS_SHOWN]
            body = {"rooms": largest, "truncated": len(rooms) > ROOMS_SHOWN}
            self._shown = (time.monotonic(), JSONResponse(body, headers={"Cache-Control": "no-store"}))
        return self._shown[1]

    async def nodes(self, request: Request) -> JSONResponse:
        """All nodes in the registry."""
        registry = self._cluster.nodes
        nodes = [
            {
                "node_id": record.node_id,
                "url": record.url,
                "started_at": record.started_at,
                "connections": record.connections,
                "draining": record.draining,
                "alive": registry.is_alive(record),
                "this": record.node_id == self._cluster.node.node_id,
            }
            for record in await registry.all()
        ]
        return JSONResponse({"nodes": nodes})

    async def rooms(self, request: Request) -> JSONResponse:
        """The rooms of all namespaces that have members, largest first, a page at a time."""
        offset, limit = _page(request)
        rooms = list((await self._cluster.roster.rooms()).items())
        page = [
            {"namespace": room.namespace, "room": room.name, "members": count}
            for room, count in rooms[offset : offset + limit]
        ]
        return JSONResponse({"rooms": page, "total": len(rooms)})

    async def room(self, request: Request) -> JSONResponse:
        """The members of a room, in order of entering, a page at a time; 404 where there is none."""
        offset, limit = _page(request)
        room = RoomId(request.query_params.get("namespace", "/"), request.path_params["room"])
        members = await self._cluster.roster.members(room)
        if not members:
            raise HTTPException(404, f"no room {room.name!r} in {room.namespace} has members")
        page = [
            {"nickname": member.nickname, "node_id": member.node_id, "entered": member.entered}
            for member in members[offset : offset + limit]
        ]
        body = {"namespace": room.namespace, "room": room.name, "total": len(members), "members": page}
        return JSONResponse(body)

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> JSONResponse:
            self._check_token(request)
            return await endpoint(request)

        return self._answering(guarded)

    @staticmethod
    def _answering(endpoint: Endpoint) -> Endpoint:
        async def answering(request: Request) -> JSONResponse:
            try:
                return await endpoint(request)
            except StoreUnavailable as error:
                raise HTTPException(503, str(error)) from None

        return answering


def _page(request: Request) -> tuple[int, int]:
    try:
        offset = int(request.query_params.get("offset", 0))
        limit = int(request.query_params.get("limit", PAGE_MAX))
    except ValueError:
        raise HTTPException(400, "offset and limit must be whole numbers") from None
    if offset < 0 or not 1 <= limit <= PAGE_MAX:
        raise HTTPException(400, f"offset must be 0 or more, limit 1 to {PAGE_MAX}")
    return offset, limit
