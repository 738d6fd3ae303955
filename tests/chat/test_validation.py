"""What clients may send, field by field."""

from typing import Any

import pytest

from app.chat.validation import (
    MESSAGE_CHARS_MAX,
    NAME_CHARS_MAX,
    RESERVED_ROOMS,
    fields_of,
    message_in,
    nickname_in,
    optional_id_in,
    optional_nickname_in,
    recipient_in,
    room_in,
)
from app.errors import Refused

NAMES = {"nickname": nickname_in, "room": room_in, "to": recipient_in}
NOT_TEXTS = [None, 0, 1.5, True, [], {}, ["name"], {"name": "a"}, b"name"]

each_name = pytest.mark.parametrize("field", NAMES)


def refusal(field: str, value: Any) -> str:
    """The code with which a value of a name is refused."""
    with pytest.raises(Refused) as caught:
        NAMES[field]({field: value})
    assert str(caught.value), "a refusal says why"
    return caught.value.code


# --- names: nickname, room, to --------------------------------------------------------------------------------


@each_name
@pytest.mark.parametrize("length", [1, 2, 63, 64])
def test_a_name_has_1_to_64_characters(field: str, length: int) -> None:
    assert NAME_CHARS_MAX == 64
    for char in ("a", "한", "😀"):
        assert NAMES[field]({field: char * length}) == char * length


@each_name
@pytest.mark.parametrize("length", [0, 65, 256, 257, 100_000])
def test_a_name_of_another_length_is_refused(field: str, length: int) -> None:
    assert refusal(field, "a" * length) == f"bad_{field}"


@each_name
def test_a_name_is_trimmed_before_it_is_counted(field: str) -> None:
    assert NAMES[field]({field: " \t\n" + "a" * 64 + "\u3000\u00a0\r\n"}) == "a" * 64
    assert NAMES[field]({field: "  a b  "}) == "a b"


@each_name
@pytest.mark.parametrize("blank", [" ", "   ", "\t", "\n", "\u3000", "\u00a0", "\u2028"])
def test_a_blank_name_is_refused(field: str, blank: str) -> None:
    assert refusal(field, blank) == f"bad_{field}"


@each_name
def test_a_name_is_normalised_by_nfkc(field: str) -> None:
    assert NAMES[field]({field: "\u1112\u1161\u11ab"}) == "한"  # jamo become a syllable
    assert NAMES[field]({field: "ｆｕｌｌ"}) == "full"
    assert NAMES[field]({field: "①"}) == "1"


@each_name
def test_a_name_is_counted_after_nfkc(field: str) -> None:
    assert NAMES[field]({field: "\u1112\u1161\u11ab" * 64}) == "한" * 64  # 192 before
    assert refusal(field, "\ufdfa" * 4) == f"bad_{field}"  # each becomes 18
    assert len(NAMES[field]({field: "\ufdfa" * 3})) == 54


@each_name
@pytest.mark.parametrize("value", NOT_TEXTS, ids=repr)
def test_a_name_that_is_no_text_is_refused(field: str, value: Any) -> None:
    assert refusal(field, value) == f"bad_{field}"


@each_name
def test_a_name_that_is_missing_is_refused(field: str) -> None:
    with pytest.raises(Refused) as caught:
        NAMES[field]({})
    assert caught.value.code == f"bad_{field}"


@each_name
@pytest.mark.parametrize(
    "char", ["\0", "\x01", "\x1b", "\x7f", "\x85", "\x9f", "\n", "\r", "\t", "\x1e"], ids=repr
)
def test_control_characters_in_a_name_are_refused(field: str, char: str) -> None:
    assert refusal(field, f"a{char}b") == f"bad_{field}"


@each_name
@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\ud800", "\udfff"], ids=ascii)
def test_line_separators_and_lone_surrogates_in_a_name_are_refused(field: str, char: str) -> None:
    assert refusal(field, f"a{char}b") == f"bad_{field}"


