"""gunicorn for the kit: several workers on one port, each a node of its own.

    gunicorn -c deploy/gunicorn.conf.py app.main:app

WEB_CONCURRENCY is the number of workers, MAX_REQUESTS after how many requests one is replaced (0: never); one at a
time, so there must be two.
Everything else is the kit's settings (README.md). Options on the command line win over this file.
"""

import os
import sys

from app.errors import SettingsError
from app.settings import load_settings


def whole_number(name: str, default: str) -> int:
    value = os.environ.get(name) or default
    if not value.isdigit():
        raise SettingsError(f"{name}: expected a whole number (got {value!r})")
    return int(value)


try:
    settings = load_settings()
    workers = whole_number("WEB_CONCURRENCY", "2")
    max_requests = whole_number("MAX_REQUESTS", "0")
except SettingsError as error:
    sys.exit(f"gunicorn: {error}")

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
worker_class = "app.worker.NodeWorker"
max_requests_jitter = max_requests // 10
backlog = 2048

# A worker drains within DRAIN_TIMEOUT_S; gunicorn kills it only later, and whoever stops gunicorn later still.
graceful_timeout = int(settings.drain_timeout_s) + 5
timeout = 30  # seconds without a sign of life of a worker's event loop

# Heartbeats of the workers to gunicorn are files; on a disk they could wait for it.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112
loglevel = settings.log_level
accesslog = None
errorlog = "-"
control_socket_disable = True
