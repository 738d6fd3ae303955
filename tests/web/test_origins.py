"""Whose pages may connect: this host's, and those that ALLOWED_ORIGINS lists."""

from collections.abc import Callable

import aiohttp
import pytest

from tests.support.cluster import RunningCluster, running_cluster
from tests.support.redis_server import RedisServer
from tests.transport.engine import PATH, Session, receive

LISTED = "https://friend.example"
ALLOW = "Access-Control-Allow-Origin"
FOREIGN = [
    "https://evil.example",
    "http://evil.example:8080",
    "null",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "https://friend.example.evil.example",
    "https://friend.example:8443",
    "http://friend.example",
    "https://evil.example/@friend.example",
    "file://",
    "garbage",
    "http://{host}.evil.example",
    "http://evil.example@{host}",
    "http://{host}@evil.example",
]
Origin = Callable[[str], dict[str, str]]


@pytest.fixture(scope="module")
def cluster_nodes() -> int:
    return 2


@pytest.fixture(scope="module")
def cluster_settings() -> dict[str, str]:
    return {"ALLOWED_ORIGINS": f"{LISTED}, http://other.example:3000/"}


@pytest.fixture
def url(cluster: RunningCluster) -> str:
    return cluster[0].url


@pytest.fixture
def origin(url: str) -> Origin:
    """The headers of a page of an origin, where `{host}` is the node's own."""
    return lambda text: {"Origin": text.format(host=url.removeprefix("http://"))}


async def opened(http: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> bool:
    """Whether a page that sends these may open a WebSocket."""
    try:
        async with http.ws_connect(f"{url}{PATH}websocket", headers=headers) as ws:
            return str(await receive(ws)).startswith("0{")
    except aiohttp.WSServerHandshakeError as error:
        assert error.status == 403
        return False


@pytest.mark.parametrize("text", FOREIGN)
async def test_pages_of_other_origins_are_refused(
    http: aiohttp.ClientSession, url: str, origin: Origin, text: str
) -> None:
    for method in ("GET", "POST"):
        async with http.request(method, f"{url}{PATH}polling", headers=origin(text)) as answer:
            assert answer.status == 400
            assert ALLOW not in answer.headers
    assert not await opened(http, url, origin(text))


async def test_an_origin_that_cannot_be_read_is_refused_without_a_traceback(
    redis_server: RedisServer, key_prefix: str, http: aiohttp.ClientSession
) -> None:
    async with running_cluster(redis_server.url, key_prefix, nodes=1) as cluster:
        for text in ("http://[", "http://[x]", "http://a]"):
            async with http.get(f"{cluster[0].url}{PATH}polling", headers={"Origin": text}) as answer:
                assert answer.status == 400
        assert "Traceback" not in cluster[0].log()


@pytest.mark.parametrize("text", ["http://{host}", "https://{host}", LISTED, "http://other.example:3000"])
async def test_own_and_listed_origins_are_let_in(
    http: aiohttp.ClientSession, url: str, origin: Origin, text: str
) -> None:
    headers = origin(text)
    async with http.get(f"{url}{PATH}polling", headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers[ALLOW] == headers["Origin"]
    assert await opened(http, url, headers)


async def test_who_names_no_origin_is_no_page_and_let_in(http: aiohttp.ClientSession, url: str) -> None:
    async with http.get(f"{url}{PATH}polling") as answer:
        assert answer.status == 200
        assert ALLOW not in answer.headers
    assert await opened(http, url, {})


async def test_a_listed_page_may_ask_before_it_posts(http: aiohttp.ClientSession, url: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    async with http.options(f"{url}{PATH}polling", headers={"Origin": LISTED, **asked}) as answer:
        assert answer.status == 200
        assert answer.headers[ALLOW] == LISTED
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert answer.headers["Access-Control-Allow-Headers"] == "content-type"
    async with http.options(f"{url}{PATH}polling", headers={"Origin": "https://evil.example", **asked}) as answer:
        assert answer.status == 400
        assert ALLOW not in answer.headers


async def test_another_page_may_not_use_a_session_it_knows(
    http: aiohttp.ClientSession, cluster: RunningCluster
) -> None:
    session = await Session.open(http, cluster[0].url)
    for node in cluster.nodes:  # itself, and forwarded
        for method in ("GET", "POST"):
            evil = {"Origin": "https://evil.example"}
            async with http.request(method, session.poll_url(node.url), headers=evil) as answer:
                assert answer.status == 400
                assert ALLOW not in answer.headers
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with http.ws_connect(f"{node.url}{PATH}websocket&sid={session.sid}", headers=evil):
                pass
        assert refused.value.status == 403
    await session.post("40")  # and the session goes on


async def test_a_forwarded_page_is_let_in_by_what_its_browser_asked_for(
    http: aiohttp.ClientSession, cluster: RunningCluster
) -> None:
    session = await Session.open(http, cluster[0].url)
    for page in (cluster[1].url, cluster[1].url.replace("http:", "https:"), LISTED):
        async with http.post(session.poll_url(cluster[1].url), headers={"Origin": page}, data="3") as answer:
            assert answer.status == 200
            assert answer.headers[ALLOW] == page


async def test_a_script_element_of_another_page_opens_no_session(http: aiohttp.ClientSession, url: str) -> None:
    """A browser sends no Origin for a script; what it got would run, and could be read, in the other page."""
    headers = {"Sec-Fetch-Dest": "script", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}
    async with http.get(f"{url}{PATH}polling&j=0", headers=headers) as answer:
        assert answer.status == 400


async def test_json_and_pages_are_for_no_other_origin(http: aiohttp.ClientSession, url: str) -> None:
    for path in ("/", "/rooms.json", "/api/rooms", "/socket.io/socket.io.js", "/healthz"):
        async with http.get(url + path, headers={"Origin": LISTED}) as answer:
            assert answer.status == 200
            assert ALLOW not in answer.headers


async def test_only_the_own_host_is_let_in_by_default_and_all_by_a_star(
    redis_server: RedisServer, key_prefix: str, http: aiohttp.ClientSession
) -> None:
    async with (
        running_cluster(redis_server.url, f"{key_prefix}-a", nodes=1) as closed,
        running_cluster(redis_server.url, f"{key_prefix}-b", nodes=1, ALLOWED_ORIGINS="*") as open_to_all,
    ):
        assert not await opened(http, closed[0].url, {"Origin": LISTED})
        assert await opened(http, closed[0].url, {"Origin": closed[0].url})
        for text in (LISTED, "null", "https://evil.example"):
            assert await opened(http, open_to_all[0].url, {"Origin": text})
