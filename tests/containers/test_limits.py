"""Who asks too much of a balancer is refused; others are not."""

import asyncio
import json

import aiohttp
import pytest

from .stack import PROFILES, PROJECT, Stack, docker

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Beyond nginx's burst of 400 and haproxy's 2,000 in 10 s, as fast as one connection carries them.
REQUESTS = 2_500
FLOOD = f"""
import collections, http.client, json, sys
connection, seen = http.client.HTTPConnection(sys.argv[1], 8080), collections.Counter()
for _ in range({REQUESTS}):
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    seen[answer.status] += 1
print(json.dumps(seen))
"""


# More than one address may have.
HALVES = 3_000
HALF_REQUESTS = f"""
import socket, sys, time
sockets, closed = [], 0
for _ in range({HALVES}):
    try:
        one = socket.create_connection((sys.argv[1], 8080))
        one.sendall(b"G")
    except OSError:
        closed += 1
        continue
    one.setblocking(False)
    sockets.append(one)
time.sleep(1)
for one in sockets:
    try:
        closed += one.recv(1) == b""
    except BlockingIOError:
        pass
    except OSError:
        closed += 1
print(closed, flush=True)
time.sleep(3)
"""


# Together more than nginx' /tmp holds.
SLOW = 90
SLOW_BODIES = f"""
import http.client, json, socket, sys, time
url, sockets = "/socket.io/?EIO=4&transport=polling", []
for _ in range({SLOW}):
    connection = http.client.HTTPConnection(sys.argv[1], 8080)
    connection.request("GET", url)
    sid = json.loads(connection.getresponse().read()[1:])["sid"]
    one = socket.create_connection((sys.argv[1], 8080))
    one.sendall(f"POST {{url}}&sid={{sid}} HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 999000\\r\\n\\r\\n".encode())
    one.setblocking(False)
    sockets.append(one)
for _ in range(100):
    for one in sockets:
        try:
            one.send(b"4" * 9000)
        except BlockingIOError:
            pass
    time.sleep(0.02)
print("sent", flush=True)
time.sleep(5)
"""


@pytest.mark.parametrize("balancer", PROFILES)
async def test_slow_bodies_fill_nothing(stack: Stack, balancer: str) -> None:
    image = docker("inspect", "-f", "{{.Config.Image}}", stack.containers()[0]).strip()
    options = ["--rm", f"--network={PROJECT}_front", "--entrypoint=python3"]
    command = ["docker", "run", *options, image, "-c", SLOW_BODIES, balancer]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"sent\n"
    (container,) = stack.containers(balancer)
    written_kb = int(docker("exec", container, "du", "-sk", "/tmp").split()[0])
    assert written_kb < 1_000
    url = stack.urls[balancer] + "/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
        async with session.get(url) as opened:
            sid = json.loads((await opened.text())[1:])["sid"]
        async with session.post(f"{url}&sid={sid}", data="4" + "0" * 100_000) as answer:
            assert answer.status in (200, 400), await answer.text()  # it is no Socket.IO packet
    await process.communicate()


async def test_nginx_takes_large_bodies_for_clients_alone(stack: Stack) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stack.urls['nginx']}/", data=b"0" * 20_000) as answer,
    ):
        assert answer.status == 413


@pytest.mark.parametrize("balancer", PROFILES)
async def test_an_address_that_asks_too_much_is_refused_alone(stack: Stack, balancer: str) -> None:
    image = docker("inspect", "-f", "{{.Config.Image}}", stack.containers()[0]).strip()
    options = ["--rm", f"--network={PROJECT}_front", "--entrypoint=python3"]
    seen = json.loads(docker("run", *options, image, "-c", FLOOD, balancer))
    assert set(seen) == {"200", "429"}
    assert seen["200"] >= 400
    assert await status_for_others(stack, balancer) == 200


@pytest.mark.parametrize("balancer", PROFILES)
async def test_half_requests_keep_nobody_else_out(stack: Stack, balancer: str) -> None:
    image = docker("inspect", "-f", "{{.Config.Image}}", stack.containers()[0]).strip()
    options = ["--rm", f"--network={PROJECT}_front", "--ulimit=nofile=10000:10000", "--entrypoint=python3"]
    command = ["docker", "run", *options, image, "-c", HALF_REQUESTS, balancer]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    closed = int(await process.stdout.readline())
    assert await status_for_others(stack, balancer) == 200
    await process.communicate()
    if balancer == "haproxy":  # nginx has places for all of them
        assert closed > HALVES / 2


async def status_for_others(stack: Stack, balancer: str) -> int:
    """What an address that asks little gets, and within a second."""
    limit = aiohttp.ClientTimeout(total=1)
    url = stack.urls[balancer] + "/healthz"
    async with aiohttp.ClientSession(timeout=limit) as session, session.get(url) as response:
        return response.status
