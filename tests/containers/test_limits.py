"""Who asks too much of a balancer is refused; others are not."""

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


@pytest.mark.parametrize("balancer", PROFILES)
async def test_an_address_that_asks_too_much_is_refused_alone(stack: Stack, balancer: str) -> None:
    image = docker("inspect", "-f", "{{.Config.Image}}", stack.containers()[0]).strip()
    options = ["--rm", f"--network={PROJECT}_front", "--entrypoint=python3"]
    seen = json.loads(docker("run", *options, image, "-c", FLOOD, balancer))
    assert set(seen) == {"200", "429"}
    assert seen["200"] >= 400
    async with aiohttp.ClientSession() as session, session.get(stack.urls[balancer] + "/healthz") as response:
        assert response.status == 200
