"""The Lua scripts: files of one operation each, run by EVALSHA.

What a script does, takes and returns stands in its header. Loading them again after a NOSCRIPT is up to who
runs them (`cluster.writer`, `Store.run`), since only they know what may be repeated.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

INCLUDE = "-- include: "


@dataclass(frozen=True, slots=True)
class Script:
    """One operation: its file's name without the ending, its text, and what Redis calls it."""

    name: str
    source: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script in `lua/<name>.lua`, with what its first line includes put before it."""
    source = _read(f"{name}.lua")
    first, _, rest = source.partition("\n")
    if first.startswith(INCLUDE):
        source = _read(first.removeprefix(INCLUDE).strip()) + rest
    return Script(name, source, hashlib.sha1(source.encode()).hexdigest())


def all_scripts() -> Iterator[Script]:
    """Every operation there is."""
    for path in sorted(resources.files("app.store").joinpath("lua").iterdir(), key=lambda path: path.name):
        if path.name.endswith(".lua") and not path.name.startswith("_"):
            yield script(path.name.removesuffix(".lua"))


def _read(file: str) -> str:
    return resources.files("app.store").joinpath("lua", file).read_text("utf-8")
