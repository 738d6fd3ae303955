"""What servers may do, and what they must not, from byte to byte."""

import gevent
import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st

from loadtest.client.errors import BinaryUnsupported, ProtocolViolation, ServerClosed, UpgradeFailed
from loadtest.client.frames import CLOSE, PONG
from loadtest.client.listener import BY_SERVER
from tests.support.raw_websocket import BINARY, PING, TEXT, server_frame

from .conftest import Connect
from .scripted import OPEN, WELCOME, Connection, scripted
from .waiting import until


def stay(connection: Connection) -> None:
    """Reads on until the client ends."""
    connection.until_end()


def test_packets_arrive_whole_when_every_byte_is_a_segment(connect: Connect) -> None:
    def script(server: Connection) -> None:
        server.welcome()
        server.send_bytewise(b"".join(server_frame(TEXT, b'42["n",%d]' % n) for n in range(40)))
        stay(server)

    with scripted(script) as url:
        _, recorder = connect(url)
        until(lambda: len(recorder.packets) == 40)
        assert recorder.events == [("n", [n]) for n in range(40)]


def test_events_that_come_at_once_are_heard_at_once_whatever_is_between_them(connect: Connect) -> None:
    def script(server: Connection) -> None:
        server.welcome()
        server.say(*(f'42["n",{n}]' for n in range(100)))
        server.packet()
        server.say('42["n",100]', "2", "6", '42["n",101]', '42["n",102]')
        stay(server)

    with scripted(script) as url:
        client, recorder = connect(url)
        until(lambda: recorder.batches == [100])
        client.emit("more")
        until(lambda: len(recorder.packets) == 103)
        assert recorder.batches == [100, 1, 2]
        assert recorder.events == [("n", [n]) for n in range(103)]


def test_clients_that_get_the_same_bytes_get_the_same_batch(connect: Connect) -> None:
    chunk = b"".join(server_frame(TEXT, f'42["same",{n}]'.encode()) for n in range(5))

    def script(server: Connection) -> None:
        server.welcome()
        server.packet()
        server.send(chunk)
        stay(server)

    heard: list[object] = []
    with scripted(script) as url:
        for _ in range(2):
            client, recorder = connect(url)
            recorder.heard = lambda client, packets, now_s: heard.append(packets)  # type: ignore[method-assign]
            client.emit("go")
        until(lambda: len(heard) == 2)
        assert heard[0] is heard[1] and len(heard[0]) == 5  # type: ignore[arg-type]


def test_a_ping_is_answered_at_once_on_both_levels(connect: Connect) -> None:
    answers: list[tuple[int, bytes]] = []

    def script(server: Connection) -> None:
        server.welcome()
        server.send(server_frame(TEXT, b"2") + server_frame(PING, b"abc") + server_frame(TEXT, b"2"))
        answers.extend(server.frame() for _ in range(3))
        stay(server)

    with scripted(script) as url:
        connect(url)
        until(lambda: len(answers) == 3)
        assert sorted(answers) == [(TEXT, b"3"), (TEXT, b"3"), (PONG, b"abc")]


def test_a_silent_server_is_lost_after_its_own_time(connect: Connect) -> None:
    opened = OPEN.replace("25000", "300").replace("20000", "200")

    def script(server: Connection) -> None:
        server.welcome(opened)
        for _ in range(4):
            gevent.sleep(0.3)
            server.say("2")
        stay(server)

    with scripted(script) as url:
        client, recorder = connect(url, reconnection=False)
        gevent.sleep(1.4)
        assert client.is_connected
        until(lambda: recorder.told == ["connected", "ping timeout"], within_s=1.0)
        assert "expected a ping" in str(client.why)


def test_events_before_the_answer_to_connect_are_heard_after_it(connect: Connect) -> None:
    def script(server: Connection) -> None:
        server.welcome(welcomed='42["early",1]')
        server.say('42["early",2]', WELCOME, '42["late",3]')
        stay(server)

    with scripted(script) as url:
        _, recorder = connect(url)
        until(lambda: len(recorder.packets) == 3)
        assert recorder.events == [("early", [1]), ("early", [2]), ("late", [3])]


