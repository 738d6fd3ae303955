"""URLs, and names that many clients ask for at once."""

import gevent
import pytest

from loadtest.client import hub
from loadtest.client.address import parse
from loadtest.client.errors import Unreachable


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "authority"),
    [
        ("http://a.example", False, "a.example", 80, "a.example"),
        ("ws://127.0.0.1:8000/", False, "127.0.0.1", 8000, "127.0.0.1:8000"),
        ("https://a.example:443", True, "a.example", 443, "a.example"),
        ("wss://[::1]:8443", True, "::1", 8443, "[::1]:8443"),
    ],
)
def test_a_url_is_taken_apart(url: str, secure: bool, host: str, port: int, authority: str) -> None:
    found = parse(url)
    assert (found.secure, found.host, found.port, found.authority) == (secure, host, port, authority)


def test_the_target_names_transport_session_and_what_the_url_asks() -> None:
    assert parse("http://a?x=1", "/io/").target("polling", "s") == "/io/?EIO=4&transport=polling&sid=s&x=1"
    assert parse("http://a").target("websocket", None) == "/socket.io/?EIO=4&transport=websocket"


def test_a_name_that_many_ask_for_at_once_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def addresses(host: str, port: int) -> list[tuple[object, ...]]:
        asked.append(host)
        gevent.sleep(0.05)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(hub, "addresses", addresses)
    address = parse("http://asked-by-many.example:1")
    found = [gevent.spawn(address.resolve) for _ in range(50)]
    gevent.joinall(found)
    assert {tuple(each.get()) for each in found} == {((2, ("127.0.0.1", 1)),)}
    assert asked == ["asked-by-many.example"]


def test_a_name_that_was_not_found_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def addresses(host: str, port: int) -> list[tuple[object, ...]]:
        asked.append(host)
        gevent.sleep(0.01)
        raise OSError("no such name")

    monkeypatch.setattr(hub, "addresses", addresses)
    address = parse("http://never-there.example:1")
    for _ in range(2):
        with pytest.raises(Unreachable, match=r"never-there\.example"):
            address.resolve()
    assert len(asked) == 2
