"""The environs that python-socketio takes for dictionaries, and that connections keep."""

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from app.hub.environs import Environ, Environs

REQUEST = {"REQUEST_METHOD": "GET", "HTTP_HOST": "a.example"}


class Connection:
    """One that makes its environ anew each time, and counts."""

    def __init__(self) -> None:
        self.made = 0

    @property
    def environ(self) -> dict[str, Any]:
        """The request."""
        self.made += 1
        return dict(REQUEST)


@pytest.fixture
def connections() -> dict[str, Connection]:
    return {"a": Connection(), "b": Connection()}


@pytest.fixture
def environs(connections: dict[str, Connection]) -> Environs:
    return Environs(connections)


def test_an_environ_is_there_as_long_as_its_connection(
    connections: dict[str, Connection], environs: Environs
) -> None:
    assert environs["a"] == REQUEST
    assert environs.get("a") == REQUEST
    assert "a" in environs
    del connections["a"]
    assert "a" not in environs
    assert environs.get("a") is None
    with pytest.raises(KeyError):
        environs["a"]
    assert list(environs) == ["b"]
    assert len(environs) == 1


def test_setting_and_deleting_change_nothing(connections: dict[str, Connection], environs: Environs) -> None:
    environs["c"] = {}
    assert "c" not in environs
    del environs["a"]
    del environs["nobody"]  # python-socketio does it when a connection ends, whoever said so first
    assert "a" in environs
    assert set(connections) == {"a", "b"}


def test_what_is_written_into_an_environ_stays_in_that_one_only(environs: Environs) -> None:
    environ = environs["a"]
    environ["mine"] = 1
    assert environ == REQUEST | {"mine": 1}
    assert "mine" not in environs["a"]


def test_an_environ_is_made_when_it_is_looked_into_and_once(
    connections: dict[str, Connection], environs: Environs
) -> None:
    environ = environs["a"]
    assert isinstance(environ, dict)
    assert connections["a"].made == 0
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ.get("HTTP_HOST") == "a.example"
    assert connections["a"].made == 1


def test_an_environ_that_is_cleared_stays_empty(environs: Environs) -> None:
    environ = environs["a"]
    environ.clear()
    assert environ == {}


WAYS: dict[str, Any] = {
    "a copy": dict,
    "a copy of its own": lambda environ: environ.copy(),
    "copy.copy": lambda environ: dict(copy.copy(environ)),
    "in a display": lambda environ: {**environ},
    "as arguments": lambda environ: dict(**environ),
    "in a union": lambda environ: environ | {"x": 1},
    "in a union from the right": lambda environ: {"x": 1} | environ,
    "its items": lambda environ: list(environ.items()),
    "its names": list,
    "its names, reversed": lambda environ: list(reversed(environ)),
    "sorted": sorted,
    "its length": len,
    "whether it is empty": bool,
    "a name in it": lambda environ: "HTTP_HOST" in environ,
    "as a text": str,
    "in a format": lambda environ: "{HTTP_HOST}".format_map(environ),
    "taken out": lambda environ: environ.pop("HTTP_HOST"),
    "a default": lambda environ: environ.setdefault("HTTP_HOST", "x"),
    "compared": lambda environ: environ == REQUEST,
    "compared from the right": lambda environ: operator.eq(REQUEST, environ),
    "compared with another": lambda environ: environ == Environ(lambda: REQUEST),
    "pickled": lambda environ: pickle.loads(pickle.dumps(environ)),
}


@pytest.mark.parametrize("look", WAYS.values(), ids=WAYS)
def test_an_environ_cannot_be_told_from_a_dictionary(look: Callable[[Any], Any]) -> None:
    assert look(Environ(lambda: dict(REQUEST))) == look(dict(REQUEST))