def test_an_event_that_wants_an_acknowledgement_gets_an_empty_one_and_is_heard(connect: Connect) -> None:
    answers: list[str] = []

    def script(server: Connection) -> None:
        server.welcome()
        server.say('4217["wants",1]', '42["next",2]')
        answers.append(server.packet())
        stay(server)

    with scripted(script) as url:
        _, recorder = connect(url)
        until(lambda: answers == ["4317[]"])
        until(lambda: recorder.events == [("wants", [1]), ("next", [2])])


def test_a_binary_event_is_counted_and_reported_and_nothing_else_suffers(connect: Connect) -> None:
    def script(server: Connection) -> None:
        server.welcome()
        packet = b'451-["b",{"_placeholder":true,"num":0}]'
        server.send(
            server_frame(TEXT, packet) + server_frame(BINARY, b"\x00\xff") + server_frame(TEXT, b'42["t"]')
        )
        stay(server)

    with scripted(script) as url:
        client, recorder = connect(url)
        until(lambda: recorder.packets == [b'42["t"]'])
        assert client.binary_events == 1
        assert [type(error) for error in recorder.errors] == [BinaryUnsupported]


def test_the_offset_is_the_last_trailing_string_and_is_sent_with_the_pid(connect: Connect) -> None:
    told: list[dict[str, object]] = []

    def first(server: Connection) -> None:
        told.append(orjson.loads(server.welcome(welcomed='40{"sid":"a","pid":"p"}')[2:]))
        server.say('42["m",1,"off-1"]', '42["m",{"x":"y"},"off-2"]', '42["m",{"volatile":true}]', '427["m","no"]')
        server.packet()
        server.packet()

    def second(server: Connection) -> None:
        told.append(orjson.loads(server.welcome(welcomed='40{"sid":"b","pid":"p"}')[2:]))
        stay(server)

    with scripted(first, second) as url:
        client, recorder = connect(url, recover=True, auth={"room": "r"})
        until(lambda: len(recorder.packets) == 4)
        client.emit("go")
        until(lambda: client.reconnects == 1, within_s=5)
        assert told == [
            {"recover": True, "room": "r"},
            {"pid": "p", "offset": "off-2", "recover": True, "room": "r"},
        ]
        assert client.recovered and client.sid == "b"


def test_a_namespace_that_the_server_ends_is_not_come_back_to(connect: Connect) -> None:
    ends: list[object] = []

    def script(server: Connection) -> None:
        server.welcome()
        server.say('42["last",1]', "41")
        ends.append(server.until_end())

    with scripted(script) as url:
        client, recorder = connect(url)
        until(lambda: ends)
        gevent.sleep(0.2)
        assert recorder.told == ["connected", BY_SERVER] and client.state == "closed"
        assert recorder.events == [("last", [1])]
        assert ends == [[(CLOSE, b"")]]


def test_a_client_that_leaves_says_so_on_both_levels(connect: Connect) -> None:
    frames: list[tuple[int, bytes]] = []

    def script(server: Connection) -> None:
        server.welcome()
        frames.extend(server.until_end())

    with scripted(script) as url:
        client, _ = connect(url)
        client.disconnect()
        until(lambda: frames)
        assert frames == [(TEXT, b"41"), (CLOSE, b"")]


