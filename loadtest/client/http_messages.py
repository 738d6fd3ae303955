"""HTTP/1.1 (RFC 9112) as far as an Engine.IO client needs it: request heads, and responses as they come in."""

import re
from functools import lru_cache
from typing import NamedTuple

from .errors import ProtocolViolation

HEAD_MAX_BYTES = 65536
BODY_MAX_BYTES = 64 << 20
STATUS = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: [^\r\n]*)?\r\n")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*\bchunked[ \t]*\r\n", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection:[^\r\n]*\bclose\b", re.IGNORECASE)
CHUNK_HEAD = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")
CHUNK_HEAD_MAX_BYTES = 1024
SWITCHED = 101
NO_BODY = (SWITCHED, 204, 304)
CHUNKS, UNTIL_END = -1, -2  # in the place of a body's length
SHOWN_BYTES = 200


def request_head(method: str, target: str, authority: str, *lines: str) -> bytes:
    """Up to and with the empty line. `lines`: whole header lines with their ends, or nothing."""
    return f"{method} {target} HTTP/1.1\r\nHost: {authority}\r\n{''.join(lines)}\r\n".encode("latin-1")


class Head(NamedTuple):
    """What a response's head says. `body_bytes`: the body's length, or CHUNKS, or UNTIL_END."""

    status: int
    body_bytes: int
    keeps: bool


# Answers to polls differ by their length and, once a second, by their date.
@lru_cache(maxsize=512)
def parse_head(head: bytes) -> Head:
    """Reads a head, with its empty line. Raises ProtocolViolation."""
    found = STATUS.match(head)
    if found is None:
        raise ProtocolViolation(f"expected an HTTP/1.1 answer, got {head[:SHOWN_BYTES]!r}")
    status, keeps = int(found[2]), found[1] == b"1" and not CLOSE.search(head)
    if status in NO_BODY:
        return Head(status, 0, keeps)
    if CHUNKED.search(head):
        return Head(status, CHUNKS, keeps)
    length = LENGTH.search(head)
    if length is None:
        return Head(status, UNTIL_END, False)
    _check(int(length[1]))
    return Head(status, int(length[1]), keeps)


class Response:
    """A whole answer; behind 101, `body` is what has come already. `keeps`: it can take another request."""

    __slots__ = ("body", "head", "keeps", "status")

    def __init__(self, status: int, head: bytes, body: bytes, *, keeps: bool) -> None:
        self.status = status
        self.head = head
        self.body = body
        self.keeps = keeps

    def __str__(self) -> str:
        shown = self.body[:SHOWN_BYTES].decode("utf-8", "replace")
        return f"HTTP status {self.status}" + (f": {shown!r}" if shown else "")


class ResponseReader:
    """Reads one connection's responses, one at a time."""

    __slots__ = ("_chunks", "_chunks_bytes", "_head", "_pieces", "_pieces_bytes", "_told", "_wanted_bytes")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0
        self._wanted_bytes = 0  # it makes no sense to look before so many are there
        self._head: bytes | None = None  # with the empty line
        self._told = Head(0, 0, False)
        self._chunks: list[bytes] | None = None
        self._chunks_bytes = 0

    def feed(self, data: bytes) -> Response | None:
        """The response, once it is whole. Raises ProtocolViolation, also for what comes behind it unasked."""
        if self._pieces:
            self._pieces.append(data)
            self._pieces_bytes += len(data)
            if self._pieces_bytes < self._wanted_bytes:
                return None
            data = b"".join(self._pieces)
        if self._head is None:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                if len(data) > HEAD_MAX_BYTES:
                    raise ProtocolViolation(f"expected an HTTP head of at most {HEAD_MAX_BYTES} bytes, got more")
                self._wait(data, 0)
                return None
            self._head = data[:end]
            self._told = parse_head(self._head)
            if self._told.body_bytes == CHUNKS:
                self._chunks, self._chunks_bytes = [], 0
            data = data[end:]
        return self._body(data)

    def end(self) -> Response | None:
        """The connection has ended: the response, where that ends it."""
        if self._head is None or self._told.body_bytes != UNTIL_END:
            return None
        return self._done(b"".join(self._pieces), b"")

    def _body(self, data: bytes) -> Response | None:
        size = self._told.body_bytes
        if size == CHUNKS:
            return self._chunked(data)
        if size == UNTIL_END:
            _check(len(data))
            self._wait(data, BODY_MAX_BYTES + 1)
            return None
        if len(data) < size:
            self._wait(data, size)
            return None
        return self._done(data[:size], data[size:])

    def _chunked(self, data: bytes) -> Response | None:
        assert self._chunks is not None
        at = 0
        while True:
            head = CHUNK_HEAD.match(data, at)
            if head is None:
                rest = data[at:]
                if len(rest) > CHUNK_HEAD_MAX_BYTES or (rest and not _may_be_chunk_head(rest)):
                    raise ProtocolViolation(f"expected an HTTP chunk, got {rest[:SHOWN_BYTES]!r}")
                self._wait(rest, 0)
                return None
            size = int(head[1], 16)
            if size == 0:
                return self._trailer(data[at:], head.end() - at)
            _check(size + self._chunks_bytes)
            stop = head.end() + size
            if len(data) < stop + 2:
                self._wait(data[at:], stop + 2 - at)
                return None
            if data[stop : stop + 2] != b"\r\n":
                raise ProtocolViolation(f"expected a chunk's end, got {data[stop : stop + SHOWN_BYTES]!r}")
            self._chunks.append(data[head.end() : stop])
            self._chunks_bytes += size
            at = stop + 2

    def _trailer(self, data: bytes, begin: int) -> Response | None:
        """Behind the last chunk's head: lines that nobody reads, and an empty one."""
        assert self._chunks is not None
        if data.startswith(b"\r\n", begin):
            end = begin + 2
        elif (end := data.find(b"\r\n\r\n", begin) + 4) < 4:
            if len(data) > HEAD_MAX_BYTES:
                raise ProtocolViolation(f"expected a trailer of at most {HEAD_MAX_BYTES} bytes, got more")
            self._wait(data, 0)
            return None
        return self._done(b"".join(self._chunks), data[end:])

    def _wait(self, data: bytes, wanted_bytes: int) -> None:
        self._pieces = [data] if data else []
        self._pieces_bytes, self._wanted_bytes = len(data), wanted_bytes

    def _done(self, body: bytes, rest: bytes) -> Response:
        assert self._head is not None
        head, told = self._head, self._told
        self._head, self._pieces, self._chunks = None, [], None
        if told.status == SWITCHED:
            body = rest
        elif rest:
            raise ProtocolViolation(f"expected nothing behind an HTTP answer, got {rest[:SHOWN_BYTES]!r}")
        return Response(told.status, head, body, keeps=told.keeps)


def _check(body_bytes: int) -> None:
    if body_bytes > BODY_MAX_BYTES:
        raise ProtocolViolation(f"expected an HTTP body of at most {BODY_MAX_BYTES:,} bytes, got {body_bytes:,}")


def _may_be_chunk_head(rest: bytes) -> bool:
    return rest[:1] in b"0123456789abcdefABCDEF"
