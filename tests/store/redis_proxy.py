"""A TCP proxy before Redis, which cuts a connection at a chosen byte: what a network does, on purpose.

Every chunk that a client sends asks `fate` what becomes of it. It runs in the test's own event loop and knows
nothing of Redis' protocol.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Cut:
    """Redis gets and carries out `request_bytes` of the chunk, the client sees `answer_bytes`, then it is cut."""

    request_bytes: int
    answer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Between:
    """Redis gets `request_bytes` of the chunk and answers some of it, then `action` happens, then the rest goes.

    With no bytes at all the chunk is held until `action` has happened.
    """

    request_bytes: int
    action: Callable[[], Awaitable[Any]]


Fate = Cut | Between | None


class RedisProxy:
    """Listens on `url`. `fate` decides over each chunk (None: it passes); `refusing`: new connections end."""

    def __init__(self, redis_port: int) -> None:
        self._redis_port = redis_port
        self._links: set[_Link] = set()
        self.port = 0
        self.fate: Callable[[bytes], Fate] = lambda chunk: None
        self.refusing = False
        self.cuts = 0
        self.held = 0  # chunks whose `Between` has not ended

    @property
    def url(self) -> str:
        """Where a client finds Redis behind this proxy."""
        return f"redis://127.0.0.1:{self.port}/0"

    def once(self, fate: Fate, *, containing: bytes = b"EVALSHA") -> None:
        """The next chunk that contains this meets `fate`; all the others pass."""

        def decide(chunk: bytes) -> Fate:
            if containing not in chunk:
                return None
            self.fate = lambda chunk: None
            return fate

        self.fate = decide

    @property
    def links(self) -> int:
        """Connections that are open."""
        return len(self._links)

    def cut_all(self) -> None:
        """Cuts every connection there is, in both directions."""
        for link in list(self._links):
            link.close()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client; it has gone when this returns."""
        if self.refusing:
            writer.close()
            return
        try:
            redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", self._redis_port)
        except OSError:  # Redis is down
            writer.transport.abort()
            return
        link = _Link(self, reader, writer, redis_reader, redis_writer)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            link.close()


class _Link:
    """A client's connection and the one to Redis behind it."""

    def __init__(
        self,
        proxy: RedisProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        redis_reader: asyncio.StreamReader,
        redis_writer: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._redis_reader, self._redis_writer = redis_reader, redis_writer
        self._answer_bytes_left: int | None = None
        self._answered = asyncio.Event()

    async def run(self) -> None:
        answers = asyncio.ensure_future(self._pass_answers())
        try:
            with contextlib.suppress(OSError):
                while chunk := await self._reader.read(CHUNK_BYTES):
                    match self._proxy.fate(chunk):
                        case Cut() as cut:
                            await self._cut(chunk, cut, answers)
                            return
                        case Between() as between:
                            await self._between(chunk, between)
                        case None:
                            self._redis_writer.write(chunk)
                    await self._redis_writer.drain()
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)

    def close(self) -> None:
        for writer in (self._writer, self._redis_writer):
            writer.transport.abort()

    async def _cut(self, chunk: bytes, cut: Cut, answers: "asyncio.Future[None]") -> None:
        self._proxy.cuts += 1
        self._answer_bytes_left = cut.answer_bytes
        self._redis_writer.write(chunk[: cut.request_bytes])
        self._redis_writer.write_eof()  # Redis carries out what it got, and then sees the end
        await answers
        with contextlib.suppress(OSError):
            await self._writer.drain()
        self._writer.close()  # what it was given of the answers still arrives

    async def _between(self, chunk: bytes, between: Between) -> None:
        self._answered.clear()
        if between.request_bytes:
            self._redis_writer.write(chunk[: between.request_bytes])
            await self._answered.wait()
        self._proxy.held += 1
        await between.action()
        self._proxy.held -= 1
        self._redis_writer.write(chunk[between.request_bytes :])

    async def _pass_answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._redis_reader.read(CHUNK_BYTES):
                self._answered.set()
                if self._answer_bytes_left is not None:
                    data = data[: self._answer_bytes_left]
                    self._answer_bytes_left -= len(data)
                self._writer.write(data)
        if self._answer_bytes_left is None:  # Redis ended it
            self._writer.close()


@contextlib.asynccontextmanager
async def redis_proxy(redis_port: int) -> AsyncIterator[RedisProxy]:
    """A proxy on a free port of 127.0.0.1 while the block runs."""
    proxy = RedisProxy(redis_port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.refusing = True
        while proxy.links:
            proxy.cut_all()
            await asyncio.sleep(0.001)
