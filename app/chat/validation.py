"""What clients may send, field by field. Every function returns the clean value or raises Refused."""

import unicodedata
from collections.abc import Mapping
from typing import Any

from ..errors import Refused

NAME_CHARS_MAX = 64
MESSAGE_CHARS_MAX = 4_000
ID_CHARS_MAX = 64
EVERYBODY = "ALL"  # as a recipient, everybody; so nobody may be called that
# Paths of pages and endpoints; "." and ".." are what browsers take out of a path.
RESERVED_ROOMS = frozenset(
    {"lobby", "echo", "api", "static", "socket.io", "healthz", "readyz", "metrics", "rooms.json"}
    | {"favicon.ico", "robots.txt", ".", ".."}
)
# Control characters, surrogates, line and paragraph separators.
FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Letters and symbols by category that show nothing: Hangul fillers, the blank Braille pattern.
BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
# They change the direction of what follows, so one name can look like another (UTR 36, 3.1.3).
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def fields_of(args: list[Any]) -> Mapping[str, Any]:
    """The one JSON object that an event carries."""
    if len(args) != 1 or not isinstance(args[0], dict):
        raise Refused("expected one JSON object", code="bad_request")
    return args[0]


def nickname_in(fields: Mapping[str, Any]) -> str:
    """`nickname`: 1 to 64 characters after NFKC and trimming, but not `ALL`."""
    nickname = _name(fields, "nickname")
    if "".join(char for char in nickname if unicodedata.category(char) != "Cf") == EVERYBODY:
        raise Refused(f"nobody can be called {EVERYBODY}", code="bad_nickname")
    return nickname


def optional_nickname_in(fields: Mapping[str, Any]) -> str | None:
    """As `nickname_in`; None where there is none or an empty one."""
    return None if fields.get("nickname") in (None, "") else nickname_in(fields)


def room_in(fields: Mapping[str, Any]) -> str:
    """`room`: 1 to 64 characters after NFKC and trimming, but not the path of a page or an endpoint."""
    room = _name(fields, "room")
    first, *inner = room.split("/")
    if first in RESERVED_ROOMS or not {".", ".."}.isdisjoint(inner):
        raise Refused(f"no room can be called {room!r}", code="bad_room")
    return room


def recipient_in(fields: Mapping[str, Any]) -> str:
    """`to`: `ALL` or a nickname."""
    return _name(fields, "to")


def message_in(fields: Mapping[str, Any]) -> str:
    """`msg`: 1 to 4,000 characters, not all blank, as it was sent."""
    message = fields.get("msg")
    if not isinstance(message, str):
        raise Refused("`msg` must be a text", code="bad_msg")
    if not message.strip():
        raise Refused("`msg` is empty", code="bad_msg")
    if len(message) > MESSAGE_CHARS_MAX:
        raise Refused(f"`msg` has {len(message)} characters, {MESSAGE_CHARS_MAX} are allowed", code="bad_msg")
    return message


def optional_id_in(fields: Mapping[str, Any]) -> str | None:
    """`id`: the sender's own mark on a message, 1 to 64 characters."""
    mark = fields.get("id")
    if mark is None:
        return None
    if not isinstance(mark, str) or not 1 <= len(mark) <= ID_CHARS_MAX:
        raise Refused(f"`id` must be a text of 1 to {ID_CHARS_MAX} characters", code="bad_id")
    return mark


def _name(fields: Mapping[str, Any], field: str) -> str:
    value = fields.get(field)
    code = f"bad_{field}"
    if not isinstance(value, str):
        raise Refused(f"`{field}` must be a text", code=code)
    if len(value) > NAME_CHARS_MAX * 4:  # NFKC may lengthen or shorten; this is no name either way
        raise Refused(f"`{field}` has more than {NAME_CHARS_MAX} characters", code=code)
    name = unicodedata.normalize("NFKC", value).strip()
    if not 1 <= len(name) <= NAME_CHARS_MAX:
        raise Refused(f"`{field}` must have 1 to {NAME_CHARS_MAX} characters, not {len(name)}", code=code)
    if any(char in BIDI_CONTROLS or unicodedata.category(char) in FORBIDDEN_CATEGORIES for char in name):
        raise Refused(f"`{field}` has control characters", code=code)
    if all(char in BLANKS or unicodedata.category(char) in ("Cf", "Zs", "Mn") for char in name):
        raise Refused(f"`{field}` has nothing that can be seen", code=code)
    return name
