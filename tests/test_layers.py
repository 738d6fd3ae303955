"""The layers of DESIGN.md, and a message's way: both read from the source, so neither is only a promise."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parents[1] / "app"

# Layer -> what it may import from, itself aside. DESIGN.md, "Layers".
BOTTOM = frozenset({"settings", "errors", "wire", "node", "metrics"})
ALLOWED = {
    "wiring": frozenset({"users see", "hub", "cluster", "transport", "store"}) | BOTTOM,
    "users see": frozenset({"hub", "cluster", "transport", "store"}) | BOTTOM,
    "hub": frozenset({"cluster", "transport", "store"}) | BOTTOM,
    "cluster": frozenset({"store"}) | BOTTOM,
    "transport": frozenset({"store"}) | BOTTOM,
    "store": frozenset({"wire", "errors"}),
    # The bottom: what may import what, so that there is no circle.
    "settings": frozenset({"errors"}),
    "node": frozenset({"errors"}),
    "metrics": frozenset({"errors"}),
    "wire": frozenset({"errors"}),
    "errors": frozenset(),
}
LAYER_OF = {
    "main": "wiring",
    "cli": "wiring",
    "worker": "wiring",
    "chat": "users see",
    "web": "users see",
    "hub": "hub",
    "cluster": "cluster",
    "transport": "transport",
    "store": "store",
} | {name: name for name in BOTTOM}
WAY = re.compile(r"A message's way, (\d) of 5")


def module_of(path: Path) -> str:
    """`app/store/keys.py` -> `app.store.keys`; a package is its own name."""
    parts = path.relative_to(APP.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, *, is_package: bool) -> Iterator[str]:
    """The absolute names of everything of `app` that a module imports, wherever in it."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "app")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            path = [*base, *(node.module.split(".") if node.module else [])]
            if path[:1] == ["app"]:
                yield from (".".join([*path, alias.name]) for alias in node.names)


def layer_of(module: str) -> str | None:
    """The layer a module is in; None for `app` itself."""
    name = module.split(".")[1:2]
    return LAYER_OF[name[0]] if name else None


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """One line for each import that goes up or sideways."""
    own = layer_of(module)
    return [
        f"{module} ({own}) imports {target} ({layer_of(target)})"
        for target in imports(source, module, is_package=is_package)
        if own is None or layer_of(target) not in {own, *ALLOWED[own]}
    ]


def modules() -> list[Path]:
    return sorted(APP.rglob("*.py"))


def test_every_module_imports_only_downward() -> None:
    found = [
        line
        for path in modules()
        for line in violations(path.read_text(), module_of(path), is_package=path.name == "__init__.py")
    ]
    assert found == []


def test_every_module_has_a_layer() -> None:
    assert {module_of(path).split(".")[1] for path in modules() if path.parent != APP} <= set(LAYER_OF)
    assert {path.stem for path in APP.glob("*.py")} - {"__init__"} <= set(LAYER_OF)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("app.store.keys", "from ..cluster.writer import Writer"),
        ("app.store.keys", "from ..settings import Settings"),
        ("app.store.keys", "from .. import cluster"),
        ("app.cluster.relay", "from app.transport.fanout import FanOut"),
        ("app.transport.fanout", "from ..cluster.local import LocalSocket"),
        ("app.cluster.relay", "import app.hub.manager"),
        ("app.cluster.relay", "import os, app.hub.manager as manager"),
        ("app.hub.manager", "def f():\n    from ..chat.rooms import RoomChat"),
        ("app.chat.rooms", "class A:\n    def f(self):\n        import app.main"),
        ("app.wire", "from .settings import Settings"),
        ("app.errors", "from . import wire"),
    ],
)
def test_an_import_that_goes_up_is_found(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("app.store.keys", "from ..wire import RoomId"),
        ("app.cluster.relay", "from ..store.keys import Keys\nfrom .local import Cursor\nimport asyncio"),
        ("app.main", "from .chat.rooms import RoomChat\nfrom .cluster.cluster import Cluster"),
        ("app.settings", "from .errors import SettingsError"),
        ("app.hub.manager", "from .. import wire\nfrom redis import app"),
    ],
)
def test_an_import_that_goes_down_is_not_held_against_anyone(module: str, source: str) -> None:
    assert violations(source, module) == []


def test_the_package_itself_imports_nothing() -> None:
    assert len(violations("from .errors import ClusterKitError", "app", is_package=True)) == 1


def test_a_package_resolves_its_relative_imports_from_itself() -> None:
    assert list(imports("from .keys import Keys", "app.store", is_package=True)) == ["app.store.keys.Keys"]
    assert list(imports("from ..wire import RoomId", "app.store", is_package=True)) == ["app.wire.RoomId"]


def way() -> dict[int, Path]:
    """Number -> the module that says it is that part of a message's way."""
    found = [
        (int(number), path)
        for path in modules()
        for number in WAY.findall(ast.get_docstring(ast.parse(path.read_text())) or "")
    ]
    assert len(found) == len(dict(found)), f"one number stands in two modules: {found}"
    return dict(found)


def test_a_messages_way_is_five_modules() -> None:
    assert sorted(way()) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_each_part_of_a_messages_way_names_the_next_ones_file(number: int) -> None:
    parts = way()
    text = " ".join((ast.get_docstring(ast.parse(parts[number].read_text())) or "").split())
    following = parts[number + 1].relative_to(APP).with_suffix("").as_posix()
    names = re.findall(rf"`([\w./]+)`[^`]{{0,3}}{number + 1} of 5", text)
    assert [name.removesuffix(".py").replace(".", "/") for name in names] == [following]