@pytest.mark.parametrize(
    ("wire", "kind", "why"),
    [
        (b"\xc1\x01x", ProtocolViolation, "reserved bits"),
        (server_frame(TEXT, b"9what"), ProtocolViolation, "expected an Engine.IO message"),
        (server_frame(TEXT, b""), ProtocolViolation, "expected an Engine.IO message"),
        (server_frame(TEXT, b"4"), ProtocolViolation, "expected a Socket.IO packet"),
        (server_frame(TEXT, b"49[]"), ProtocolViolation, "expected a Socket.IO packet"),
        (server_frame(TEXT, b"430[nonsense"), ProtocolViolation, "expected JSON"),
        (server_frame(TEXT, b'42{"not":"a list"}'), ProtocolViolation, "expected an event's name"),
        (server_frame(CLOSE, b"\x03\xe9bye"), ServerClosed, "code 1001 bye"),
        (b"\x81\x7f" + (100 << 20).to_bytes(8, "big"), ProtocolViolation, "104,857,600 bytes"),
    ],
)
def test_what_ends_a_connection_is_told(connect: Connect, wire: bytes, kind: type, why: str) -> None:
    def script(server: Connection) -> None:
        server.welcome()
        server.send(server_frame(TEXT, b'42["before",1]') + wire)
        stay(server)

    with scripted(script) as url:
        client, recorder = connect(url, reconnection=False)
        until(lambda: client.state == "closed")
        assert recorder.events == [("before", [1])]
        assert isinstance(client.why, kind) and why in str(client.why)


