"""haproxy before the nodes, health-checked, as our own process: a node that does not answer is not chosen.

It needs no stickiness, since any node answers any request. Whether a node is healthy is `/readyz`'s to say.
"""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp

from tests.cli.running import free_ports
from tests.support.cluster import ClusterNode
from tests.support.eventually import eventually
from tests.support.machine import find_haproxy

READY_WITHIN_S = 10.0
END_WITHIN_S = 5.0

# A node is asked every 500 ms and has a second to answer; after two failures it is down, and what is connected
# through it is cut, for the client to go elsewhere (a frozen node's connections would stay for ever). One
# success and it is up again. A request that finds nobody there goes to another node. The ping interval of the
# runs is 3 s: an HTTP long-poll is answered within it, and `tunnel`, which WebSockets have, is far above it.
CONFIGURATION = """\
global
    maxconn 4000
    nbthread 1
    log stdout format raw local0 notice

defaults
    mode http
    log global
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
    timeout check 1s
    retries 3
    option redispatch 1

frontend clients
    bind 127.0.0.1:{port}
    default_backend nodes

backend nodes
    balance leastconn
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""


def configuration(port: int, nodes: Sequence[ClusterNode]) -> str:
    """The whole file."""
    servers = [f"    server node{node.number} {node.url.removeprefix('http://')}" for node in nodes]
    return CONFIGURATION.format(port=port, servers="\n".join(servers))


@contextlib.asynccontextmanager
async def haproxy(nodes: Sequence[ClusterNode], folder: Path) -> AsyncIterator[str]:
    """Runs haproxy while the block does, with its files in `folder`; yields the URL it listens on."""
    port = free_ports(1)
    file = folder / "haproxy.cfg"
    file.write_text(configuration(port, nodes))
    url = f"http://127.0.0.1:{port}"
    log = folder / "haproxy.log"
    process = _start(file, log)
    try:
        await _ready(url, process, log)
        yield url
    finally:
        await asyncio.to_thread(_end, process)


def _start(file: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(find_haproxy()), "-db", "-f", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


async def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    async with aiohttp.ClientSession() as http:

        async def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"haproxy ended with {process.returncode}, see {log}")
            try:
                async with http.get(f"{url}/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(answers, READY_WITHIN_S, message="haproxy passes requests to the nodes")
