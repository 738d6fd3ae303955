"""`clusterkit serve`: one node, from its settings to its exit code."""

import signal
import socket
from urllib.request import urlopen

import pytest
import uvicorn

from app.cli.address import private_url, private_url_of_several
from app.cli.uvicorn_server import NodeServer
from app.settings import load_settings
from app.transport.protocol import WebSocketConnection

from .conftest import Start
from .running import command, eventually, get, is_free, status_of

READY = "accepting connections"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_then_leaves_and_exits_0(serve: Start, number: signal.Signals) -> None:
    node = serve()
    node.says(READY)
    assert node.end(number) == 0
    in_order = [node.text.index(line) for line in ("stub: draining", "stub: leaving", "node stopped")]
    assert in_order == sorted(in_order)


def test_the_shared_port_is_left_at_once_and_the_own_one_when_connections_have_ended(
    serve: Start, port: int
) -> None:
    node = serve(STUB="stuck")
    node.says(READY)
    eventually(lambda: status_of(f"http://127.0.0.1:{port + 1}/readyz") == 200)
    node.send(signal.SIGTERM)
    node.says("stub: draining")
    eventually(lambda: is_free(port))
    assert status_of(f"http://127.0.0.1:{port + 1}/readyz") == 200
    assert node.end(signal.SIGINT) == 0  # cuts the draining short
    assert is_free(port + 1)


def test_a_signal_ends_a_node_whose_app_never_starts(serve: Start) -> None:
    node = serve(STUB="hang")
    node.says("a warning of the stub")
    assert node.end() == 0
    assert "told to stop before the app had started" in node.text
    assert "Traceback" not in node.text


def test_an_app_that_cannot_start_is_a_failure(serve: Start) -> None:
    node = serve(STUB="startup")
    assert node.exit_code() == 1
    assert node.text.endswith("clusterkit: the node could not start; the log above says why\n")


def test_two_nodes_share_a_port(serve: Start, port: int) -> None:
    nodes = [serve(own_port=port + 1), serve(own_port=port + 2)]
    for node in nodes:
        node.says(READY)
    seen: set[int] = set()

    def both_seen() -> bool:
        seen.add(get(f"http://127.0.0.1:{port}/whoami")["pid"])
        return seen == {node.process.pid for node in nodes}

    eventually(both_seen)


def test_the_answer_does_not_tell_the_server_s_name(serve: Start, port: int) -> None:
    serve().says(READY)
    url = f"http://127.0.0.1:{port}/readyz"
    eventually(lambda: status_of(url) == 200)
    with urlopen(url) as answer:
        assert "server" not in answer.headers


@pytest.mark.parametrize("offset", [0, 1])
def test_a_busy_port_is_named(serve: Start, port: int, offset: int) -> None:
    with socket.create_server(("127.0.0.1", port + offset)):
        node = serve()
        assert node.exit_code() == 1
    assert f"port {port + offset} on 127.0.0.1 is busy" in node.text
    assert "Traceback" not in node.text


def test_a_wrong_setting_is_named_and_exits_2_before_a_port_is_bound(serve: Start, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):  # binding it would be the first error otherwise
        node = serve(LEASE_S="0", PING_INTERVAL_S="soon")
        assert node.exit_code() == 2
    assert "LEASE_S: " in node.text and "PING_INTERVAL_S: " in node.text
    assert "Traceback" not in node.text and "busy" not in node.text


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_this_machine_s_is_named(serve: Start, host: str) -> None:
    node = serve(HOST=host)
    assert node.exit_code() == 2
    assert "HOST: expected an address of this machine" in node.text


def test_the_own_port_must_differ_from_the_shared_one(start: Start, port: int) -> None:
    node = start(command("serve", "--own-port", str(port)), PORT=str(port))
    assert node.exit_code() == 2
    assert "--own-port: expected another port than PORT" in node.text


@pytest.mark.parametrize(
    ("host", "expected"), [("10.1.2.3", "http://10.1.2.3:8081"), ("::1", "http://[::1]:8081")]
)
def test_the_private_url_is_the_address_others_reach(host: str, expected: str) -> None:
    assert private_url(load_settings(host=host, private_url=""), 8081) == expected


def test_workers_share_only_the_host_of_a_private_url() -> None:
    settings = load_settings(host="0.0.0.0", private_url="http://10.0.0.5:80")
    assert private_url_of_several(settings, 41_001) == "http://10.0.0.5:41001"


def test_a_private_url_that_is_set_is_kept() -> None:
    assert private_url(load_settings(private_url="http://10.0.0.5:80"), 8081) == "http://10.0.0.5:80"


def test_uvicorn_still_has_the_insides_that_are_used() -> None:
    server = NodeServer(object(), load_settings())
    assert server._captured_signals == []
    for name in ("capture_signals", "startup", "shutdown"):
        assert callable(getattr(uvicorn.Server, name)), name
    assert server.config.ws is WebSocketConnection
    assert server.config.ws_max_size == load_settings().max_message_bytes
