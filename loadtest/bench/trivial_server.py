"""Writes ready-made frames to many connections as fast as the kernel takes them: the load client's ceiling.

It speaks neither HTTP nor WebSocket. The first connection sends `<members> <batch>` and a newline, so many
members connect, and every member is written to in turn until the first connection ends.
"""

import os
import socket

from .client import chat

FRAME = chat.said(0, 0)
BATCHES = {"small": 1, "joined": 64, "large": 1024}  # name -> frames in one write


def serve(listening: socket.socket) -> None:
    """One load after another, until the process is ended."""
    while True:
        control, _ = listening.accept()
        with control:
            count, name, *_ = control.recv(256).decode().split()
            if count == "GET":  # the bench asks whether this is ready
                control.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                continue
            members = [listening.accept()[0] for _ in range(int(count))]
            control.setblocking(False)
            _write(members, control, FRAME * BATCHES[name])
            for each in members:
                each.close()


def _write(members: list[socket.socket], control: socket.socket, batch: bytes) -> None:
    for each in members:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    senders = [each.sendall for each in members]
    try:
        while _goes_on(control):
            for send in senders:
                send(batch)
    except (BrokenPipeError, ConnectionResetError):
        return


def _goes_on(control: socket.socket) -> bool:
    try:
        return bool(control.recv(64))
    except BlockingIOError:
        return True


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=4096) as own:
        serve(own)
