"""A door to a cluster: one address, and behind it the node that the test says.

Clients keep their URL; the test decides where they come back to, when they may, and how their connections end.
"""

import asyncio
import contextlib
from typing import Self
from urllib.parse import urlsplit

CHUNK_BYTES = 1 << 16


class Passage:
    """One client's connection: its own side, and the node's."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near = near
        self.far = far
        self.half_open = False
        self.pumps: list[asyncio.Task[None]] = []

    def end(self) -> None:
        """Breaks what is still open; the node's side stays where only the client's was cut."""
        for pump in self.pumps:
            pump.cancel()
        self.near.transport.abort()
        if not self.half_open:
            self.far.transport.abort()


class Door:
    """`async with Door(node.url) as door:` clients connect to `door.url`."""

    def __init__(self, target_url: str) -> None:
        self._target_url = target_url
        self._shut = False
        self._cuts = 0
        self._passages: set[Passage] = set()
        self._half_open: list[Passage] = []
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Stays the same."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def lead_to(self, target_url: str) -> None:
        """Opens the door for new connections, to this node; those that there are stay where they are."""
        self._target_url = target_url
        self._shut = False

    def shut(self) -> None:
        """Refuses new connections; those that there are stay."""
        self._shut = True

    def cut(self) -> None:
        """Breaks all connections, as a reset does: both sides learn of it."""
        self._cuts += 1
        for passage in list(self._passages):
            passage.end()

    def cut_off(self) -> None:
        """Breaks all connections on the clients' side only; the nodes hear nothing any more, not even an end."""
        self._cuts += 1
        for passage in list(self._passages):
            passage.half_open = True
            self._half_open.append(passage)
            passage.end()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for passage in self._half_open:
            passage.far.transport.abort()
        await asyncio.sleep(0)

    async def _enter(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        target, cuts = urlsplit(self._target_url), self._cuts
        try:
            if self._shut:
                raise ConnectionRefusedError
            far_reader, far = await asyncio.open_connection(target.hostname, target.port)
        except OSError:
            near.transport.abort()
            return
        passage = Passage(near, far)
        if self._cuts != cuts:  # while it was being opened
            passage.end()
            return
        self._passages.add(passage)
        passage.pumps = [asyncio.create_task(_pump(*way)) for way in ((reader, far), (far_reader, near))]
        await asyncio.wait(passage.pumps, return_when=asyncio.FIRST_COMPLETED)
        self._passages.discard(passage)
        if not passage.half_open:  # one side has closed: what came before goes through
            near.close()
            far.close()


async def _pump(source: asyncio.StreamReader, drain: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK_BYTES):
            drain.write(data)
            await drain.drain()
