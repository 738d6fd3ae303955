"""Why a connection did not come about: each cause has an error of its own that says what to do."""

import resource
import socket
import subprocess

import gevent
import pytest

from loadtest.client.client import Client
from loadtest.client.errors import (
    AckTimeout,
    AddressError,
    BadStatus,
    ClientError,
    NotConnected,
    NotSocketIO,
    OpeningFailed,
    OpeningTimedOut,
    Refused,
    TlsFailed,
    TooManyFiles,
    Unreachable,
)
from tests.support.machine import lacking

from .conftest import Connect
from .recorder import Recorder
from .scripted import OPEN, WELCOME, Connection, scripted
from .test_wire import PollingServer, stay
from .waiting import until


def refusal(url: str, **options: object) -> OpeningFailed:
    """How an attempt to connect fails."""
    client = Client(url, Recorder(), **({"connect_timeout_s": 5.0} | options))  # type: ignore[arg-type]
    with pytest.raises(OpeningFailed) as failed:
        client.connect()
    assert client.state == "closed" and client.transport == ""
    return failed.value


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = refusal(f"http://127.0.0.1:{port}")
    assert isinstance(error, Unreachable) and "Connection refused; is a server listening" in str(error)


def test_a_name_is_tried_at_all_of_its_addresses(connect: Connect) -> None:
    def script(server: Connection) -> None:
        server.welcome()
        stay(server)

    with scripted(script) as url:  # it listens at 127.0.0.1, and the name may mean ::1 first
        client, _ = connect(url.replace("127.0.0.1", "localhost"))
        assert client.is_connected


def test_there_is_no_such_host() -> None:
    error = refusal("http://no-such-host.invalid")
    assert isinstance(error, Unreachable) and "no-such-host.invalid" in str(error)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_another_status(transport: str) -> None:
    def script(server: Connection) -> None:
        server.request()
        server.answer("no such <page>", status="404 Not Found")

    with scripted(script) as url:
        error = refusal(url, transport=transport)
    assert isinstance(error, BadStatus) and error.status == 404
    assert "404" in str(error) and "no such <page>" in str(error)


@pytest.mark.parametrize(
    ("transport", "body"),
    [("websocket", "hello"), ("polling", "hello"), ("polling", "0{}"), ("polling", "0nonsense")],
)
def test_what_answers_is_no_engine_io_server(transport: str, body: str) -> None:
    def websocket(server: Connection) -> None:
        server.upgrade()
        server.say("0" + body)
        stay(server)

    def polling(server: Connection) -> None:
        server.request()
        server.answer(body)
        stay(server)

    with scripted(websocket if transport == "websocket" else polling) as url:
        assert "expected" in str(refusal(url, transport=transport))


