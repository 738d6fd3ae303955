"""A Socket.IO v5 client of ours that does what the stock JavaScript one does: recovery and retries.

Recovery: it keeps the `pid` of CONNECT's answer and the offset of each event (a string behind the other
arguments), sends both when it connects again, and was recovered if the answer has the same pid. Events that
come ahead of the answer are kept and handled after it. Retries: one message at a time, under the same id until
it is acknowledged. A client that does not ask for recovery is somebody new with each connection: it retries on
the same one only, and what was not acknowledged when that ended has an unknown outcome.

What it sees goes into its history, and nowhere else. The bytes are `connection.py`'s.
"""

import asyncio
import contextlib
import random
import time
from typing import Any

import aiohttp
import orjson

from .connection import Answered, Connection, ConnectionEnded, Goodbye, Heard, Packet, Refusal, Welcome
from .js_clients import Pace, node_of
from .record import Acked, Connected, ConnectFailed, Disconnected, GivenUp, History, Received, Sent

# As the JavaScript ones: doubled with each failure up to a limit, and of that half to one and a half.
RECONNECT_DELAY_S = 0.2
RECONNECT_DELAY_MAX_S = 1.0
DOUBLED_MAX = 3
# Somebody else has the nickname until the server has seen that the client's last connection is gone.
REFUSED_PAUSE_S = 0.5
JITTER = 0.3


