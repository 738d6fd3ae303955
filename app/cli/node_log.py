"""A node's log: every line to its file, the serious ones to the terminal as well.

What makes a line serious is `log_format.py`'s to say.
"""

import asyncio
from collections import deque
from pathlib import Path
from typing import BinaryIO

from .log_format import SeriousLines
from .output import printable, say


async def pass_on(stream: asyncio.StreamReader, log: Path, name: str) -> None:
    """Reads a node's output to its end, into `log`, and prints warnings and worse behind `name`."""
    serious = SeriousLines()
    with log.open("ab", buffering=0) as file:
        while line := await _line(stream):
            _write(file, line, name)
            text = line.decode(errors="replace").rstrip("\n")
            if serious.wants(text):
                say(f"{name} | {printable(text)}", "yellow")


def tail(log: Path, lines: int) -> list[str]:
    """The last `lines` lines of a log, none where there is no log."""
    try:
        with log.open(errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, lines)]
    except OSError:
        return []


def _write(file: BinaryIO, line: bytes, name: str) -> None:
    try:
        file.write(line)
    except OSError as error:  # a full disk; reading must go on, or the node stops at a full pipe
        say(f"{name}: its log cannot be written: {error.strerror}", "red")


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError as overrun:
        return await stream.readexactly(overrun.consumed)  # a line longer than the buffer comes in pieces
