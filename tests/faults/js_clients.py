"""The stock JavaScript clients of a run: one Node process (clients.mjs), whose reports go into the histories.

The process makes the clients, sends and keeps nothing; this tells it what to do, and reads what happened.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from app.node import NODE_ID_CHARS
from tests.support.machine import find_node, find_node_modules

from .record import Acked, Connected, ConnectFailed, Disconnected, GivenUp, History, Received, Sent, Vanished

DRIVER = Path(__file__).with_name("clients.mjs")
END_WITHIN_S = 5.0
LINE_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """How clients send: one message each interval, resent where no answer comes in time, no more than so many
    without one."""

    interval_s: float = 0.6
    ack_timeout_s: float = 4.0
    retries: int = 50
    unanswered_max: int = 5


class JsClients:
    """The process: `async with JsClients(url, pace, histories, transports) as js`. The clients connect at once.

    `transports`: the client's option by client name, for those that do not use WebSocket alone.
    """

    def __init__(
        self, url: str, pace: Pace, histories: list[History], transports: Mapping[str, list[str]]
    ) -> None:
        self._histories = {history.name: history for history in histories}
        self._options = json.dumps(
            {
                "url": url,
                "retries": pace.retries,
                "ackTimeoutMs": round(pace.ack_timeout_s * 1000),
                "intervalMs": round(pace.interval_s * 1000),
                "unansweredMax": pace.unanswered_max,
                "clients": [
                    {
                        "name": history.name,
                        "room": history.room,
                        "nickname": history.nickname,
                        "transports": transports.get(history.name, ["websocket"]),
                    }
                    for history in histories
                ],
            }
        )
        self._reports = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(str(find_node()), str(DRIVER), str(find_node_modules()), self._options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_MAX_BYTES,
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None and self._process.stdin is not None and self._reading is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), END_WITHIN_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    # Telling

    def send(self) -> None:
        """All begin to send."""
        self._tell("send")

    def stop(self) -> None:
        """None sends anything new; what is unanswered is still waited for."""
        self._tell("stop")

    def cut(self, name: str) -> None:
        """Breaks one client's connection; it comes back by itself."""
        self._tell("cut", name)

    def vanish(self, name: str, *, now: bool) -> None:
        """One client goes for good: now, or when its connection ends by itself. `Vanished` tells when it did."""
        self._histories[name].doomed = True
        self._tell("vanish", name, now)

    def _tell(self, *command: Any) -> None:
        assert self._process is not None and self._process.stdin is not None
        assert self._process.returncode is None, "the Node process of the clients has ended"
        self._process.stdin.write(orjson.dumps(command) + b"\n")

    # Reading

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            number, at_s, name, kind, *fields = orjson.loads(line)
            assert number == self._reports, f"report {number} came where {self._reports} was expected"
            self._reports += 1
            self._keep(self._histories[name], at_s, kind, fields)

    def _keep(self, history: History, at_s: float, kind: str, fields: list[Any]) -> None:
        match kind, fields:
            case "received", [message_id, offset]:
                history.add(Received(at_s, message_id, offset if offset is None else str(offset)))
            case "sent", [message_id]:
                history.add(Sent(at_s, message_id))
            case "acked", [message_id, error]:
                history.add(Acked(at_s, message_id, error))
            case "gave_up", [message_id, why]:
                history.add(GivenUp(at_s, message_id, why))
            case "userlist", [users]:
                history.users = users
            case "named", [nickname]:
                history.nickname = nickname
            case "connected", [sid, recovered, pid, engine_sid]:
                history.add(Connected(at_s, sid, recovered, pid, node_of(engine_sid)))
            case "disconnected", [reason]:
                history.add(Disconnected(at_s, reason))
            case "failed", [message, code]:
                history.add(ConnectFailed(at_s, message, code))
            case "vanished", []:
                history.add(Vanished(at_s))
            case _:
                raise AssertionError(f"the Node process reports {kind!r} with {fields!r}")


def node_of(engine_sid: str) -> str:
    """The id of the node that an Engine.IO session is on, with which its id begins."""
    return engine_sid[:NODE_ID_CHARS]
