"""A recovering client by hand: it sends with CONNECT what the test says, and reads no more than it is told to.

It reads the protocol as a stock client does: the pid and the offsets it is given are kept, and presented when it
comes back. That the answer to CONNECT is the first packet is checked every time. Pings are answered while it
reads.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.support.raw_websocket import ANSWER_WITHIN_S, RawWebSocket

# Type, attachments, namespace, acknowledgement's number, arguments.
PACKET = re.compile(r"4([2356])(?:(\d+)-)?(?:(/[^,]*),)?(\d*)(.*)", re.DOTALL)
EVENTS = ("2", "5")


@dataclass(slots=True)
class Visitor:
    """`events`: (name, arguments without the offset), on all connections together. `welcome`: CONNECT's answer.

    `recovered`: by its newest connection, as the stock client decides it.
    """

    auth: dict[str, Any]
    namespace: str = "/"
    pid: str | None = None
    recovered: bool = False
    offset: str | None = None
    welcome: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, list[Any]]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    answers: list[tuple[int, list[Any]]] = field(default_factory=list)
    ws: RawWebSocket | None = None

    @property
    def sid(self) -> str:
        """Of the newest connection."""
        return str(self.welcome["sid"])

    async def come(self, url: str, receive_buffer_bytes: int = 0, **presented: Any) -> None:
        """Connects; `presented` wins over its own pid and offset. Raises AssertionError where it is refused."""
        self.ws = await RawWebSocket.connect(url, receive_buffer_bytes)
        await self.ws.shake_hands()
        await self.ws.open_engine()
        own = {} if self.pid is None else {"pid": self.pid, "offset": self.offset}
        auth = {"recover": True, **self.auth, **own, **presented}
        prefix = "40" if self.namespace == "/" else f"40{self.namespace},"
        await self.ws.say(prefix + orjson.dumps(auth).decode())
        answer = await self._packet()
        assert answer.startswith(f"{prefix}{{"), answer
        self.welcome = orjson.loads(answer.removeprefix(prefix))
        pid = self.welcome.get("pid")
        self.recovered, self.pid = pid is not None and pid == self.pid, pid

    async def read(self, within_s: float = ANSWER_WITHIN_S) -> None:
        """The next packet. Raises Ended, TimeoutError."""
        packet = await self._packet(within_s)
        found = PACKET.fullmatch(packet)
        assert found is not None, f"neither an event nor an acknowledgement: {packet}"
        kind, attachments, _, number, text = found.groups()
        for _ in range(int(attachments or 0)):
            await self._packet(within_s)
        args = orjson.loads(text)
        if kind not in EVENTS:
            self.answers.append((int(number), args))
            return
        if self.pid is not None and isinstance(args[-1], str) and not number:
            self.offset = args.pop()
            self.offsets.append(int(self.offset))
        self.events.append((args[0], args[1:]))

    async def read_until(self, condition: Callable[[], Any], within_s: float = ANSWER_WITHIN_S) -> None:
        """Reads on until the condition holds."""
        while not condition():
            await self.read(within_s)

    async def call(self, event: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Sends an event and returns its acknowledgement."""
        number = len(self.answers) + 1
        await self.send(event, fields, number)
        await self.read_until(lambda: self.answers and self.answers[-1][0] == number)
        answer: dict[str, Any] = self.answers[-1][1][0]
        return answer

    async def send(self, event: str, fields: dict[str, Any], number: int | str = "") -> None:
        """Sends an event."""
        assert self.ws is not None
        prefix = "" if self.namespace == "/" else f"{self.namespace},"
        await self.ws.say(f"42{prefix}{number}{orjson.dumps([event, fields]).decode()}")

    def told(self, event: str = "broadcast_msg") -> list[Any]:
        """The first argument of each such event; texts are shown as such."""
        found = (args[0] for name, args in self.events if name == event)
        return [each["msg"] if event == "broadcast_msg" else each for each in found]

    def cut(self) -> None:
        """Breaks the connection off, unread bytes and all."""
        assert self.ws is not None
        self.ws.reset()

    async def _packet(self, within_s: float = ANSWER_WITHIN_S) -> str:
        assert self.ws is not None
        while (packet := await self.ws.message(within_s)) == "2":
            await self.ws.say("3")
        return packet if isinstance(packet, str) else ""


@contextlib.asynccontextmanager
async def visitor(url: str, namespace: str = "/", **auth: Any) -> AsyncIterator[Visitor]:
    """One that is connected; `auth` is what it always sends."""
    made = Visitor(auth, namespace)
    await made.come(url)
    try:
        yield made
    finally:
        made.cut()
