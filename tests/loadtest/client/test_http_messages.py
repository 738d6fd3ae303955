"""HTTP answers in pieces of any size, with a length, in chunks, or up to the connection's end."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.client.cookies import CookieJar, NoCookies
from loadtest.client.errors import ProtocolViolation
from loadtest.client.http_messages import Response, ResponseReader


def sized(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  %d\r\nX: y\r\n\r\n" % len(body) + body


def chunked(*parts: bytes) -> bytes:
    chunks = [b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts if part]
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\nT: 1\r\n\r\n"


def read(*chunks: bytes) -> list[Response]:
    reader = ResponseReader()
    return [response for chunk in chunks if (response := reader.feed(chunk))]


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.binary(max_size=60), max_size=4)), min_size=1, max_size=3),
    st.lists(st.integers(0, 5000), max_size=8),
)
def test_answers_are_the_same_however_they_are_cut(
    answers: list[tuple[bool, list[bytes]]], cuts: list[int]
) -> None:
    found = []
    reader = ResponseReader()
    for in_chunks, parts in answers:
        wire = chunked(*parts) if in_chunks else sized(b"".join(parts))
        places = [0, *sorted(cut % len(wire) for cut in cuts), len(wire)]
        pieces = [wire[start:end] for start, end in itertools.pairwise(places) if start < end]
        found += [response.body for piece in pieces if (response := reader.feed(piece))]
    assert found == [b"".join(parts) for _, parts in answers]


@pytest.mark.parametrize("wire", [sized(b"hello"), chunked(b"he", b"llo")])
def test_an_answer_is_found_when_it_comes_byte_by_byte(wire: bytes) -> None:
    assert [each.body for each in read(*(wire[at : at + 1] for at in range(len(wire))))] == [b"hello"]


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.0 404 Not Found\r\n\r\nno su") is None
    assert reader.feed(b"ch thing") is None
    found = reader.end()
    assert found is not None and (found.status, found.body, found.keeps) == (404, b"no such thing", False)


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
def test_the_server_says_whether_the_connection_can_be_used_again(head: bytes, keeps: bool) -> None:
    assert [each.keeps for each in read(head)] == [keeps]


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"x" * 70_000,
        sized(b"hello") + b"more",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
    ],
)
def test_what_is_no_answer_is_a_violation(wire: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="expected"):
        read(wire)


def test_cookies_are_kept_changed_and_deleted() -> None:
    jar = CookieJar()
    jar.read(b"HTTP/1.1 200 OK\r\nSet-Cookie: node=a; Path=/; HttpOnly\r\nset-cookie:  io = x=1 \r\nX: y\r\n\r\n")
    assert jar.header == "Cookie: node=a; io=x=1\r\n"
    jar.read(b"HTTP/1.1 200 OK\r\nSET-COOKIE: node=b\r\n\r\n")
    assert jar.header == "Cookie: node=b; io=x=1\r\n"
    jar.read(b"HTTP/1.1 200 OK\r\nSet-Cookie: node=; Max-Age=0\r\n\r\n")
    jar.read(b"HTTP/1.1 200 OK\r\nSet-Cookie: io=; Expires=Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n")
    assert jar.header == ""


def test_no_cookies_are_kept_where_none_are_wanted() -> None:
    jar = NoCookies()
    jar.read(b"HTTP/1.1 200 OK\r\nSet-Cookie: node=a\r\n\r\n")
    assert jar.header == ""
