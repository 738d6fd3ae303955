"""What the load kit writes into a message is found again, and nothing else is taken for it."""

import orjson
import pytest

from loadtest.message import Message, found_in

MESSAGE = Message(3_000_007, 42, 1_234_567_890)


def packet(kind: str = "message", name: str = "broadcast_msg", **fields: object) -> bytes:
    return b"42" + orjson.dumps([name, {"type": kind, **fields}])


@pytest.mark.parametrize(
    "found",
    [
        packet(msg=f"손님-1 : {MESSAGE.text(200)}"),
        packet("whisper", msg=f"귓속말 :손님-1 : {MESSAGE.text()}"),
        packet("rename", msg="a is now b", nickname=MESSAGE.text(), old="lt1.9.9.9."),
        packet(msg=MESSAGE.text())[:-1] + b',"1234567890123-0"]',
    ],
)
def test_a_message_is_found_whatever_stands_around_it(found: bytes) -> None:
    assert found_in(found) == MESSAGE


@pytest.mark.parametrize(
    "other",
    [
        packet("leave", msg=f"{MESSAGE.text()} has left", nickname=MESSAGE.text()),
        packet("message", "userlist", msg=MESSAGE.text()),
        packet(msg="lt1.x.1.2."),
        packet(msg="lt1.1.2"),
        packet(msg=["lt1.1.2.3."]),
        b"42[]",
        b'42["broadcast_msg"]',
        b'42["broadcast_msg","lt1.1.2.3."]',
        b'42["lt1.',
        b"42lt1.",
    ],
)
def test_what_is_no_message_is_none(other: bytes) -> None:
    assert found_in(other) is None


def test_a_text_has_the_size_that_was_asked_for_and_its_marks_at_least() -> None:
    assert len(MESSAGE.text(500)) == 500
    assert MESSAGE.text(1) == "lt1.3000007.42.1234567890."


def test_ids_are_unique() -> None:
    assert len({Message(s, n, 0).id for s in range(50) for n in range(50)}) == 2_500
