"""How much a log keeps, where it is written to all the time."""

import pytest

from app.settings import load_settings
from tests.store.appending import DEN, appending
from tests.support.redis_server import RedisServer

MICROS = 1_000_000
WINDOW_S = 60
KEPT_S = load_settings(recovery_window_s=WINDOW_S).log_max_age_s


async def test_a_busy_log_forgets_what_is_too_old_within_a_second(key_prefix: str) -> None:
    # One entry in a node of the stream, so that `MINID ~` is exact.
    with RedisServer(stream_node_max_entries="1") as redis:
        async with appending(redis, key_prefix, recovery_window_s=WINDOW_S) as made:
            keys = made.keys.room(DEN)
            clock = await made.append("first")
            old = clock - (KEPT_S + 1) * MICROS
            redis.command("DEL", keys.log)
            for age, prev in ((0, 0), (1, old)):
                redis.command("XADD", keys.log, f"{old + age}-0", "p", prev, "b", f'e -\n2["said",{age}]')

            while (newer := await made.append("busy")) // MICROS == clock // MICROS:
                clock = newer
            assert set(made.values()) == {"busy"}


@pytest.mark.parametrize("count", [3, 300])
async def test_what_is_young_enough_stays(redis_server: RedisServer, key_prefix: str, count: int) -> None:
    async with appending(redis_server, key_prefix, recovery_window_s=WINDOW_S) as made:
        for n in range(count):
            await made.append(n)
        assert made.values() == list(range(count))
