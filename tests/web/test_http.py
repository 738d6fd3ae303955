"""What a node answers over HTTP: health, the cluster as JSON, pages, files; and what it refuses."""

import asyncio
from collections.abc import AsyncIterator
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
from yarl import URL

from tests.support.cluster import RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.py_client import PyClient
from tests.support.redis_server import RedisServer
from tests.transport.engine import PATH

NODES = 2
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
CLIENT_FILES = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js"]
STATIC = Path(__file__).parents[2] / "app/web/static"
ROOMS = ["lounge", "a/b", "/", "100%", "%41", "방 하나", "?x=1", "a#b", "..a", "a+b", "<i>"]
WRONG_PAGES = ["offset=-1", "offset=x", "offset=1.5", "offset=", "limit=0", "limit=1001", "limit="]
# paths that only GET and HEAD go to
READ_ONLY = [
    "/",
    "/some-room",
    "/static/style.css",
    "/socket.io/socket.io.js",
    "/healthz",
    "/api/nodes",
    "/api/rooms/x",
]
PAGES = ["/", "/lobby", "/echo", "/some-room", "/with%2Fslash", "/100%25", "/%EA%B0%80", "/%", "/a/b"]


@pytest.fixture(scope="module")
def cluster_nodes() -> int:
    return NODES


@pytest.fixture
def url(cluster: RunningCluster) -> str:
    return cluster[0].url


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    """Connects members: `await client(url, room, nickname)`."""
    clients: list[PyClient] = []

    async def connected(url: str, room: str, nickname: str, namespace: str = "/") -> PyClient:
        clients.append(PyClient(namespace))
        await clients[-1].connect(url, auth={"room": room, "nickname": nickname})
        return clients[-1]

    yield connected
    await asyncio.gather(*(each.close() for each in clients))


