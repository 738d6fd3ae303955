"""The WSGI environs that python-socketio asks for, kept by the connections themselves.

python-socketio keeps a dictionary of them. A connection of ours keeps its request instead, a tenth of the
size, and the environ is made of that when a handler looks into it. So what is written into one does not stay,
except where the session began by long-polling.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any


class Environ(dict[str, Any]):
    """An environ that is made when something of it is asked for; most connect handlers ask for nothing.

    Code in C that reads a dictionary without asking it, as `json.dumps` does, needs `dict(environ)`.
    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self._make: Callable[[], dict[str, Any]] | None = make

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self),)

    def _made(self) -> dict[str, Any]:
        """This dictionary, filled."""
        make, self._make = self._make, None
        if make is not None:
            super().update(make())
        return self


def _filled_first(name: str) -> Any:
    method = getattr(dict, name)

    def call(self: Environ, *args: Any, **kwargs: Any) -> Any:
        args = tuple(arg._made() if isinstance(arg, Environ) else arg for arg in args)
        return method(self._made(), *args, **kwargs)

    call.__name__, call.__doc__ = name, method.__doc__
    return call


# All of dict's that look at the content; what copies a dict in C does so by `keys` where `__iter__` is not dict's.
_METHODS = (
    *("__getitem__", "__setitem__", "__delitem__", "__contains__", "__iter__", "__len__", "__eq__", "__ne__"),
    *("__or__", "__ror__", "__ior__", "__repr__", "__reversed__"),
    *("get", "keys", "values", "items", "copy", "pop", "popitem", "setdefault", "update", "clear"),
)
for _name in _METHODS:
    setattr(Environ, _name, _filled_first(_name))


class Environs(MutableMapping[str, dict[str, Any]]):
    """eio_sid -> environ. Setting and deleting do nothing: an environ goes with its connection."""

    def __init__(self, connections: Mapping[str, Any]) -> None:
        self._connections = connections

    def __getitem__(self, eio_sid: str) -> dict[str, Any]:
        connection = self._connections[eio_sid]
        return Environ(lambda: connection.environ)

    def __contains__(self, eio_sid: object) -> bool:
        return eio_sid in self._connections

    def __setitem__(self, eio_sid: str, environ: dict[str, Any]) -> None:
        pass

    def __delitem__(self, eio_sid: str) -> None:
        pass

    def __iter__(self) -> Iterator[str]:
        return iter(self._connections)

    def __len__(self) -> int:
        return len(self._connections)