@given(st.binary(max_size=300))
@options(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_server_sends_the_client_is_connected_or_closed(connect: Connect, wire: bytes) -> None:
    def script(server: Connection) -> None:
        server.welcome()
        server.send(wire)

    with scripted(script) as url:
        client, recorder = connect(url, reconnection=False)
        until(lambda: client.state == "closed", within_s=3)
        assert recorder.told[0] == "connected" and len([each for each in recorder.told if each != "failed"]) == 2


def poll(server: Connection, body: str, *lines: str) -> str:
    """Answers the next poll; returns the request's head."""
    head, _ = server.request()
    assert head.startswith("GET "), head
    server.answer(body, *lines)
    return head


class PollingServer:
    """Connections by what is asked on them: a poll gets the next of `bodies`, and then none; POSTs are kept."""

    def __init__(self, *bodies: str, post_lines: tuple[str, ...] = ()) -> None:
        self.bodies = [OPEN, *bodies]
        self.posts: list[str] = []
        self.heads: list[str] = []
        self.post_lines = post_lines
        self.held = 0

    def __call__(self, server: Connection) -> None:
        while True:
            head, body = server.request()
            self.heads.append(head)
            if head.startswith("POST"):
                self.posts.append(body.decode())
                server.answer("ok", *self.post_lines)
            elif self.bodies:
                server.answer(self.bodies.pop(0), "Set-Cookie: node=n1; Path=/")
            else:
                self.held += 1
                until(lambda: self.bodies)
                server.answer(self.bodies.pop(0))


def test_polled_packets_arrive_in_order_and_the_cookie_goes_back(connect: Connect) -> None:
    server = PollingServer(WELCOME, '42["n",1]\x1e42["n",2]\x1e2\x1e42["n",3]')
    with scripted(server) as url:
        _, recorder = connect(url, transport="polling")
        until(lambda: len(recorder.packets) == 3)
        assert recorder.events == [("n", [1]), ("n", [2]), ("n", [3])]
        until(lambda: server.posts == ["40", "3"])
        assert "Cookie" not in server.heads[0] and all("Cookie: node=n1\r\n" in head for head in server.heads[1:])


def test_cookies_are_dropped_where_none_are_wanted(connect: Connect) -> None:
    server = PollingServer(WELCOME)
    with scripted(server) as url:
        connect(url, transport="polling", cookies=False)
        until(lambda: server.held)
        assert not any("Cookie" in head for head in server.heads)


def test_cookies_go_with_the_opening_of_a_websocket(connect: Connect) -> None:
    heads: list[str] = []

    def script(server: Connection) -> None:
        heads.append(server.upgrade("Set-Cookie: node=n7"))
        server.say(OPEN)
        server.packet()
        server.say(WELCOME)
        if len(heads) == 2:
            stay(server)

    with scripted(script) as url:
        client, _ = connect(url, headers={"X-Run": "7"})
        until(lambda: client.reconnects == 1, within_s=5)
        assert ["Cookie: node=n7\r\n" in head for head in heads] == [False, True]
        assert all("X-Run: 7\r\n" in head for head in heads)


def test_a_body_holds_no_more_than_the_server_takes(connect: Connect) -> None:
    server = PollingServer(WELCOME)
    with scripted(server) as url:
        client, _ = connect(url, transport="polling")
        for n in range(30):
            client.emit("e", n, "x" * 100)
        until(lambda: sum(post.count('["e"') for post in server.posts) == 30)
        assert max(map(len, server.posts)) <= 1000
        assert len(server.posts) < 10
        sent = [packet for post in server.posts[1:] for packet in post.split("\x1e")]
        assert [orjson.loads(packet[2:])[1] for packet in sent] == list(range(30))


def test_a_connection_that_the_server_does_not_keep_is_opened_again(connect: Connect) -> None:
    def script(server: Connection) -> None:
        polls(server) if server.request()[0].startswith("GET") else server.answer("ok", "Connection: close")

    bodies = [OPEN, WELCOME, '42["n",1]', '42["n",2]']

    def polls(server: Connection) -> None:
        until(lambda: bodies)
        server.answer(bodies.pop(0), "Connection: close")

    with scripted(script) as url:
        client, recorder = connect(url, transport="polling")
        until(lambda: len(recorder.packets) == 2)
        assert recorder.told == ["connected"]
        client.cut()
        bodies[:] = ["6"]


@pytest.mark.parametrize(
    ("status", "body", "told", "why"),
    [
        ("400 Bad Request", '{"code":1,"message":"Unknown sid"}', "transport error", "Unknown sid"),
        ("200 OK", "1", "transport close", "the server closed the session"),
        ("200 OK", "", "parse error", "expected an Engine.IO message"),
    ],
)
def test_a_poll_that_is_not_answered_well_ends_the_connection(
    connect: Connect, status: str, body: str, told: str, why: str
) -> None:
    class Failing(PollingServer):
        def __call__(self, server: Connection) -> None:
            head, _ = server.request()
            while not head.startswith("GET") or self.bodies:
                server.answer(self.bodies.pop(0) if head.startswith("GET") else "ok")
                head, _ = server.request()
            server.answer(body, status=status)

    with scripted(Failing(WELCOME, '42["before",1]')) as url:
        client, recorder = connect(url, transport="polling", reconnection=False)
        until(lambda: client.state == "closed")
        assert recorder.told == ["connected", told] and why in str(client.why)
        assert recorder.events == [("before", [1])]


def test_a_probe_that_fails_leaves_the_client_polling(connect: Connect) -> None:
    class NoWebSocket(PollingServer):
        def __call__(self, server: Connection) -> None:
            while "websocket" not in server.buffer.decode():
                try:
                    server._more()
                except EOFError:
                    return
                if b"transport=polling" in server.buffer:
                    super().__call__(server)
            server.request()
            server.answer("no", status="403 Forbidden")

    with scripted(NoWebSocket(WELCOME, '42["n",1]')) as url:
        client, recorder = connect(url, transport="upgrade")
        until(lambda: recorder.errors and recorder.packets)
        assert isinstance(recorder.errors[0], UpgradeFailed) and "403" in str(recorder.errors[0])
        assert client.transport == "polling" and client.is_connected


def test_a_server_that_does_not_read_fills_a_bounded_buffer(connect: Connect) -> None:
    from loadtest.client.errors import SendBufferFull

    release: list[int] = []

    def script(server: Connection) -> None:
        server.welcome()
        until(lambda: release, within_s=20)
        stay(server)

    with scripted(script) as url:
        client, _ = connect(url)
        with pytest.raises(SendBufferFull, match="does not read"):
            for _ in range(100):
                client.emit("big", "x" * 1_000_000)
        assert client.is_connected
        release.append(1)


def test_sends_that_wait_for_the_kernel_arrive_whole_and_in_order(connect: Connect) -> None:
    heard: list[int] = []

    def script(server: Connection) -> None:
        server.welcome()
        gevent.sleep(0.1)
        while len(heard) < 60:
            heard.append(orjson.loads(server.packet()[2:])[1])
        stay(server)

    with scripted(script) as url:
        client, _ = connect(url)
        for n in range(60):
            client.emit("big", n, "x" * 100_000)
        until(lambda: heard == list(range(60)))
