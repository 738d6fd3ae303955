"""The other end of `ceiling.py`: accepts clients as any Socket.IO server, then writes to all of them all the time.

It knows just enough of the protocols for that. Each round is one chunk of messages for every member, the same
bytes. The next begins when the receiving process says that it has all of this one, so that each read finds just
one chunk, as from a server that coalesces, and not all that a socket's buffer can hold.
"""

import base64
import hashlib
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .frames import FINAL_TEXT, SIZE_IN_2
from .packets import SEPARATOR

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = re.compile(rb"(?i)sec-websocket-key: *([^\r\n]+)")
SID = re.compile(rb"[?&]sid=(\d+)")
OPEN = b'0{"sid":"%d","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
WELCOME = b'40{"sid":"%d"}'
MESSAGE_BYTES = 40
AHEAD_ROUNDS = 1
READ_BYTES = 65536


def message(n: int) -> bytes:
    """What a member of the room chat receives; the text is the load kit's."""
    text = f"lt1.1.{n}.{time.monotonic_ns() // 1000}.".ljust(MESSAGE_BYTES, "x")
    return (
        f'42["broadcast_msg",{{"msg":"guest0001 : {text}","type":"message","nickname":"guest0001","to":"ALL"}},'
        f'"{time.time_ns() // 1000}"]'
    ).encode()


def frame(payload: bytes) -> bytes:
    """A server's text frame of at most 65,535 bytes."""
    size = len(payload)
    if size < SIZE_IN_2:
        return bytes((FINAL_TEXT, size)) + payload
    return bytes((FINAL_TEXT, SIZE_IN_2)) + size.to_bytes(2, "big") + payload


def answer(body: bytes) -> bytes:
    """An HTTP answer."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


@dataclass(slots=True)
class Load:
    """One order of the receiving process. Rounds are numbered from 0; `done` of them were received."""

    members: int
    coalesce: int
    done: int = 0
    chunks: list[bytes] = field(default_factory=list)  # round -> what every member gets

    def chunk(self, number: int, join: Callable[[list[bytes]], bytes]) -> bytes:
        """A round's bytes; `join` makes them of its messages."""
        if number == len(self.chunks):
            first = number * self.coalesce
            self.chunks.append(join([message(n) for n in range(first, first + self.coalesce)]))
        return self.chunks[number]

    def may_write(self, number: int) -> bool:
        """Whether a round's turn has come."""
        return number < self.done + AHEAD_ROUNDS


def serve(listening: socket.socket) -> None:
    """One load, ordered on the first connection: `<members> <coalesce> <transport>`. Ends with it."""
    control, _ = listening.accept()
    with control:
        members, coalesce, transport = control.recv(256).decode().split()
        load = Load(int(members), int(coalesce))
        control.setblocking(False)
        (_polling if transport == "polling" else _websocket)(listening, control, load)


def _websocket(listening: socket.socket, control: socket.socket, load: Load) -> None:
    members = [_upgraded(listening.accept()[0], number) for number in range(load.members)]
    number = 0
    while _hear(control, load):
        if not load.may_write(number):
            _wait_for(control)
            continue
        chunk = load.chunk(number, lambda texts: b"".join(map(frame, texts)))
        for each in members:
            each.sendall(chunk)
        number += 1


def _upgraded(member: socket.socket, number: int) -> socket.socket:
    member.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b""
    while b"\r\n\r\n" not in request:
        request += member.recv(READ_BYTES)
    found = KEY.search(request)
    assert found is not None, request
    accept = base64.b64encode(hashlib.sha1(found[1].strip() + GUID, usedforsecurity=False).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    member.sendall(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + frame(OPEN % number))
    member.recv(READ_BYTES)  # CONNECT
    member.sendall(frame(WELCOME % number))
    return member


def _polling(listening: socket.socket, control: socket.socket, load: Load) -> None:
    """Every connection's requests are answered as they come; a poll waits for its member's next round."""
    selector = selectors.DefaultSelector()
    selector.register(listening, selectors.EVENT_READ)
    selector.register(control, selectors.EVENT_READ)
    next_round = [-1] * load.members  # member -> its next round; -1: CONNECT's answer
    held: list[tuple[socket.socket, int]] = []  # polls of members who are ahead
    opened = 0
    while True:
        for key, _ in selector.select():
            made = key.fileobj
            assert isinstance(made, socket.socket)
            if made is control:
                if not _hear(control, load):
                    return
                for each, member in _taken(held):
                    _answer_poll(each, member, next_round, held, load)
            elif made is listening:
                selector.register(listening.accept()[0], selectors.EVENT_READ)
            elif not (request := made.recv(READ_BYTES)):
                selector.unregister(made)
                made.close()
            elif (found := SID.search(request)) is None:
                made.sendall(answer(OPEN % opened))
                opened += 1
            elif request.startswith(b"POST"):
                made.sendall(answer(b"ok"))
            else:
                _answer_poll(made, int(found[1]), next_round, held, load)


def _answer_poll(
    made: socket.socket, member: int, next_round: list[int], held: list[tuple[socket.socket, int]], load: Load
) -> None:
    number = next_round[member]
    if number < 0:
        made.sendall(answer(WELCOME % member))
    elif load.may_write(number):
        made.sendall(load.chunk(number, lambda texts: answer(SEPARATOR.join(texts))))
    else:
        held.append((made, member))
        return
    next_round[member] += 1


def _taken(held: list[tuple[socket.socket, int]]) -> list[tuple[socket.socket, int]]:
    taken = held.copy()
    held.clear()
    return taken


def _hear(control: socket.socket, load: Load) -> bool:
    """A byte for each round that was received; False at the end."""
    try:
        heard = control.recv(READ_BYTES)
    except BlockingIOError:
        return True
    load.done += len(heard)
    return bool(heard)


def _wait_for(control: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.select()


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as own:
        print(own.getsockname()[1], flush=True)
        try:
            serve(own)
        except (BrokenPipeError, ConnectionResetError):
            sys.exit(0)
