"""Stock JavaScript socket.io-client instances, driven from Python tests through one Node process.

`JsClients` is the process, `JsClient` one socket in it. js_client.mjs runs the clients and reports
everything they see, in order; here it is kept, waited for and asked about. Nothing of the clients is
changed or imitated: they are what npm delivers.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import orjson

from .machine import find_node, find_node_modules
from .tagged_bytes import tagged, untagged

DRIVER = Path(__file__).with_suffix(".mjs")

END_WITHIN_S = 5.0

# One line is a batch of up to 500 reports, each as large as the server's largest message.
LINE_MAX_BYTES = 512 * 1024 * 1024

Args = tuple[Any, ...]
T = TypeVar("T")


class JsError(AssertionError):
    """A JavaScript client was refused, told of an error, or closed while it was waited for."""

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class JsClient:
    """One stock client: what it has seen, and what it is told to do. Made by `JsClients.open`.

    `events` are (name, args) in the order of arrival; args are what a handler got, without the
    acknowledgement callback. `disconnects` are reasons, `errors` the (message, data) of connect_error.
    """

    def __init__(self, clients: "JsClients", number: int) -> None:
        self.number = number
        self.events: list[tuple[str, Args]] = []
        self.disconnects: list[str] = []
        self.errors: list[tuple[str, Any]] = []
        self.connects = 0
        self.connected = False
        self.sid: str | None = None
        self.recovered = False
        self.transport: str | None = None
        self._clients = clients
        self._seen = asyncio.Event()
        self._closed = False

    @property
    def reconnects(self) -> int:
        """How often it connected again after the first time."""
        return max(0, self.connects - 1)

    def args_of(self, event: str) -> list[Args]:
        """The arguments of every `event` so far, in order."""
        return [args for name, args in self.events if name == event]

    # Sending

    async def emit(self, event: str, *args: Any, within_s: float = 10.0, timeout_ms: int | None = None) -> Any:
        """Emit and return the acknowledgement: None, its one value, or a tuple of several.

        `timeout_ms` uses the client's own `.timeout()`. Raises JsError if the client reports an error,
        TimeoutError if nothing came `within_s` seconds (a client without time limits forgets its
        acknowledgements on disconnect).
        """
        ref, (answer,) = self._clients.expect(1)
        self._tell("emit", ref=ref, event=event, args=tagged(args), timeout_ms=timeout_ms)
        return await asyncio.wait_for(answer, within_s)

    def send(self, event: str, *args: Any) -> None:
        """Emit without asking for an acknowledgement."""
        self._tell("emit", ref=None, event=event, args=tagged(args))

    def send_many(self, event: str, count: int, *template: Any) -> None:
        """Emit `count` times in one synchronous loop; `{n}` in the template's strings becomes 0, 1, ..."""
        self._tell("emitMany", ref=None, event=event, template=tagged(template), count=count)

    async def emit_many(self, event: str, count: int, *template: Any, within_s: float = 30.0) -> list[Any]:
        """As `send_many`, and return every acknowledgement in the order of the emits."""
        ref, answers = self._clients.expect(count)
        self._tell("emitMany", ref=ref, event=event, template=tagged(template), count=count)
        return await asyncio.wait_for(asyncio.gather(*answers), within_s)

    def reply(self, event: str, *args: Any) -> None:
        """From now on, acknowledge every `event` that asks for it with `args`. By default none is."""
        self._tell("reply", event=event, args=tagged(args))

    # Connecting

    def connect(self) -> None:
        """Connect by hand, as after a disconnect by either side. See `wait_connected`."""
        self._tell("connect")

    def disconnect(self) -> None:
        """Leave the namespace with a goodbye; the client then stays away."""
        self._tell("disconnect")

    def engine_close(self) -> None:
        """Close the Engine.IO connection from the client's side; the client reconnects by itself."""
        self._tell("engineClose")

    def drop(self) -> None:
        """Break the connection without a goodbye, as a dead network does; the client reconnects by itself."""
        self._tell("drop")

    def set_auth(self, auth: Any) -> None:
        """What the next CONNECT carries as auth."""
        self._tell("setAuth", auth=auth)

    async def state(self) -> dict[str, Any]:
        """What the client says of itself now: connected, active, recovered, transport, engine_sid, unsent
        (packets), pid and offset (of connection state recovery)."""
        ref, (answer,) = self._clients.expect(1)
        self._tell("state", ref=ref)
        found: dict[str, Any] = await asyncio.wait_for(answer, END_WITHIN_S)
        return found

    async def close(self) -> None:
        """Disconnect for good and wait until the client has said so. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._tell("close")
        await self.wait_until(lambda: not self.connected)

    # Waiting

    async def wait_for(
        self,
        event: str,
        predicate: Callable[..., Any] | None = None,
        *,
        since: int = 0,
        within_s: float = 5.0,
    ) -> Args:
        """The arguments of the first `event` for which `predicate(*args)` holds, already seen or yet to come.

        `since` leaves out the first so many entries of `events`. Raises TimeoutError, with the last events.
        """
        position = since

        def found() -> tuple[Args] | None:
            nonlocal position
            while position < len(self.events):
                name, args = self.events[position]
                position += 1
                if name == event and (predicate is None or predicate(*args)):
                    return (args,)
            return None

        first = await self.wait_until(found, within_s, what=f"event {event!r}")
        assert first is not None
        return first[0]

    async def wait_connected(self, connects: int = 1, within_s: float = 10.0) -> None:
        """Wait until it is connected, and has been for the `connects`-th time at least."""
        await self.wait_until(
            lambda: self.connected and self.connects >= connects, within_s, what=f"connect {connects}"
        )

    async def wait_until(self, condition: Callable[[], T], within_s: float = 5.0, what: str = "condition") -> T:
        """Wait until `condition()`, asked at every report of this client, is truthy; return its value."""
        try:
            async with asyncio.timeout(within_s):
                while not (value := condition()):
                    self._clients.check_alive()
                    self._seen.clear()
                    await self._seen.wait()
                return value
        except TimeoutError:
            raise TimeoutError(f"no {what} within {within_s} s at {self!r}") from None

    def __repr__(self) -> str:
        """Shows enough to understand a wait that failed."""
        state = f"connected as {self.sid}" if self.connected else "not connected"
        return (
            f"<JsClient {self.number} {state} over {self.transport}, connects={self.connects}, "
            f"disconnects={self.disconnects}, errors={self.errors}, "
            f"{len(self.events)} events, last {self.events[-3:]}>"
        )

    # Inside

    def _tell(self, op: str, **fields: Any) -> None:
        self._clients.tell(op, self.number, **fields)

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._seen.set()

    def on_connect(self, sid: str, recovered: bool, transport: str) -> None:
        self.connects += 1
        self.connected, self.sid, self.recovered, self.transport = True, sid, recovered, transport

    def on_transport(self, name: str) -> None:
        self.transport = name

    def on_disconnect(self, reason: str) -> None:
        self.connected, self.sid = False, None
        self.disconnects.append(reason)

    def on_connect_error(self, message: str, data: Any) -> None:
        self.errors.append((message, data))

    def on_event(self, name: str, args: list[Any]) -> None:
        self.events.append((name, tuple(untagged(args))))


class JsClients:
    """The Node process that hosts the clients: `async with JsClients() as js: c = await js.open(url)`.

    Ends the process when the block ends, and then raises RuntimeError if the driver could not do something
    it was told to. A test that dies takes the process with it, since its stdin closes.
    """

    def __init__(self) -> None:
        self.clients: dict[int, JsClient] = {}
        self.faults: list[str] = []
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._next_ref = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._ending = False

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(str(find_node()), str(DRIVER), str(find_node_modules())),
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
        self._ending = True
        assert self._process is not None and self._process.stdin is not None and self._reading is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), END_WITHIN_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading
        if self.faults and kind is None:
            raise RuntimeError("the JavaScript driver failed:\n" + "\n".join(self.faults))

    async def open(
        self,
        url: str,
        namespace: str = "/",
        *,
        wait: bool = True,
        within_s: float = 10.0,
        replies: dict[str, Iterable[Any]] | None = None,
        **options: Any,
    ) -> JsClient:
        """A new client on a connection of its own, connected to `namespace`.

        `options` are socket.io-client's (transports, auth, path, query, retries, ackTimeout, reconnection,
        ...); `replies` maps events to the arguments they are acknowledged with. Raises JsError when the
        connection is refused; with `wait=False` returns at once, and `client.errors` tells.
        """
        client = JsClient(self, len(self.clients))
        self.clients[client.number] = client
        answers = {event: tagged(tuple(args)) for event, args in (replies or {}).items()}
        self.tell("open", client.number, url=url, namespace=namespace, options=tagged(options), replies=answers)
        if wait:
            await client.wait_until(lambda: client.connected or client.errors, within_s, what="connection")
            if not client.connected:
                raise JsError(*client.errors[-1])
        return client

    async def open_many(self, count: int, url: str, namespace: str = "/", **options: Any) -> list[JsClient]:
        """`count` clients like `open` makes, connecting side by side."""
        return await asyncio.gather(*(self.open(url, namespace, **options) for _ in range(count)))

    # For JsClient

    def tell(self, op: str, number: int, **fields: Any) -> None:
        """Send one command to the driver."""
        self.check_alive()
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(orjson.dumps({"op": op, "id": number, **fields}) + b"\n")

    def expect(self, count: int) -> tuple[int, list[asyncio.Future[Any]]]:
        """Reserve `count` references in a row: the first, and the futures of their answers."""
        first, self._next_ref = self._next_ref, self._next_ref + count
        futures = [asyncio.get_running_loop().create_future() for _ in range(count)]
        self._answers.update(enumerate(futures, first))
        return first, futures

    def check_alive(self) -> None:
        """Raise RuntimeError if the Node process is gone, or failed at something."""
        if self._reading is None or self._reading.done():
            raise RuntimeError("the Node process of the JavaScript clients has ended")
        if self.faults:
            raise RuntimeError("the JavaScript driver failed:\n" + "\n".join(self.faults))

    # Inside

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                woken = {self._take(*each) for each in orjson.loads(line)}
                for number in woken:
                    self.clients[number].wake()
        finally:
            # Whoever waits learns from check_alive() that nothing more will come.
            asyncio.get_running_loop().call_soon(self._end_waits)

    def _end_waits(self) -> None:
        for client in self.clients.values():
            client.wake()
        for answer in self._answers.values():
            if not answer.done() and not self._ending:
                answer.set_exception(RuntimeError("the Node process of the JavaScript clients has ended"))

    def _take(self, kind: str, number: int, *fields: Any) -> int:
        client = self.clients[number]
        match kind:
            case "event":
                client.on_event(*fields)
            case "ack":
                self._answer(*fields)
            case "connect":
                client.on_connect(*fields)
            case "disconnect":
                client.on_disconnect(*fields)
            case "connect_error":
                client.on_connect_error(*fields)
            case "transport":
                client.on_transport(*fields)
            case "answer":
                self._answer(fields[0], None, [fields[1]])
            case _:
                self.faults.append(f"client {number}: {fields[0]}")
        return number

    def _answer(self, ref: int, error: str | None, args: list[Any]) -> None:
        answer = self._answers.pop(ref)
        with contextlib.suppress(asyncio.InvalidStateError):
            if error is not None:
                answer.set_exception(JsError(error))
            else:
                values = untagged(args)
                answer.set_result(tuple(values) if len(values) > 1 else values[0] if values else None)
