"""The Lua files as the loader gives them."""

from importlib import resources

import pytest

from app.store.scripts import Script, all_scripts, script
from tests.support.redis_server import RedisServer

SCRIPTS = list(all_scripts())


def lua(file: str) -> str:
    return resources.files("app.store").joinpath("lua", file).read_text("utf-8")


def test_every_file_but_the_shared_one_is_a_script() -> None:
    files = {path.name for path in resources.files("app.store").joinpath("lua").iterdir()}
    assert {f"{each.name}.lua" for each in SCRIPTS} == {
        file for file in files if file.endswith(".lua") and not file.startswith("_")
    }
    assert "_entry.lua" in files


def test_scripts_are_named_noun_then_verb() -> None:
    assert all(len(each.name.split("_")) == 2 for each in SCRIPTS)


@pytest.mark.parametrize("each", SCRIPTS, ids=lambda each: each.name)
def test_a_script_is_known_to_redis_by_its_sha(redis_server: RedisServer, each: Script) -> None:
    assert redis_server.command("SCRIPT", "LOAD", each.source) == each.sha


@pytest.mark.parametrize("each", SCRIPTS, ids=lambda each: each.name)
def test_what_a_script_includes_stands_before_it_once(each: Script) -> None:
    own, shared = lua(f"{each.name}.lua"), lua("_entry.lua")
    if own.startswith("-- include: "):
        assert own.startswith("-- include: _entry.lua\n")
        assert each.source == shared + own.partition("\n")[2]
    else:
        assert each.source == own


def test_scripts_have_different_shas() -> None:
    assert len({each.sha for each in SCRIPTS}) == len(SCRIPTS)


def test_a_script_is_read_once() -> None:
    assert script("event_append") is script("event_append")


def test_a_script_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        script("event_forget")