@each_name
@pytest.mark.parametrize(
    "char", [*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"], ids=ascii
)
def test_bidi_controls_in_a_name_are_refused(field: str, char: str) -> None:
    assert refusal(field, f"a{char}b") == f"bad_{field}"
    assert refusal(field, f"{char}a") == f"bad_{field}"


@each_name
@pytest.mark.parametrize(
    "name", ["\u200b", "\u200d\u200c", "\ufeff", "\u2060", "\u00ad", "\u0301", "\ufe0f\u200b"], ids=ascii
)
def test_a_name_of_invisible_characters_only_is_refused(field: str, name: str) -> None:
    assert refusal(field, name) == f"bad_{field}"


@each_name
@pytest.mark.parametrize(
    "name", ["👩‍👩‍👧", "न्‍", "می‌خواهم", "é", "e\u0301", "a-b_c.d:e/f?g#h%20", "<img src=x onerror=1>", "{msg}"]
)
def test_what_people_write_is_a_name(field: str, name: str) -> None:
    assert NAMES[field]({field: name})


# Chosen, not derived: Hangul fillers have the category of letters, the Braille blank that of symbols.
@pytest.mark.parametrize("name", ["\u3164", "\uffa0", "\u115f", "\u2800"], ids=ascii)
def test_a_nickname_that_shows_nothing_is_refused_whatever_its_category(name: str) -> None:
    assert refusal("nickname", name) == "bad_nickname"


# --- reserved names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nickname", ["ALL", " ALL ", "ＡＬＬ", "\u3000ＡＬＬ\n"])
def test_nobody_is_called_all(nickname: str) -> None:
    assert refusal("nickname", nickname) == "bad_nickname"


@pytest.mark.parametrize("nickname", ["All", "all", "ALLE", "A LL"])
def test_all_is_reserved_as_it_is_written(nickname: str) -> None:
    assert nickname_in({"nickname": nickname}) == nickname


@pytest.mark.parametrize("nickname", ["ALL\u200b", "A\u2060LL", "\ufeffALL"], ids=ascii)
def test_nobody_is_called_what_looks_like_all(nickname: str) -> None:
    assert refusal("nickname", nickname) == "bad_nickname"


def test_all_is_a_recipient_however_wide() -> None:
    assert recipient_in({"to": "ALL"}) == "ALL"
    assert recipient_in({"to": "ＡＬＬ"}) == "ALL"


@pytest.mark.parametrize("room", sorted(RESERVED_ROOMS))
def test_a_room_is_not_called_like_a_page(room: str) -> None:
    assert refusal("room", room) == "bad_room"
    assert refusal("room", f" {room} ") == "bad_room"


@pytest.mark.parametrize("room", ["api/x", "lobby/", "a/../b", "a/."])
def test_no_room_is_below_a_reserved_path_or_hides_from_its_own(room: str) -> None:
    assert refusal("room", room) == "bad_room"
    assert nickname_in({"nickname": room}) == room


@pytest.mark.parametrize("room", ["ｌｏｂｂｙ", "ａｐｉ", "．．", "\u2025", "\u2024"])
def test_a_room_is_not_called_like_a_page_in_wide_letters(room: str) -> None:
    assert refusal("room", room) == "bad_room"


def test_the_pages_and_endpoints_of_the_contract_are_reserved() -> None:
    assert {"lobby", "echo", "api", "socket.io", "healthz", "readyz", ".", ".."} <= RESERVED_ROOMS


@pytest.mark.parametrize("room", ["ALL", "Lobby", "lobby2", "a/api", "room1"])
def test_other_rooms_may_be_called_anything(room: str) -> None:
    assert room_in({"room": room}) == room


@pytest.mark.parametrize("fields", [{}, {"nickname": None}, {"nickname": ""}])
def test_an_optional_nickname_may_be_missing(fields: dict[str, Any]) -> None:
    assert optional_nickname_in(fields) is None


@pytest.mark.parametrize("nickname", [0, False, [], {}, " ", "ALL", "a" * 65])
def test_an_optional_nickname_that_is_there_is_a_good_one(nickname: Any) -> None:
    with pytest.raises(Refused) as caught:
        optional_nickname_in({"nickname": nickname})
    assert caught.value.code == "bad_nickname"


# --- messages, ids and the object itself -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "message", ["a", "한" * MESSAGE_CHARS_MAX, "😀" * 4_000, " a ", "a\nb\t\u202e", "\ufeff.", "＜"]
)
def test_a_message_of_1_to_4000_characters_is_kept_as_it_is(message: str) -> None:
    assert MESSAGE_CHARS_MAX == 4_000
    assert message_in({"msg": message}) == message


@pytest.mark.parametrize(
    "message", ["a" * 4_001, "", " ", "\n\t\u3000", *NOT_TEXTS], ids=lambda value: ascii(value)[:20]
)
def test_any_other_message_is_refused(message: Any) -> None:
    with pytest.raises(Refused) as caught:
        message_in({"msg": message})
    assert caught.value.code == "bad_msg"


def test_a_message_that_is_missing_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        message_in({"message": "hello"})
    assert caught.value.code == "bad_msg"


@pytest.mark.parametrize("mark", ["1", "x" * 64, " ", "ｘ"])
def test_an_id_of_1_to_64_characters_is_kept_as_it_is(mark: str) -> None:
    assert optional_id_in({"id": mark}) == mark


@pytest.mark.parametrize("fields", [{}, {"id": None}])
def test_an_id_may_be_missing(fields: dict[str, Any]) -> None:
    assert optional_id_in(fields) is None


@pytest.mark.parametrize("mark", ["", "x" * 65, 0, 7, False, [], {}, b"1"], ids=repr)
def test_any_other_id_is_refused(mark: Any) -> None:
    with pytest.raises(Refused) as caught:
        optional_id_in({"id": mark})
    assert caught.value.code == "bad_id"


def test_an_event_carries_one_object() -> None:
    assert fields_of([{"room": "a"}]) == {"room": "a"}
    assert fields_of([{}]) == {}


@pytest.mark.parametrize("args", [[], [{}, {}], [[]], ["a"], [None], [1], [True], [b"a"], [[{}]]], ids=repr)
def test_an_event_that_carries_anything_else_is_refused(args: list[Any]) -> None:
    with pytest.raises(Refused) as caught:
        fields_of(args)
    assert caught.value.code == "bad_request"
