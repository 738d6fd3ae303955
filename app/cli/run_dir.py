"""Where a cluster on this machine keeps its files: logs, and those of the Redis it started.

One folder for each HOST and PORT, so that two clusters of one checkout do not meet. It starts nothing.
"""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from ..errors import ClusterKitError
from ..settings import Settings, load_settings

SOCKET_PATH_MAX_BYTES = 100  # the kernel allows 107 with the closing zero, macOS 103


class RunDir:
    """The folder of the cluster that `settings` describe, below `base`."""

    def __init__(self, base: Path, settings: Settings) -> None:
        self.path = (base / f"{settings.host}-{settings.port}").absolute()
        self.redis_log = self.path / "redis.log"
        self.redis_data = self.path / "redis-data"
        self._redis_note = self.path / "redis.url"
        self._socket_dir: Path | None = None  # where the path above is too long for a socket
        self._prepared = False

    def prepare(self) -> None:
        """Makes the folder and removes what a former cluster left; call it once the ports are ours."""
        self._prepared = True
        try:
            shutil.rmtree(self.redis_data, ignore_errors=True)
            self.redis_data.mkdir(parents=True)
            for log in self.path.glob("*.log"):
                log.unlink()
            self._redis_note.unlink(missing_ok=True)
        except OSError as error:
            reason = f"cannot write to {self.path}: {error.strerror}; name another --run-dir"
            raise ClusterKitError(reason) from None

    def node_log(self, number: int) -> Path:
        return self.path / f"node-{number}.log"

    def redis_socket(self) -> Path:
        """A path for Redis' unix socket, short enough for the kernel."""
        socket = self.path / "redis.sock"
        if len(bytes(socket)) <= SOCKET_PATH_MAX_BYTES:
            return socket
        if self._socket_dir is None:
            self._socket_dir = Path(tempfile.mkdtemp(prefix="clusterkit-"))
        return self._socket_dir / "redis.sock"

    def note_redis(self, socket: Path) -> str:
        """Leaves the URL of the Redis at `socket` where `clusterkit emit` finds it, and returns it."""
        url = f"unix://{quote(str(socket))}?db=0"
        self._redis_note.write_text(url)
        return url

    def noted_redis(self) -> str | None:
        """The URL of the Redis of the cluster that runs here, or None."""
        try:
            return self._redis_note.read_text()
        except OSError:
            return None

    def clear(self) -> None:
        """Removes everything but the logs, unless it is another cluster's."""
        if not self._prepared:
            return
        shutil.rmtree(self.redis_data, ignore_errors=True)
        with suppress(FileNotFoundError):
            self._redis_note.unlink()
        if self._socket_dir:
            shutil.rmtree(self._socket_dir, ignore_errors=True)


def settings_of_cluster(run_dir: Path) -> Settings:
    """The environment's; without REDIS_URL there, with the Redis that `clusterkit up` has noted."""
    settings = load_settings()
    noted = RunDir(run_dir, settings).noted_redis()
    if noted is None or "redis_url" in settings.model_fields_set:
        return settings
    return load_settings(redis_url=noted)
