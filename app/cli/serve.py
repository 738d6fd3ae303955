"""`clusterkit serve`: one node in this process, from its settings to its exit code.

How it serves and stops is `uvicorn_server.py`'s; what it serves is `app.main`'s.
"""

import importlib
import logging
import socket
from typing import Any

from ..errors import SettingsError
from ..settings import Settings, load_settings
from .address import private_url
from .log_format import configure_logging
from .ports import bind_alone, bind_shared
from .uvicorn_server import NodeServer

logger = logging.getLogger(__name__)


def serve_node(own_port: int | None, app_path: str) -> None:
    """Serves until told to stop. Raises ClusterKitError where it cannot start; no port is bound then."""
    settings = _settings_of_node(own_port)
    configure_logging(settings.log_level)
    app = _create_app(app_path, settings)
    sockets = _bind(settings, own_port)
    ports = " and ".join(str(bound.getsockname()[1]) for bound in sockets)
    logger.info("node on %s, port %s", settings.host, ports)
    NodeServer(app, settings).run(sockets=sockets)
    logger.info("node stopped")


def _settings_of_node(own_port: int | None) -> Settings:
    settings = load_settings()
    if own_port == settings.port:
        raise SettingsError(f"--own-port: expected another port than PORT (got {own_port} for both)")
    return settings.model_copy(update={"private_url": private_url(settings, own_port)})


def _create_app(app_path: str, settings: Settings) -> Any:
    module, _, factory = app_path.partition(":")
    return getattr(importlib.import_module(module), factory)(settings)


def _bind(settings: Settings, own_port: int | None) -> list[socket.socket]:
    # The own port first: where it is busy, the shared one was never touched.
    own = [bind_alone(settings.host, own_port)] if own_port else []
    return [bind_shared(settings.host, settings.port), *own]
