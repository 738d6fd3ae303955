"""README.md's promises that can be run: its example serves, its files exist."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.py_client import PyClient
from tests.support.redis_server import RedisServer
from tests.support.serving import serve

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


async def test_the_example_of_own_handlers_works(
    redis_server: RedisServer, key_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("KEY_PREFIX", key_prefix)
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {}
    exec(example[1], names)
    async with serve(names["app"]) as url:
        ann, bob = PyClient(), PyClient()
        try:
            await ann.connect(url)
            await bob.connect(url)
            assert await ann.emit("join", "den") == [ann.sid]
            assert await bob.emit("join", "den") == [ann.sid, bob.sid]
            assert await ann.wait_for("joined") == (bob.sid,)
            assert await names["manager"].get(bob.sid, "room") == "den"
        finally:
            await ann.close()
            await bob.close()


def test_every_file_that_the_message_passes_exists() -> None:
    named = re.findall(r"^\d\. `(app/[a-z_/]+\.py)`", README, re.MULTILINE)
    assert len(named) == 5
    assert all((ROOT / path).is_file() for path in named)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)\b", README)) <= targets