class RecoveringClient:
    """One client: `run()` until cancelled. It sends from `send()` to `stop()`."""

    def __init__(self, http: aiohttp.ClientSession, url: str, pace: Pace, history: History) -> None:
        self.history = history
        self._http = http
        self._url = url
        self._pace = pace
        self._connection: Connection | None = None
        self._online = asyncio.Event()
        self._sending = asyncio.Event()
        self._pid: str | None = None
        self._offset: str | None = None
        self._early: list[list[Any]] = []  # events that came ahead of CONNECT's answer
        self._answers: dict[int, asyncio.Future[list[Any]]] = {}  # number of a packet -> its acknowledgement
        self._packets = 0
        self._messages = 0

    async def run(self) -> None:
        """Connects, comes back whenever the connection ends, and sends when it may."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stay_connected())
            tasks.create_task(self._keep_sending())

    def send(self) -> None:
        """It begins to send."""
        self._sending.set()

    def stop(self) -> None:
        """It sends nothing new; what is unanswered is still waited for."""
        self._sending.clear()

    def cut(self) -> None:
        """Breaks its connection; it comes back by itself."""
        if self._connection is not None:
            self._connection.cut()

    # --- connecting ----------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            why = await self._connect_once()
            failures = 0 if self.history.online else failures + 1
            kind = Disconnected if self.history.online else ConnectFailed
            if why:
                self.history.add(kind(time.monotonic(), why))
            delay_s = min(RECONNECT_DELAY_S * 2 ** min(failures, DOUBLED_MAX), RECONNECT_DELAY_MAX_S)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.5) if why else REFUSED_PAUSE_S)

    async def _connect_once(self) -> str:
        """One connection from its beginning to its end: why it ended, empty where the server refused it."""
        try:
            connection = self._connection = await Connection.open(self._http, self._url)
        except ConnectionEnded as ended:
            return str(ended)
        try:
            await connection.send(f"0{orjson.dumps(self._auth()).decode()}")
            while True:
                packet = await connection.receive()
                if isinstance(packet, Refusal):
                    self._refused(packet)
                    return ""
                self._handle(connection, packet)
        except ConnectionEnded as ended:
            return str(ended)
        finally:
            self._offline()
            await connection.close()

    def _auth(self) -> dict[str, Any]:
        auth: dict[str, Any] = {"room": self.history.room, "nickname": self.history.name}
        if self.history.recovers:
            auth["recover"] = True
        if self._pid is not None:
            auth["pid"] = self._pid
            if self._offset is not None:
                auth["offset"] = self._offset
        return auth

    def _refused(self, refusal: Refusal) -> None:
        message, data = refusal.data.get("message", ""), refusal.data.get("data")
        code = data.get("code", "") if isinstance(data, dict) else ""
        self.history.add(ConnectFailed(time.monotonic(), message, code))

    def _offline(self) -> None:
        self._connection = None
        self._online.clear()
        self._early.clear()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionEnded("disconnected before the acknowledgement"))
        self._answers.clear()

    # --- receiving -----------------------------------------------------------------------------------------

    def _handle(self, connection: Connection, packet: Packet) -> None:
        match packet:
            case Welcome(data):
                self._welcomed(connection, data)
            case Heard(args):
                if self._online.is_set():
                    self._heard(args)
                else:
                    self._early.append(args)
            case Answered(number, args):
                answer = self._answers.pop(number, None)
                if answer is not None and not answer.done():
                    answer.set_result(args)
            case Goodbye():
                raise ConnectionEnded("io server disconnect")

    def _welcomed(self, connection: Connection, data: dict[str, Any]) -> None:
        pid = data.get("pid")
        recovered = pid is not None and pid == self._pid
        self._pid = pid
        self._online.set()
        self.history.add(
            Connected(time.monotonic(), data["sid"], recovered, pid is not None, node_of(connection.engine_sid))
        )
        early, self._early = self._early, []
        for args in early:
            self._heard(args)

    def _heard(self, args: list[Any]) -> None:
        offset = args[2] if len(args) > 2 else None
        match args:
            case ["broadcast_msg", {"type": "message", "id": message_id}, *_]:
                self.history.add(Received(time.monotonic(), message_id, None if offset is None else str(offset)))
            case ["userlist", {"users": users}, *_]:
                self.history.users = users
            case ["changename", {"nickname": nickname}, *_]:
                self.history.nickname = nickname
        if self._pid is not None and isinstance(args[-1], str):
            self._offset = args[-1]

    # --- sending -------------------------------------------------------------------------------------------

    async def _keep_sending(self) -> None:
        while True:
            await self._sending.wait()
            await asyncio.sleep(self._pace.interval_s * random.uniform(1 - JITTER, 1 + JITTER))
            if self._sending.is_set():
                await self._send_message()

    async def _send_message(self) -> None:
        """The next message, until its outcome is known, or cannot be."""
        message_id = f"{self.history.name}:{self._messages}"
        self._messages += 1
        if not self.history.recovers:
            await self._online.wait()
        connection, why = self._connection, ""
        self.history.add(Sent(time.monotonic(), message_id))
        for _ in range(self._pace.retries + 1):
            if not self.history.recovers and self._connection is not connection:
                break
            try:
                answer = await self._call("send_msg", {"to": "ALL", "msg": message_id, "id": message_id})
            except (ConnectionEnded, TimeoutError) as ended:
                why = repr(ended)
            else:
                error = "" if answer.get("ok") else answer.get("error", {}).get("code", repr(answer))
                self.history.add(Acked(time.monotonic(), message_id, error))
                return
        self.history.add(GivenUp(time.monotonic(), message_id, why))

    async def _call(self, event: str, data: dict[str, Any]) -> dict[str, Any]:
        """Sends an event as soon as it is connected, and returns its acknowledgement.

        Raises TimeoutError where none comes in time, ConnectionEnded.
        """
        await self._online.wait()
        connection, number = self._connection, self._packets
        assert connection is not None
        self._packets += 1
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            # Where it cannot be sent the reader is about to see why, and ends the waiting.
            with contextlib.suppress(ConnectionEnded):
                await connection.send(f"2{number}{orjson.dumps([event, data]).decode()}")
            async with asyncio.timeout(self._pace.ack_timeout_s):
                (value,) = await answer
            assert isinstance(value, dict), value
            return value
        finally:
            self._answers.pop(number, None)