async def answer_of(http: aiohttp.ClientSession, url: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
    """Status and JSON."""
    async with http.request(method, URL(url, encoded=True), **options) as answer:
        return answer.status, await answer.json()


async def raw(url: str, target: str, method: str = "GET") -> tuple[int, str]:
    """Status and body of a request whose target is sent as it stands, which no client library does."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
    answer = (await asyncio.wait_for(reader.read(), 5)).decode(errors="replace")
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


# --- health --------------------------------------------------------------------------------------------------


async def test_a_node_that_serves_is_alive_and_ready(http: aiohttp.ClientSession, url: str) -> None:
    status, health = await answer_of(http, f"{url}/healthz")
    assert (status, health) == (200, {"status": "ok", "node_id": health["node_id"]})
    status, readiness = await answer_of(http, f"{url}/readyz")
    assert status == 200
    assert 0 <= readiness.pop("canary_age_s") < 5
    assert (readiness["ready"], readiness["node_id"]) == (True, health["node_id"])


async def test_a_node_whose_redis_is_silent_is_alive_but_not_ready(
    own_redis: RedisServer, key_prefix: str, http: aiohttp.ClientSession
) -> None:
    async with running_cluster(own_redis.url, key_prefix, nodes=1, REDIS_TIMEOUT_S="0.5") as cluster:
        url = cluster[0].url
        own_redis.pause()

        async def unready() -> Any:
            status, readiness = await answer_of(http, f"{url}/readyz")
            return readiness if status == 503 else None

        readiness = await eventually(unready, within_s=10)
        assert readiness["ready"] is False
        assert readiness["reason"]
        assert readiness["canary_age_s"] > 1
        assert (await answer_of(http, f"{url}/healthz"))[0] == 200
        for path in ("/api/nodes", "/api/rooms", "/api/rooms/any", "/rooms.json"):
            status, body = await answer_of(http, url + path)
            assert status == 503
            assert body["error"]
        own_redis.resume()
        await cluster.ready(0)
        assert (await answer_of(http, f"{url}/rooms.json"))[0] == 200
        assert "Traceback" not in cluster[0].log()


async def test_a_node_whose_redis_takes_no_writes_is_not_ready(
    own_redis: RedisServer, key_prefix: str, http: aiohttp.ClientSession
) -> None:
    async with running_cluster(own_redis.url, key_prefix, nodes=1) as cluster:
        url = cluster[0].url
        own_redis.command("CONFIG", "SET", "maxmemory", "1")

        async def unready() -> Any:
            status, readiness = await answer_of(http, f"{url}/readyz")
            return readiness if status == 503 else None

        readiness = await eventually(unready, within_s=10)
        assert readiness["canary_age_s"] > 1
        assert "heartbeat unanswered: " in cluster[0].log()
        assert "maxmemory" in cluster[0].log()
        own_redis.command("CONFIG", "SET", "maxmemory", "0")
        await cluster.ready(0)


# --- the cluster as JSON -------------------------------------------------------------------------------------


async def test_every_node_lists_all_nodes(
    http: aiohttp.ClientSession, cluster: RunningCluster, client: Any
) -> None:
    await client(cluster[1].url, "counted", "one")
    ids = [(await answer_of(http, f"{node.url}/healthz"))[1]["node_id"] for node in cluster.nodes]

    async def nodes(number: int) -> Any:
        return (await answer_of(http, f"{cluster[number].url}/api/nodes"))[1]["nodes"]

    async def counted() -> bool:
        return [node["connections"] for node in await nodes(0) if node["node_id"] == ids[1]] == [1]

    await eventually(counted)
    for number in range(NODES):
        listed = {node["node_id"]: node for node in await nodes(number)}
        assert set(listed) == set(ids)
        for other, node_id in enumerate(ids):
            node = listed[node_id]
            assert node["url"] == cluster[other].url
            assert (node["alive"], node["draining"], node["this"]) == (True, False, other == number)
            assert node["started_at"].endswith("+00:00")


async def test_rooms_are_listed_from_every_node_largest_first(
    http: aiohttp.ClientSession, cluster: RunningCluster, client: Any
) -> None:
    await client(cluster[0].url, "of two", "a")
    await client(cluster[1].url, "of two", "b")
    await client(cluster[1].url, "of one", "c")
    await client(cluster[1].url, "", "", "/lobby")
    for node in cluster.nodes:
        status, body = await answer_of(http, f"{node.url}/api/rooms")
        assert status == 200
        assert body["total"] == len(body["rooms"]) == 3
        assert body["rooms"][0] == {"namespace": "/", "room": "of two", "members": 2}
        assert {"namespace": "/", "room": "of one", "members": 1} in body["rooms"]
        assert {"namespace": "/lobby", "room": "lobby", "members": 1} in body["rooms"]


async def test_rooms_come_a_page_at_a_time(http: aiohttp.ClientSession, url: str, client: Any) -> None:
    for name in "abcde":
        await client(url, f"page-{name}", name)
    pages = []
    for offset in (0, 2, 4, 6):
        _, body = await answer_of(http, f"{url}/api/rooms?offset={offset}&limit=2")
        assert body["total"] == 5
        pages.append([room["room"] for room in body["rooms"]])
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert sorted(chain.from_iterable(pages)) == [f"page-{name}" for name in "abcde"]


@pytest.mark.parametrize(
    "name", ["lounge", "a/b", "/", "100%", "%41", "방 하나", "?x=1", "a#b", "..a", "a+b", "<i>"]
)
async def test_a_room_is_told_from_every_node_whatever_its_name(
    http: aiohttp.ClientSession, cluster: RunningCluster, client: Any, name: str
) -> None:
    await client(cluster[0].url, name, "하나")
    await client(cluster[1].url, name, "둘")
    ids = [(await answer_of(http, f"{node.url}/healthz"))[1]["node_id"] for node in cluster.nodes]
    for node in cluster.nodes:
        status, body = await answer_of(http, f"{node.url}/api/rooms/{quote(name, safe='')}")
        assert status == 200
        assert (body["namespace"], body["room"], body["total"]) == ("/", name, 2)
        assert [(each["nickname"], each["node_id"]) for each in body["members"]] == [
            ("하나", ids[0]),
            ("둘", ids[1]),
        ]
        assert body["members"][0]["entered"] < body["members"][1]["entered"]


async def test_members_come_a_page_at_a_time_in_order_of_entering(
    http: aiohttp.ClientSession, url: str, client: Any
) -> None:
    for number in range(5):
        await client(url, "paged", f"m{number}")
    pages = []
    for offset in (0, 2, 4, 6):
        status, body = await answer_of(http, f"{url}/api/rooms/paged?offset={offset}&limit=2")
        assert (status, body["total"]) == (200, 5)
        pages.append([member["nickname"] for member in body["members"]])
    assert pages == [["m0", "m1"], ["m2", "m3"], ["m4"], []]


async def test_a_room_of_another_namespace_is_asked_for_by_it(
    http: aiohttp.ClientSession, url: str, client: Any
) -> None:
    await client(url, "", "", "/lobby")
    status, body = await answer_of(http, f"{url}/api/rooms/lobby?namespace=/lobby")
    assert (status, body["total"]) == (200, 1)
    assert (await answer_of(http, f"{url}/api/rooms/lobby"))[0] == 404


async def test_a_room_without_members_is_404(http: aiohttp.ClientSession, url: str) -> None:
    status, body = await answer_of(http, f"{url}/api/rooms/nobody%2Fhere")
    assert (status, body) == (404, {"error": "no room 'nobody/here' in / has members"})


@pytest.mark.parametrize("path", ["/api/rooms", "/api/rooms/any"])
@pytest.mark.parametrize(
    "query", ["offset=-1", "offset=x", "offset=1.5", "limit=0", "limit=1001", "limit=", "offset="]
)
async def test_a_wrong_page_is_400(http: aiohttp.ClientSession, url: str, path: str, query: str) -> None:
    status, body = await answer_of(http, f"{url}{path}?{query}")
    assert status == 400
    assert "offset" in body["error"]


async def test_the_home_page_s_list_holds_chat_rooms_only(
    http: aiohttp.ClientSession, url: str, client: Any
) -> None:
    await client(url, "shown", "a")
    await client(url, "", "", "/lobby")

    async def shown() -> Any:
        return (await answer_of(http, f"{url}/rooms.json"))[1]

    await eventually(lambda: _is(shown(), {"rooms": [{"room": "shown", "members": 1}], "truncated": False}))


async def _is(value: Any, expected: object) -> bool:
    found = await value
    assert found == expected
    return True


# --- the admin token -----------------------------------------------------------------------------------------


async def test_the_api_needs_the_token_where_one_is_set(
    redis_server: RedisServer, key_prefix: str, http: aiohttp.ClientSession
) -> None:
    async with running_cluster(redis_server.url, key_prefix, nodes=1, ADMIN_TOKEN="secret") as cluster:
        url = cluster[0].url
        for path in ("/api/nodes", "/api/rooms", "/api/rooms/none", "/api/rooms?offset=x"):
            for given in (
                {},
                bearer("Secret"),
                bearer(""),
                {"Authorization": "secret"},
                bearer("secret2"),
                bearer("비밀"),
            ):
                async with http.get(url + path, headers=given) as answer:
                    assert answer.status == 401, (path, given)
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
                    assert (await answer.json())["error"]
        for path, expected in (("/api/nodes", 200), ("/api/rooms", 200), ("/api/rooms/none", 404)):
            assert (await answer_of(http, url + path, headers=bearer("secret")))[0] == expected
        for path in ("/rooms.json", "/healthz", "/readyz"):
            assert (await answer_of(http, url + path))[0] == 200
        async with http.get(f"{url}/") as answer:
            assert answer.status == 200
        assert "secret" not in cluster[0].log()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- pages and files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_html_with_all_headers(http: aiohttp.ClientSession, url: str, path: str) -> None:
    async with http.get(URL(url + path, encoded=True)) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert (await answer.text()).startswith("<!doctype html>")
        assert_headers(answer)


@pytest.mark.parametrize("file", CLIENT_FILES)
async def test_the_stock_client_is_served_where_the_node_server_serves_it(
    http: aiohttp.ClientSession, url: str, file: str
) -> None:
    async with http.get(f"{url}/socket.io/{file}") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/javascript"
        assert "Socket.IO v4" in (await answer.text())[:100]
        assert_headers(answer)
    async with http.get(f"{url}/socket.io/{file}.map") as answer:
        assert answer.status == 200
        assert answer.content_type == "application/json"
        assert_headers(answer)


@pytest.mark.parametrize(("file", "content_type"), [("style.css", "text/css"), ("chat.js", "text/javascript")])
async def test_static_files_have_their_type_and_all_headers(
    http: aiohttp.ClientSession, url: str, file: str, content_type: str
) -> None:
    async with http.get(f"{url}/static/{file}") as answer:
        assert (answer.status, answer.content_type) == (200, content_type)
        assert answer.headers["Cache-Control"] == "no-cache"
        assert await answer.read() == (STATIC / file).read_bytes()
        assert_headers(answer)
        tag = answer.headers["ETag"]
    async with http.get(f"{url}/static/{file}", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304


@pytest.mark.parametrize("path", ["/favicon.ico", "/static/icon.svg"])
async def test_the_icon_is_an_image(http: aiohttp.ClientSession, url: str, path: str) -> None:
    async with http.get(url + path) as answer:
        assert (answer.status, answer.content_type) == (200, "image/svg+xml")


@pytest.mark.parametrize(
    "path",
    [
        "/static/none.css",
        "/static/",
        "/static",
        "/socket.io/none.js",
        "/socket.io/socket.io.msgpack.min.js",
        "/socket.io/.stamp",
        "/socket.io/x/socket.io.js",
        "/api",
        "/api/none",
        "/api/nodes/",
        "/metrics%0a",
        "/rooms.json%0A",
        "/room%0a",
    ],
)
async def test_what_is_not_there_is_404_with_all_headers(http: aiohttp.ClientSession, url: str, path: str) -> None:
    async with http.get(URL(url + path, encoded=True)) as answer:
        assert answer.status == 404
        assert_headers(answer)


@pytest.mark.parametrize(
    "target",
    [
        "/static/../pages.py",
        "/static/..%2fpages.py",
        "/static/%2e%2e/pages.py",
        "/static/..%5cpages.py",
        "/static/%2fetc/passwd",
        "/static//etc/passwd",
        "/static/....//pages.py",
        "/static/x%00.css",
        "/static/" + "x" * 5000,
        "/socket.io/../security.py",
        "/socket.io/..%2fsecurity.py",
        "/socket.io/%2fetc/passwd",
    ],
)
async def test_nothing_outside_is_served(url: str, target: str) -> None:
    status, body = await raw(url, target)
    assert status == 404
    assert "import" not in body
    assert "root:" not in body


async def test_every_json_answer_has_all_headers(http: aiohttp.ClientSession, url: str) -> None:
    for path in ("/healthz", "/readyz", "/rooms.json", "/api/nodes", "/api/rooms", "/api/rooms/none"):
        async with http.get(url + path) as answer:
            assert answer.content_type == "application/json", path
            assert_headers(answer)


@pytest.mark.parametrize("query", ["", "&sid=<img>", f"&sid={'0' * 8}{'x' * 20}"])
async def test_the_type_of_an_engine_io_answer_is_not_guessed(
    http: aiohttp.ClientSession, url: str, query: str
) -> None:
    async with http.get(f"{url}{PATH}polling{query}") as answer:
        assert answer.headers.get("X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize("host", ["bad host", "a;script-src *", "x'y", "a,b"])
async def test_a_strange_host_does_not_get_into_the_policy(
    http: aiohttp.ClientSession, url: str, host: str
) -> None:
    async with http.get(f"{url}/", headers={"Host": host}) as answer:
        assert answer.headers["Content-Security-Policy"] == POLICY.replace(" ws://{host} wss://{host}", "")


@pytest.mark.parametrize("path", ["/", "/some-room", "/static/style.css", "/socket.io/socket.io.js", "/healthz"])
async def test_head_is_get_without_a_body(http: aiohttp.ClientSession, url: str, path: str) -> None:
    async with http.get(url + path) as got, http.head(url + path) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Length"] == got.headers["Content-Length"]
        assert answer.headers["Content-Type"] == got.headers["Content-Type"]
        assert await answer.read() == b""
        assert_headers(answer)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", READ_ONLY)
async def test_other_methods_are_not_allowed(
    http: aiohttp.ClientSession, url: str, path: str, method: str
) -> None:
    async with http.request(method, url + path) as answer:
        assert answer.status == 405
        assert_headers(answer)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD"])
async def test_engine_io_takes_no_other_methods(http: aiohttp.ClientSession, url: str, method: str) -> None:
    async with http.request(method, f"{url}{PATH}polling") as answer:
        assert answer.status == 405


async def test_a_websocket_elsewhere_is_refused(http: aiohttp.ClientSession, url: str) -> None:
    for path in ("/", "/some-room", "/socket.io/socket.io.js", "/api/nodes"):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with http.ws_connect(url + path):
                pass


def assert_headers(answer: aiohttp.ClientResponse) -> None:
    """The headers that keep a page's origin to itself."""
    assert answer.headers["Content-Security-Policy"] == POLICY.format(host=answer.url.authority)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "Server" not in answer.headers
