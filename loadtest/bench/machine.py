"""What a result depends on and a reader wants to know: versions and the machine, without its name or paths."""

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from .contenders import NODE_FOLDER, Contender, find_node

PYTHON_PACKAGES = (
    *("python-socketio", "python-engineio", "uvicorn", "uvloop", "httptools", "websockets"),
    *("redis", "hiredis", "orjson"),
)
NODE_PACKAGES = ("socket.io", "engine.io", "ws", "@socket.io/redis-adapter", "redis")
ASK_LIMIT_S = 10.0


def versions(contenders: Sequence[Contender], redis_program: str) -> list[str]:
    """`name version` for everything that takes part."""
    found = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PYTHON_PACKAGES)]
    redis = _said([redis_program, "--version"])
    found.append("Redis " + next((word[2:] for word in redis.split() if word.startswith("v=")), redis))
    if any(each.name == "node" for each in contenders):
        found.append(f"Node {_said([find_node(), '--version']).removeprefix('v')}")
        found += [f"{name} {_node_version(name)} (npm)" for name in NODE_PACKAGES]
    return found


def description() -> str:
    """Cores, CPU, memory and kernel in one line."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} cores, {_cpu_model()}, {memory_gb:.0f} GB, {platform.system()} {_kernel()}"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _kernel() -> str:
    return platform.release().partition("-")[0]


def _node_version(name: str) -> str:
    return str(json.loads((NODE_FOLDER / "node_modules" / name / "package.json").read_text())["version"])


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=ASK_LIMIT_S, check=False).stdout.strip()