def test_a_websocket_server_that_accepts_another_key() -> None:
    def script(server: Connection) -> None:
        server.request()
        server.send(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: nonsense\r\n\r\n")
        stay(server)

    with scripted(script) as url:
        assert isinstance(refusal(url), NotSocketIO)


def test_an_older_socket_io_server() -> None:
    def script(server: Connection) -> None:
        server.upgrade()
        server.say(OPEN)
        server.packet()
        server.say("40")
        stay(server)

    with scripted(script) as url:
        error = refusal(url)
    assert isinstance(error, NotSocketIO) and "Socket.IO v5" in str(error)


def test_a_server_that_refuses_says_why() -> None:
    def script(server: Connection) -> None:
        server.upgrade()
        server.say(OPEN)
        server.packet()
        server.say('44{"message":"who are you?","data":{"code":7}}')
        stay(server)

    with scripted(script) as url:
        error = refusal(url)
    assert isinstance(error, Refused) and "who are you?" in str(error) and error.data == {"code": 7}


def test_a_server_that_closes_without_an_answer() -> None:
    with scripted(lambda server: server.request()) as url:
        error = refusal(url)
        assert isinstance(error, OpeningFailed) and "without a word" in str(error)
        assert "without a word" in str(refusal(url, transport="polling"))


@pytest.mark.parametrize(
    "step", ["an answer to the WebSocket's opening", "Engine.IO's OPEN", "an answer to CONNECT"]
)
def test_a_silent_server_times_out_and_the_step_is_told(step: str) -> None:
    def script(server: Connection) -> None:
        if "opening" in step:
            server.request()
        else:
            server.upgrade()
            if "CONNECT" in step:
                server.say(OPEN)
        stay(server)

    with scripted(script) as url:
        error = refusal(url, connect_timeout_s=0.2)
    assert isinstance(error, OpeningTimedOut) and error.step.startswith(step)
    assert f"expected {step}" in str(error) and "0.2 s" in str(error)


def test_a_process_with_no_files_left_is_told_of_ulimit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # those that are open stay open
    try:
        error = refusal("http://127.0.0.1:9")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(error, TooManyFiles) and "ulimit -n" in str(error)


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://host", "http://", "http://host/path", "http://host:x"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(AddressError, match="expected http"):
        Client(url, Recorder())


@pytest.mark.parametrize("options", [{"source_ip": "here"}, {"headers": {"X": "a\r\nb"}}])
def test_options_that_cannot_be_used(options: dict[str, object]) -> None:
    with pytest.raises(AddressError, match="expected"):
        Client("http://127.0.0.1", Recorder(), **options)  # type: ignore[arg-type]


def test_what_is_sent_before_connecting_is_refused() -> None:
    with pytest.raises(NotConnected):
        Client("http://127.0.0.1", Recorder()).emit("hi")


def test_a_call_that_nobody_answers_times_out(connect: Connect) -> None:
    def script(server: Connection) -> None:
        server.welcome()
        stay(server)

    with scripted(script) as url:
        client, _ = connect(url)
        with pytest.raises(AckTimeout, match=r"0\.1 s"):
            client.call("hello?", timeout_s=0.1)


def test_a_late_acknowledgement_is_told_once_and_not_again(connect: Connect) -> None:
    def script(server: Connection) -> None:
        server.welcome()
        server.packet()
        gevent.sleep(0.5)
        server.say('430["late"]', '42["behind"]')
        stay(server)

    with scripted(script) as url:
        client, recorder = connect(url, ack_timeout_s=0.1)
        answers: list[object] = []
        client.send("hello?", on_ack=lambda args, now_s: answers.append(args))
        until(lambda: recorder.packets)
        assert answers == [None]


def test_a_source_address_is_what_the_server_sees(connect: Connect) -> None:
    seen: list[str] = []

    def script(server: Connection) -> None:
        seen.append(server.sock.getpeername()[0])
        server.welcome()
        stay(server)

    with scripted(script) as url:
        connect(url, source_ip="127.0.0.77")
        assert seen == ["127.0.0.77"]


def test_a_listener_that_raises_loses_the_connection_and_no_more(
    connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(server: Connection) -> None:
        server.welcome()
        server.say('42["n",1]')
        stay(server)

    with scripted(script) as url:
        client = Client(url, Raising(), reconnection=False)
        client.connect()
        until(lambda: client.state == "closed")
    assert "ZeroDivisionError" in capsys.readouterr().err


class Raising(Recorder):
    """Has a bug."""

    def heard(self, client: Client, packets: list[bytes], now_s: float) -> None:
        raise ZeroDivisionError


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One of 127.0.0.1 that nobody has signed but itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    try:
        subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        raise lacking("openssl", "it makes the certificate") from None
    return {"keyfile": str(key), "certfile": str(certificate)}


def talk(server: Connection) -> None:
    """Says much, and answers once."""
    server.welcome()
    server.say(*(f'42["n",{n},"{"x" * 1000}"]' for n in range(200)))
    server.packet()
    server.say('430["yes"]')
    stay(server)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wss_works_with_a_certificate_that_need_not_be_trusted(
    connect: Connect, certificate: dict[str, str]
) -> None:
    with scripted(talk, **certificate) as url:
        client, recorder = connect(url.replace("https", "wss"), tls=False)
        until(lambda: len(recorder.packets) == 200)
        assert client.call("question", "y" * 100_000, timeout_s=5) == ["yes"]
        assert client.bytes_in > 200_000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_https_works_for_polling(connect: Connect, certificate: dict[str, str]) -> None:
    server = PollingServer(WELCOME, '42["n",1]\x1e42["n",2]')
    with scripted(server, **certificate) as url:
        client, recorder = connect(url, transport="polling", tls=False)
        until(lambda: len(recorder.packets) == 2)
        client.emit("e", "x" * 50_000)
        until(lambda: len(server.posts) == 2 and len(server.posts[1]) > 50_000)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_certificate_that_nobody_trusts_is_refused_and_the_way_out_is_told(certificate: dict[str, str]) -> None:
    with scripted(talk, **certificate) as url:
        error = refusal(url)
    assert isinstance(error, TlsFailed) and "tls=False" in str(error) and "self-signed" in str(error)


def test_a_server_that_speaks_no_tls() -> None:
    def script(server: Connection) -> None:
        server.sock.recv(1000)
        server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with scripted(script) as url:
        error: ClientError = refusal(url.replace("http", "https"))
    assert isinstance(error, TlsFailed)
