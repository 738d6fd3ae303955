"""Writing past a transport: everything arrives whole and in order, and nothing is written to another's connection.

On both event loops: uvloop's transports write when a turn of the loop is done, asyncio's at once.
"""

import asyncio
import contextlib
import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, cast

import pytest
import uvloop

from app.transport.direct import NO_FD, DirectWriting
from app.transport.fanout import frame_of
from app.wire import Packet
from tests.support.eventually import eventually

from .members import Node, Room, messages

LIMIT_BYTES = 1_000_000
KERNEL_BYTES = 100_000  # may wait in each of the kernel's buffers, more or less
RESETS = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST
Loop = Callable[[], asyncio.AbstractEventLoop]


class Writer(DirectWriting):
    """The server's side of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.own_fd = NO_FD
        self.inode = 0
        self.paused = False
        self.inode_when_lost: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self.transport = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        self.own_fd = connection.fileno()
        self.inode = os.fstat(self.own_fd).st_ino
        self.begin_writing(LIMIT_BYTES)

    def pause_writing(self) -> None:
        """Too much waits."""
        self.paused = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Looks whether the file descriptor is still this connection's."""
        self.end_writing()
        with contextlib.suppress(OSError):
            self.inode_when_lost = os.fstat(self.own_fd).st_ino


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Writer, socket.socket]]:
    """A writer, and the client that it writes to."""
    loop = asyncio.get_running_loop()
    made: list[Writer] = []
    server = await loop.create_server(lambda: made.append(Writer()) or made[-1], "127.0.0.1", 0)  # type: ignore[func-returns-value]
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    client.connect(server.sockets[0].getsockname())
    client.setblocking(False)
    try:
        await eventually(lambda: made and made[0].transport, 2, every_s=0.001)
        yield made[0], client
    finally:
        client.close()
        made[0].transport.abort()
        server.close()
        await eventually(lambda: made[0].inode_when_lost is not None, 2, every_s=0.001)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Coroutine[Any, Any, None]]], None]:
    """Runs a test on one of the two loops."""

    def on_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=cast(Loop, request.param)) as runner:
            runner.run(test())

    return on_loop


Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


def test_with_nothing_waiting_a_write_has_arrived_before_the_loop_turns(run: Run) -> None:
    async def test() -> None:
        async with connected() as (writer, client):
            writer.write(b"one ")
            writer.write(b"two")
            client.setblocking(True)
            assert client.recv(100) == b"one two"

    run(test)


@pytest.mark.parametrize("pace", ["quickly", "slowly", "in the end"])
def test_everything_arrives_whole_and_in_order_however_the_client_reads(run: Run, pace: str) -> None:
    chance = random.Random(7)
    sizes = [chance.choice([1, 10, 100, 5_000, 60_000]) for _ in range(150 if pace == "in the end" else 1500)]

    async def test() -> None:
        async with connected() as (writer, client):
            written, read = bytearray(), bytearray()

            def receive(at_most: int) -> None:
                with contextlib.suppress(BlockingIOError):
                    read.extend(client.recv(at_most))

            for number, size in enumerate(sizes):
                data = bytes([number % 256]) * size
                written += data
                writer.write(data)
                if pace != "in the end" and number % 3 == 0:
                    receive(1_000_000 if pace == "quickly" else 40_000)
                if number % 7 == 0:
                    await asyncio.sleep(0)
            while len(read) < len(written):
                receive(1_000_000)
                await asyncio.sleep(0)
            assert read == written

    run(test)


def test_a_client_that_does_not_read_is_noticed_at_the_limit(run: Run) -> None:
    async def test() -> None:
        async with connected() as (writer, _):
            for _ in range(1000):  # what the kernel takes comes on top
                if not writer.paused:
                    writer.write(b"x" * 100_000)
            assert writer.paused
            assert LIMIT_BYTES < writer.transport.get_write_buffer_size() < LIMIT_BYTES + 200_000

    run(test)


@pytest.mark.parametrize("end", ["leaves", "resets", "is closed", "is aborted"])
def test_a_file_descriptor_is_its_connection_s_until_that_was_said_to_be_lost(run: Run, end: str) -> None:
    async def test() -> None:
        async with connected() as (writer, client):
            if end == "resets":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
            if end in ("leaves", "resets"):
                client.close()
            for _ in range(3):  # somebody writes meanwhile, and nothing is raised
                if writer.inode_when_lost is None:
                    writer.write(b"x")
                await asyncio.sleep(0)
            if end == "is closed":
                writer.transport.close()
            elif end == "is aborted":
                writer.transport.abort()
            await eventually(lambda: writer.inode_when_lost is not None, 2, every_s=0.001)
            assert writer.inode_when_lost == writer.inode, "it was closed, and may be another's"
            assert (writer.fd, writer.queued) == (NO_FD, True)

    run(test)


def test_behind_the_end_nothing_is_written_by_the_file_descriptor(run: Run) -> None:
    async def test() -> None:
        async with connected() as (writer, client):
            writer.write(b"before ")
            writer.end_writing()
            writer.write(b"behind")
            assert writer.queued
            client.setblocking(True)
            assert client.recv(7) == b"before "
            client.setblocking(False)
            behind = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 100), 2)
            assert behind == b"behind"

    run(test)


def test_a_fan_out_s_flushes_arrive_whole_and_in_order_beside_what_is_written_alone(run: Run) -> None:
    async def test() -> None:
        node, room = Node(send_buffer_bytes=100_000_000), Room()
        async with connected() as (writer, client):
            member = node.member(room)
            connection = node.connections[member.eio_sid]
            connection.transport = writer.transport
            connection.begin_writing(100_000_000)
            read, numbers = bytearray(), range(300)
            for number in numbers:
                text = f"{number}:" + "x" * (60_000 if number % 5 else 10)
                if number < 150 or number % 3:
                    node.fanout.broadcast(room, Packet(text))
                    node.fanout.flush()
                else:
                    node.fanout.write([member], Packet(text))
                if number % 20 == 0:  # the kernel takes more now, and the transport does not know
                    with contextlib.suppress(BlockingIOError):
                        read += client.recv(1_000_000)
                if number % 50 == 0:
                    await asyncio.sleep(0)
            while not read.endswith(frame_of(Packet(text))):
                with contextlib.suppress(BlockingIOError):
                    read += client.recv(1_000_000)
                await asyncio.sleep(0)
            assert [int(str(message).partition(":")[0]) for message in messages(bytes(read))] == list(numbers)
            connection.end_writing()

    run(test)


class Encrypted:
    """A transport over TLS."""

    def __init__(self) -> None:
        self.written = b""

    def get_extra_info(self, name: str) -> object:
        """There is a TLS object, and a socket below."""
        return {"ssl_object": object(), "sslcontext": object(), "socket": socket.socket()}.get(name)

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def write(self, data: bytes) -> None:
        """Notes."""
        self.written += data


def test_over_tls_nothing_is_written_past_the_transport() -> None:
    writer, transport = DirectWriting(), Encrypted()
    writer.transport = cast(asyncio.Transport, transport)
    writer.begin_writing(LIMIT_BYTES)
    writer.write(b"secret")
    assert (writer.fd, writer.queued) == (NO_FD, True)
    assert transport.written == b"secret"
