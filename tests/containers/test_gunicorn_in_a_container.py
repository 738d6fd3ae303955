"""Several workers in one container, on one port, without a balancer: long-polling needs no stickiness."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.cli.running import status_of
from tests.recovery.people import told
from tests.support.eventually import eventually
from tests.support.js_client import JsClients

from .stack import PROJECT, Stack, docker
from .test_balancers import join

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKERS = 4
CLIENTS = 50
HELD_S = 30.0


@pytest.fixture
def gunicorn(stack: Stack) -> Iterator[str]:
    """The URL of a container with four workers, in a cluster of its own."""
    settings = {
        "SERVER": "gunicorn",
        "WEB_CONCURRENCY": str(WORKERS),
        "REDIS_URL": f"redis://:{stack.variables['REDIS_PASSWORD']}@redis:6379/0",
        "KEY_PREFIX": "gunicorn",
        "LOCALE": "en",
        "PING_INTERVAL_S": "3",
        "PING_TIMEOUT_S": "3",
    }
    env = [option for name, value in settings.items() for option in ("-e", f"{name}={value}")]
    (image,) = {docker("inspect", "-f", "{{.Config.Image}}", each).strip() for each in stack.containers()}
    hardened = ["--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"]
    options = [*hardened, *env, "-p=127.0.0.1::8080", f"--network={PROJECT}_front"]
    container = docker("create", *options, image).strip()
    try:
        docker("network", "connect", f"{PROJECT}_back", container)
        docker("start", container)
        yield f"http://{docker('port', container, '8080/tcp').strip()}"
        docker("stop", "-t", "40", container)
        assert docker("inspect", "-f", "{{.State.ExitCode}}", container).strip() == "0"
        assert "Traceback" not in docker("logs", container)
    finally:
        docker("rm", "-f", container)


async def test_fifty_polling_clients_see_no_error(gunicorn: str, js: JsClients, room: str) -> None:
    async def ready() -> bool:
        return await asyncio.to_thread(status_of, f"{gunicorn}/readyz") == 200

    await eventually(ready, 30)
    clients = await asyncio.gather(*(join(js, gunicorn, room, f"c{n}", "polling") for n in range(CLIENTS)))
    for number in range(10):
        for client in clients[number::10]:
            await client.emit("send_msg", {"to": "ALL", "msg": f"{client.number} {number}"})
        await asyncio.sleep(HELD_S / 10)
    await eventually(lambda: all(len(told(client, "message")) == CLIENTS for client in clients), 20)
    assert all(told(client, "message") == told(clients[0], "message") for client in clients)
    assert not [client for client in clients if client.reconnects or client.errors]
