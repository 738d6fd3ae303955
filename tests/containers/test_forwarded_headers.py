"""What nodes are told about a client is the balancer's word, whatever the client says about itself."""

import contextlib
import json
from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.machine import REPOSITORY

from .stack import PROFILES, PROJECT, Stack, docker

pytestmark = pytest.mark.asyncio(loop_scope="module")

NETWORK = f"{PROJECT}_echo"
FILES = {
    "nginx": {
        "nginx/nginx.conf": "/etc/nginx/nginx.conf",
        "nginx/upstream-sticky.conf": "/etc/nginx/upstream.conf",
    },
    "haproxy": {"haproxy/haproxy.cfg": "/usr/local/etc/haproxy/haproxy.cfg"},
}
# In the place of a node: it answers with the headers that have come.
ECHO = """
import http.server, json
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps(self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8080), Echo).serve_forever()
"""
SPOOFED = {
    "X-Forwarded-For": "1.2.3.4",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Real-IP": "1.2.3.4",
    "Forwarded": "for=1.2.3.4",
    "X_Forwarded_For": "1.2.3.4",
}


@pytest.fixture
def echo(stack: Stack, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a balancer, with the stack's files, before the echo."""
    balancer = request.param
    (running,) = stack.containers(balancer)
    image, user, entrypoint = (
        docker("inspect", "-f", form, running).strip()
        for form in ("{{.Config.Image}}", "{{.Config.User}}", "{{json .Config.Entrypoint}}")
    )
    python = docker("inspect", "-f", "{{.Config.Image}}", stack.containers()[0]).strip()
    started: list[str] = []
    docker("network", "create", NETWORK)
    try:
        node = ["--network-alias=app", "--entrypoint=python3", python, "-c", ECHO]
        started.append(docker("run", "-d", f"--network={NETWORK}", *node).strip())
        files = [f"-v={REPOSITORY}/{ours}:{theirs}:ro" for ours, theirs in FILES[balancer].items()]
        program, *arguments = json.loads(entrypoint)
        options = [*files, f"--user={user}", "--tmpfs=/tmp", "-p=127.0.0.1::8080", f"--entrypoint={program}"]
        started.append(docker("run", "-d", f"--network={NETWORK}", *options, image, *arguments).strip())
        yield f"http://{docker('port', started[-1], '8080/tcp').strip()}"
    finally:
        for container in started:
            docker("rm", "-f", container)
        docker("network", "rm", NETWORK)


@pytest.mark.parametrize("echo", PROFILES, indirect=True)
async def test_what_a_client_says_about_itself_is_not_handed_on(echo: str) -> None:
    async with aiohttp.ClientSession() as session:

        async def serves() -> bool:
            with contextlib.suppress(aiohttp.ClientError):  # it starts
                async with session.get(f"{echo}/socket.io/") as answer:
                    return answer.status == 200
            return False

        await eventually(serves, 20)
        async with session.get(f"{echo}/socket.io/", headers=SPOOFED) as answer:
            heard: list[list[str]] = await answer.json(content_type=None)
    told = {name.lower(): value for name, value in heard}
    assert len(told) == len(heard), heard
    assert told["x-forwarded-proto"] == "http"
    assert told["x-forwarded-for"] not in ("", "1.2.3.4") and "," not in told["x-forwarded-for"]
    assert not told.keys() & {"x-forwarded-host", "x-forwarded-port", "x-real-ip", "forwarded", "x_forwarded_for"}
    assert "evil" not in str(heard) and "1.2.3.4" not in str(heard)
