"""The environs that python-socketio takes for a dictionary, and that connections keep."""

from typing import Any

import pytest

from app.hub.environs import Environs


class Connection:
    """One that makes its environ anew each time."""

    @property
    def environ(self) -> dict[str, Any]:
        """The request."""
        return {"REQUEST_METHOD": "GET"}


@pytest.fixture
def connections() -> dict[str, Connection]:
    return {"a": Connection(), "b": Connection()}


@pytest.fixture
def environs(connections: dict[str, Connection]) -> Environs:
    return Environs(connections)


def test_an_environ_is_there_as_long_as_its_connection(
    connections: dict[str, Connection], environs: Environs
) -> None:
    assert environs["a"] == environs.get("a") == {"REQUEST_METHOD": "GET"}
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
    assert "a" in environs
    assert set(connections) == {"a", "b"}


def test_what_is_written_into_an_environ_does_not_stay(environs: Environs) -> None:
    environs["a"]["mine"] = 1
    assert "mine" not in environs["a"]


def test_deleting_what_is_not_there_is_fine(environs: Environs) -> None:
    """python-socketio does it when a connection ends, which may be the second to say so."""
    del environs["nobody"]
