"""Commands as bytes: the same as hiredis' own packing, whatever they were put together from."""

import hiredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.store.resp import Arg, Packed, pack, pack_begin, pack_one

light = settings(max_examples=60, deadline=None, database=None, derandomize=True)
ARGS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.binary(max_size=20)
    | st.integers(-(2**63), 2**63 - 1),
    max_size=6,
)


@light
@given(ARGS, ARGS)
def test_a_command_in_parts_is_the_command(first: list[Arg], rest: list[Arg]) -> None:
    whole = ("EVALSHA", *first, *rest)
    parts = pack_begin(len(whole), "EVALSHA", *first) + pack(rest).data
    assert parts == hiredis.pack_command(whole)


@light
@given(ARGS)
def test_packed_arguments_know_how_many_they_are(args: list[Arg]) -> None:
    assert pack(args) == Packed(len(args), b"".join(pack_one(arg) for arg in args))


@pytest.mark.parametrize(
    ("arg", "packed"),
    [
        ("", b"$0\r\n\r\n"),
        ("김", b"$3\r\n\xea\xb9\x80\r\n"),
        (b"\r\n", b"$2\r\n\r\n\r\n"),
        (-12, b"$3\r\n-12\r\n"),
    ],
)
def test_an_argument_is_its_length_and_its_bytes(arg: Arg, packed: bytes) -> None:
    assert pack_one(arg) == packed


@pytest.mark.parametrize("wrong", [None, 1.5, ["x"], bytearray(b"x")])
def test_what_cannot_be_an_argument_is_an_error(wrong: Arg) -> None:
    with pytest.raises(TypeError, match=type(wrong).__name__):
        pack(("x", wrong))


def test_lone_surrogates_are_an_error() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        pack_one("\ud800")
