"""What every test may ask for: a Redis to share, a Redis to break, a key prefix of its own.

And what holds for every test: a time limit, and an end that leaves no process behind.
"""

import signal
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.redis_server import RedisServer
from tests.support.time_limit import time_limit


def pytest_configure(config: pytest.Config) -> None:
    """Know the marks, and make `kill` end a run like Ctrl-C does: through the fixtures' clean-up."""
    config.addinivalue_line("markers", "time_limit(seconds): what each phase of the test may take at most")
    # Here, so that `make test ARGS=tests/cli` knows them too, which it leaves out.
    config.addinivalue_line("markers", "faults: a cluster is broken on purpose for a minute or more")
    config.addinivalue_line("markers", "containers: needs a Docker engine; see tests/containers")
    # A shell has its jobs in the background ignore SIGINT, and all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Set-up within the time limit."""
    with time_limit(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """The test itself within the time limit."""
    with time_limit(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Clean-up within the time limit."""
    with time_limit(item):
        return (yield)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The run's one Redis. Tests share it: use `key_prefix`, and `own_redis` for whatever breaks it."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of this test alone, to stop, pause, empty and cut connections of."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def key_prefix() -> str:
    """What this test's keys and channels begin with; no other test's do."""
    return f"test-{uuid4().hex[:12]}"
