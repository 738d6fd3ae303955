"""The writer: each append once, in order, with its own answer, whatever becomes of the connection.

The cuts are real: a proxy lets Redis carry out what it got, and keeps the answers from the node.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from app.cluster import writer as writer_module
from app.cluster.writer import PIPELINE_CALLS_MAX
from app.errors import OutcomeUnknown, StoreOverloaded, StoreUnavailable
from app.store.scripts import Script, script
from app.wire import event_packet
from tests.store.appending import ATTIC, DEN, Appending, appending, assert_chained
from tests.store.redis_proxy import Between, Cut, Fate, RedisProxy, redis_proxy
from tests.support.eventually import eventually, steadily
from tests.support.redis_server import RedisServer


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "PAUSE_S", 0.002)
    monkeypatch.setattr(writer_module, "PAUSE_MAX_S", 0.02)


@pytest.fixture
async def proxy(own_redis: RedisServer) -> AsyncIterator[RedisProxy]:
    async with redis_proxy(own_redis.port) as proxy:
        yield proxy


@pytest.fixture
async def through_proxy(own_redis: RedisServer, proxy: RedisProxy, key_prefix: str) -> AsyncIterator[Appending]:
    """A writer whose connection can be cut."""
    async with appending(own_redis, key_prefix, url=proxy.url) as made:
        await made.append("first")  # connected, scripts loaded
        yield made


@pytest.fixture
async def writing(own_redis: RedisServer, key_prefix: str) -> AsyncIterator[Appending]:
    """A writer that Redis answers within 0.3 s or not at all."""
    async with appending(own_redis, key_prefix, timeout_s=0.3, append_timeout_s=1.0) as made:
        await made.append("first")
        yield made


async def outcomes(*futures: "asyncio.Future[Any]") -> list[Any]:
    """A result or an exception for each."""
    return await asyncio.gather(*futures, return_exceptions=True)


# --- cuts --------------------------------------------------------------------------------------------------


async def test_a_pipeline_whose_answers_are_lost_is_applied_once(
    through_proxy: Appending, proxy: RedisProxy
) -> None:
    proxy.once(Cut(request_bytes=10**6))
    clocks = await asyncio.gather(*(through_proxy.append(n) for n in range(50)))
    entries = through_proxy.entries()
    assert proxy.cuts == 1
    assert [value for _, _, value in entries] == ["first", *range(50)]
    assert [clock for clock, _, _ in entries[1:]] == clocks
    assert_chained(entries)


async def test_a_pipeline_that_is_cut_while_sent_is_applied_once(
    through_proxy: Appending, proxy: RedisProxy
) -> None:
    proxy.once(Cut(request_bytes=4_000, answer_bytes=100))
    clocks = await asyncio.gather(*(through_proxy.append(n) for n in range(50)))
    assert through_proxy.values() == ["first", *range(50)]
    assert [clock for clock, _, _ in through_proxy.entries()[1:]] == clocks


def random_cuts(random_: random.Random) -> Iterator[Fate]:
    """About every third chunk is cut, anywhere, with any part of the answers let through."""
    while True:
        if random_.random() < 0.35:
            whole = random_.random() < 0.4
            yield Cut(10**6 if whole else random_.randrange(20_000), random_.choice([0, 0, 7, 60, 500, 5_000]))
        else:
            yield None


@pytest.mark.parametrize("seed", range(6))
async def test_each_append_is_in_the_log_once_in_order_with_its_answer_however_often_it_is_cut(
    own_redis: RedisServer, proxy: RedisProxy, key_prefix: str, seed: int
) -> None:
    random_ = random.Random(seed)
    fates = random_cuts(random.Random(-seed - 1))
    proxy.fate = lambda chunk: next(fates)
    async with (
        appending(own_redis, key_prefix, url=proxy.url) as made,
        own_redis.client() as client,
        client.pubsub() as heard,
    ):
        await heard.subscribe(made.keys.room(DEN).channel)
        answers: list[asyncio.Future[int]] = []
        while len(answers) < 400 or proxy.cuts < 8:
            burst = range(len(answers), len(answers) + random_.randrange(1, 40))
            answers += [made.append(n) for n in burst]
            await asyncio.sleep(random_.choice([0.001, 0.003, 0.01]))
        clocks = await asyncio.gather(*answers)
        published = await messages(heard, len(answers))
    entries = made.entries()
    assert made.metrics.append_repeats >= 5
    assert [value for _, _, value in entries] == list(range(len(answers)))
    assert [clock for clock, _, _ in entries] == clocks
    assert_chained(entries)
    assert [int(data.split(" ")[0]) for data in published] == clocks


async def messages(heard: Any, count: int) -> list[str]:
    """What was published: exactly `count` messages."""
    found: list[str] = []
    while message := await heard.get_message(timeout=0.2 if len(found) >= count else 5):
        if message["type"] == "message":
            found.append(message["data"])
    return found


async def test_rosters_and_events_keep_their_order_when_cut(
    own_redis: RedisServer, proxy: RedisProxy, key_prefix: str
) -> None:
    fates = random_cuts(random.Random(7))
    proxy.fate = lambda chunk: next(fates)
    async with appending(own_redis, key_prefix, url=proxy.url) as made:
        made.plant_member(ATTIC)
        rooms = [DEN, ATTIC]
        answers = [made.append(n, rooms[n % 2]) for n in range(300)]
        both = [made.log.append_to_rooms(rooms, event_packet("/", "said", n)) for n in range(300, 320)]
        clocks = await asyncio.gather(*answers, *both)
    assert clocks == sorted(set(clocks)), "clocks rise across rooms, too"
    assert made.values(DEN) == [*range(0, 300, 2), *range(300, 320)]
    assert made.values(ATTIC) == [*range(1, 300, 2), *range(300, 320)]
    for room in rooms:
        assert_chained(made.entries(room))


async def test_a_writer_that_is_started_again_goes_on_where_it_was(
    through_proxy: Appending, proxy: RedisProxy
) -> None:
    proxy.once(Cut(request_bytes=5_000))
    proxy.refusing = True
    answers = [through_proxy.append(n) for n in range(100)]
    await eventually(lambda: proxy.cuts)
    await through_proxy.stop()
    proxy.refusing = False
    assert not all(answer.done() for answer in answers)
    through_proxy.start()
    await asyncio.gather(*answers)
    assert through_proxy.values() == ["first", *range(100)]


# --- a Redis that forgets ----------------------------------------------------------------------------------


async def test_scripts_forgotten_in_the_middle_of_a_pipeline_lose_and_reorder_nothing(
    through_proxy: Appending, proxy: RedisProxy, own_redis: RedisServer
) -> None:
    async def forget() -> None:
        await asyncio.to_thread(own_redis.command, "SCRIPT", "FLUSH")

    proxy.once(Between(6_000, forget))
    clocks = await asyncio.gather(*(through_proxy.append(n) for n in range(100)))
    assert through_proxy.values() == ["first", *range(100)]
    assert clocks == sorted(clocks)
    assert own_redis.command("SCRIPT", "EXISTS", script("event_append").sha) == [1]


async def test_scripts_forgotten_again_and_again_lose_and_reorder_nothing(writing: Appending) -> None:
    answers = []
    for n in range(200):
        answers.append(writing.append(n))
        if n % 20 == 0:
            await asyncio.to_thread(writing.redis.command, "SCRIPT", "FLUSH")
    await asyncio.gather(*answers)
    assert writing.values() == ["first", *range(200)]


async def test_data_lost_between_two_pipelines_stops_nothing(writing: Appending) -> None:
    writing.redis.command("FLUSHALL")
    writing.plant_member()
    clocks = await asyncio.gather(*(writing.append(n) for n in range(20)))
    assert writing.values() == list(range(20))
    assert clocks == sorted(set(clocks))


async def test_data_lost_in_the_middle_of_a_pipeline_reorders_nothing_behind_it(
    through_proxy: Appending, proxy: RedisProxy, own_redis: RedisServer
) -> None:
    async def lose_everything() -> None:
        await asyncio.to_thread(own_redis.command, "FLUSHALL")
        await asyncio.to_thread(through_proxy.plant_member)

    proxy.once(Between(6_000, lose_everything))
    clocks = await asyncio.gather(*(through_proxy.append(n) for n in range(100)))
    left = through_proxy.values()
    assert 0 < len(left) < 100
    assert left == list(range(100 - len(left), 100))
    assert clocks == sorted(set(clocks))


async def test_data_lost_with_the_answers_of_a_pipeline_repeats_nothing_that_is_left(
    own_redis: RedisServer, through_proxy: Appending, proxy: RedisProxy
) -> None:
    proxy.once(Cut(request_bytes=10**6))
    proxy.refusing = True
    answers = [through_proxy.append(n) for n in range(30)]
    await eventually(lambda: proxy.cuts)
    own_redis.command("FLUSHALL")
    through_proxy.plant_member()
    proxy.refusing = False
    clocks = await asyncio.gather(*answers)
    assert through_proxy.values() == list(range(30))
    assert clocks == sorted(set(clocks))


# --- refusals ----------------------------------------------------------------------------------------------


async def test_a_call_that_redis_refuses_fails_alone(writing: Appending) -> None:
    writing.redis.command("SET", writing.keys.room(ATTIC).log, "no stream")
    writing.plant_member(ATTIC)
    rooms = [DEN, ATTIC, DEN, ATTIC, ATTIC, DEN]
    found = await outcomes(*(writing.append(n, room) for n, room in enumerate(rooms)))
    for room, outcome in zip(rooms, found, strict=True):
        if room == ATTIC:
            assert isinstance(outcome, StoreUnavailable)
            assert "WRONGTYPE" in str(outcome)
        else:
            assert isinstance(outcome, int)
    assert writing.values() == ["first", 0, 2, 5]
    assert_chained(writing.entries())


async def test_a_redis_that_is_full_refuses_every_append(writing: Appending) -> None:
    writing.redis.command("CONFIG", "SET", "maxmemory", "1mb")
    found = [await outcomes(writing.append(n)) for n in range(5)]
    assert all(isinstance(outcome, StoreUnavailable) for (outcome,) in found)


async def test_what_a_full_redis_refuses_fails_alone_and_the_rest_keeps_its_order(writing: Appending) -> None:
    writing.redis.command("CONFIG", "SET", "maxmemory", "1mb")
    found = await outcomes(*(writing.append(n) for n in range(20)))
    writing.redis.command("CONFIG", "SET", "maxmemory", "0")
    refused = [n for n, outcome in enumerate(found) if isinstance(outcome, StoreUnavailable)]
    assert refused
    assert all("maxmemory" in str(found[n]) for n in refused)
    await writing.append("last")
    done = [n for n in range(20) if n not in refused]
    assert writing.values() == ["first", *done, "last"]
    assert_chained(writing.entries())


async def test_what_is_refused_was_not_done_in_part(writing: Appending) -> None:
    writing.redis.command("SET", writing.keys.room(ATTIC).log, "no stream")
    writing.plant_member(ATTIC)
    with pytest.raises(StoreUnavailable):
        await writing.log.append_to_rooms([DEN, ATTIC], event_packet("/", "said", "x"))
    assert writing.values() == ["first"]


@pytest.mark.time_limit(10)
async def test_a_call_that_cannot_be_sent_fails_alone(writing: Appending) -> None:
    ahead = writing.append("ahead")
    with pytest.raises(ValueError, match="surrogates"):
        writing.writer.submit(script("notice_publish"), (), ("channel", "\ud800"))
    with pytest.raises(TypeError, match="NoneType"):
        writing.writer.submit(script("notice_publish"), (), ("channel", None))  # type: ignore[arg-type]
    assert await ahead < await writing.append("behind")


async def test_what_the_caller_makes_of_a_reply_may_raise_and_harms_nobody(writing: Appending) -> None:
    def settle(reply: bytes) -> None:
        raise LookupError(reply.decode())

    wrong = writing.writer.submit(script("notice_publish"), (), ("channel", "x"), settle)
    behind = writing.append("behind")
    with pytest.raises(LookupError, match="ok"):
        await wrong
    assert await behind


# --- limits ------------------------------------------------------------------------------------------------


async def test_one_append_more_than_may_wait_is_refused_and_the_others_are_not(
    own_redis: RedisServer, key_prefix: str
) -> None:
    made = Appending(own_redis, key_prefix, own_redis.url, append_queue_max=10)
    made.plant_member()
    waiting = [made.append(n) for n in range(10)]
    with pytest.raises(StoreOverloaded, match="10 appends wait"):
        await made.append("one more")
    assert made.writer.waiting == 10
    made.start()
    await asyncio.gather(*waiting)
    await made.append(10)
    await made.stop()
    await made.store.aclose()
    assert made.values() == list(range(11))


async def test_a_silent_redis_fails_what_was_sent_as_unknown_and_the_rest_as_not_done(
    writing: Appending,
) -> None:
    writing.redis.pause()
    sent = [writing.append(f"sent {n}") for n in range(3)]
    await eventually(lambda: writing.writer.waiting == 3 and not writing.writer._waiting)
    never = [writing.append(f"never {n}") for n in range(3)]
    found = await outcomes(*sent, *never)
    assert [type(outcome) for outcome in found] == [OutcomeUnknown] * 3 + [StoreUnavailable] * 3
    assert all("within 1 s" in str(outcome) for outcome in found)
    assert writing.writer.waiting == 0
    writing.redis.resume()
    await writing.append("later")
    values = writing.values()
    assert values[-1] == "later"
    assert values[1:-1] in ([], ["sent 0", "sent 1", "sent 2"])
    await steadily(lambda: writing.values() == values, for_s=0.2, every_s=0.05)


async def test_a_redis_that_is_silent_for_less_than_the_limit_loses_nothing(
    own_redis: RedisServer, key_prefix: str
) -> None:
    async with appending(own_redis, key_prefix, timeout_s=0.1, append_timeout_s=10.0) as made:
        await made.append("first")
        own_redis.pause()
        answers = [made.append(n) for n in range(50)]
        await eventually(lambda: made.metrics.append_repeats >= 3)
        answers += [made.append(n) for n in range(50, 60)]
        own_redis.resume()
        clocks = await asyncio.gather(*answers)
    assert made.values() == ["first", *range(60)]
    assert [clock for clock, _, _ in made.entries()[1:]] == clocks


async def test_a_redis_that_is_gone_for_a_moment_loses_nothing_it_kept(
    own_redis: RedisServer, key_prefix: str
) -> None:
    async with appending(own_redis, key_prefix) as made:
        await made.append("first")
        snapshot = own_redis.snapshot()
        own_redis.kill()
        answers = [made.append(n) for n in range(20)]
        await eventually(lambda: made.metrics.append_repeats >= 2)
        own_redis.restore(snapshot)
        await asyncio.gather(*answers)
    assert made.values() == ["first", *range(20)]


async def test_a_redis_that_starts_up_is_waited_for(own_redis: RedisServer, key_prefix: str) -> None:
    own_redis.kill()
    made = Appending(own_redis, key_prefix, own_redis.url)
    made.start()
    answer = made.append("x")
    await eventually(lambda: made.metrics.append_repeats >= 2)
    own_redis.start()
    assert await answer == 0, "the room has no member"
    await made.stop()
    await made.store.aclose()


async def test_a_caller_that_is_cancelled_harms_nobody(writing: Appending) -> None:
    async def say(value: Any) -> int:
        return await writing.append(value)

    tasks = [asyncio.create_task(say(n)) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in found[::3])
    assert all(isinstance(outcome, int) for n, outcome in enumerate(found) if n % 3)
    await writing.append("last")
    assert writing.values() == ["first", *range(20), "last"]


async def test_more_calls_of_one_tick_than_a_pipeline_holds_are_split_and_in_order(writing: Appending) -> None:
    count = 2 * PIPELINE_CALLS_MAX + 44
    answers = [writing.append(n) for n in range(count)]
    assert writing.writer.waiting == count
    clocks = await asyncio.gather(*answers)
    assert writing.values() == ["first", *range(count)]
    assert clocks == sorted(set(clocks))
    # Redis keeps the replies of the newest pipeline, and beside them the number that was applied last.
    assert writing.redis.command("HLEN", writing.keys.writer("node")) == 44 + 1


async def test_calls_of_one_tick_travel_in_one_pipeline(through_proxy: Appending, proxy: RedisProxy) -> None:
    chunks: list[bytes] = []

    def watch(chunk: bytes) -> Fate:
        chunks.append(chunk)
        return None

    proxy.fate = watch
    await asyncio.gather(*(through_proxy.append(n) for n in range(100)))
    assert [chunk.count(b"EVALSHA") for chunk in chunks] == [100]


async def test_a_writer_is_drained_when_everything_has_its_answer(writing: Appending) -> None:
    answers = [writing.append(n) for n in range(300)]
    await writing.writer.drained(5)
    assert all(answer.done() for answer in answers)
    writing.redis.pause()
    unanswered = writing.append("x")
    with pytest.raises(TimeoutError):
        await writing.writer.drained(0.1)
    writing.redis.resume()
    await unanswered


async def test_a_late_copy_of_an_expired_pipeline_changes_nothing(
    own_redis: RedisServer, proxy: RedisProxy, key_prefix: str
) -> None:
    """What an old connection still carries when a newer one has gone on."""
    late: list[bytes] = []

    def keep(chunk: bytes) -> Fate:
        if b"EVALSHA" not in chunk:
            return None
        late.append(chunk)
        return Cut(0)

    async with appending(own_redis, key_prefix, url=proxy.url, append_timeout_s=0.3) as made:
        await made.append("first")
        proxy.fate = keep
        found = await outcomes(*(made.append(f"expired {n}") for n in range(3)))
        assert [type(outcome) for outcome in found] == [OutcomeUnknown] * 3
        proxy.fate = lambda chunk: None
        await made.append("later")
        reader, writer = await asyncio.open_connection("127.0.0.1", own_redis.port)
        writer.write(late[0])
        assert [await reader.readline() for _ in range(6)] == [b"$9\r\n", b"forgotten\r\n"] * 3
        writer.close()
        assert made.values() == ["first", "later"]


async def test_a_call_without_its_script_is_no_reason_to_stop(writing: Appending) -> None:
    """A script that only this test has: Redis never learns it, so the call runs out of time, and no other."""
    unknown = Script("unknown", "return 'ok'", "0" * 40)
    wrong = writing.writer.submit(unknown, (), ())
    with pytest.raises(OutcomeUnknown):
        await wrong
    assert await writing.append("behind")
