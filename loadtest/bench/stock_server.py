"""The stock contender: python-socketio's AsyncServer with AsyncRedisManager under uvicorn, and the same chat.

PORT, REDIS_URL and KEY_PREFIX come from the environment. Configured as its documentation would have it for
speed: WebSocket only, uvloop, httptools, orjson, no compression, no logging. No rosters, no announcements and
no validation, which is less than the kit does.
"""

import os
from typing import Any

import orjson
import socketio
import uvicorn


class Json:
    """orjson with the two functions python-socketio calls."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """Compact JSON."""
        return orjson.dumps(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: Any) -> Any:
        """The value of a JSON text."""
        return orjson.loads(text)


manager = socketio.AsyncRedisManager(os.environ["REDIS_URL"], channel=os.environ["KEY_PREFIX"])
server = socketio.AsyncServer(
    async_mode="asgi",
    client_manager=manager,
    transports=["websocket"],
    json=Json,
    logger=False,
    engineio_logger=False,
    namespaces=["/", "/echo"],
)
seats: dict[str, tuple[str, str]] = {}  # sid -> room, nickname


async def _ignore(*_: Any) -> None:
    pass


async def _disconnect(sid: str, reason: str) -> None:
    seats.pop(sid, None)


async def _joinroom(sid: str, fields: dict[str, str]) -> dict[str, bool]:
    seats[sid] = fields["room"], fields["nickname"]
    await server.enter_room(sid, fields["room"])
    return {"ok": True}


async def _send_msg(sid: str, fields: dict[str, str]) -> dict[str, bool]:
    room, nickname = seats[sid]
    said = {"msg": f"{nickname} : {fields['msg']}", "type": "message", "nickname": nickname, "to": fields["to"]}
    await server.emit("broadcast_msg", said, room=room)
    return {"ok": True}


async def _connect_echo(sid: str, environ: dict[str, Any]) -> None:
    await server.emit("toclient", {"msg": "Welcome !"}, to=sid, namespace="/echo")


async def _fromclient(sid: str, fields: dict[str, str]) -> dict[str, bool]:
    await server.emit("toclient", {"msg": fields["msg"]}, namespace="/echo")
    return {"ok": True}


server.on("connect", _ignore)
server.on("disconnect", _disconnect)
server.on("joinroom", _joinroom)
server.on("send_msg", _send_msg)
server.on("connect", _connect_echo, namespace="/echo")
server.on("fromclient", _fromclient, namespace="/echo")


async def ready(scope: Any, receive: Any, send: Any) -> None:
    """Answers 200 to everything that is not Socket.IO's, and accepts the lifespan."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ready"})


if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(server, ready),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",  # faster here than `websockets` and `wsproto`
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        ws_ping_timeout=None,
        log_level="critical",
        access_log=False,
    )
