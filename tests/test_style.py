"""What STYLE.md asks of every file and a program can check."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import lacking

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "app"
LUA = APP / "store" / "lua"
MODULE_LINES_MAX = 400

MODULES = sorted(APP.rglob("*.py"))
SCRIPTS = sorted(LUA.glob("*.lua"))

# Commands that scripts may call: all of them are in Redis 6.2, the oldest that the kit runs on.
COMMANDS = {
    *("STRLEN", "DEL", "EXISTS", "EXPIRE", "PERSIST", "PEXPIRE", "PEXPIREAT", "PTTL", "TTL", "TYPE"),
    *("GET", "SET", "INCR", "INCRBY", "MGET"),
    *("HDEL", "HEXISTS", "HGET", "HGETALL", "HINCRBY", "HKEYS", "HLEN", "HMGET", "HSET", "HSETNX", "HVALS"),
    *("SADD", "SCARD", "SISMEMBER", "SMEMBERS", "SREM"),
    *("ZADD", "ZCARD", "ZRANGE", "ZRANGEBYSCORE", "ZREM", "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE", "ZSCORE"),
    *("XADD", "XDEL", "XLEN", "XRANGE", "XREVRANGE", "XTRIM"),
    *("PUBLISH", "TIME"),
}
CALL = re.compile(r"redis\.p?call\(\s*'([A-Za-z]+)'(?=([^)]*))")
ANY_CALL = re.compile(r"redis\.p?call\b")
# Came with Redis 7: conditions of EXPIRE, and the scripting interface's newer parts.
NEWER = re.compile(r"redis\.(?:acl_check_cmd|register_function|REDIS_VERSION)|^#!lua", re.MULTILINE)
NEWER_OPTIONS = {
    "EXPIRE": ("'NX'", "'XX'", "'GT'", "'LT'"),
    "PEXPIRE": ("'NX'", "'XX'", "'GT'", "'LT'"),
    "PEXPIREAT": ("'NX'", "'XX'", "'GT'", "'LT'"),
}

# Hosts that packages come from. Which one a machine uses is its own business, so none is pinned in a file.
# Written in two parts, so that this file is not its own finding.
REGISTRIES = [
    first + second
    for first, second in [
        ("pypi.", "org"),
        ("files.python", "hosted.org"),
        ("registry.", "npmjs.org"),
        ("registry.", "yarnpkg.com"),
        ("registry.", "npmmirror.com"),
        ("proxy.golang", ".org"),
        ("index.", "crates.io"),
        ("registry-1.", "docker.io"),
        ("deb.", "debian.org"),
    ]
]
LOCKED_ADDRESS = re.compile(r'"resolved":|--(?:extra-)?index-url|--registry[= ]|registry\s*=\s*http')


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MODULE_PARAMETERS = [pytest.param(path, id=name(path)) for path in MODULES]


@pytest.mark.parametrize("path", MODULE_PARAMETERS)
def test_every_module_opens_with_a_docstring(path: Path) -> None:
    assert (ast.get_docstring(ast.parse(path.read_text())) or "").strip()


@pytest.mark.parametrize("path", MODULE_PARAMETERS)
def test_no_module_is_longer_than_it_may_be(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MODULE_LINES_MAX


def sleeps(source: str) -> Iterator[int]:
    """The lines that call `time.sleep`, under whichever name."""
    tree = ast.parse(source)
    modules = {"time"}
    functions: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name for alias in node.names if alias.name == "time"}
        elif isinstance(node, ast.ImportFrom) and node.module == "time" and not node.level:
            functions |= {alias.asname or alias.name for alias in node.names if alias.name == "sleep"}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr="sleep") if module in modules:
                yield node.lineno
            case ast.Name(id=function) if function in functions:
                yield node.lineno


def test_no_module_of_the_app_sleeps_the_whole_process() -> None:
    assert [f"{name(path)}:{line}" for path in MODULES for line in sleeps(path.read_text())] == []


def test_a_sleep_under_another_name_is_found() -> None:
    assert list(sleeps("import time as t\nt.sleep(1)")) == [2]
    assert list(sleeps("from time import sleep as nap\nnap(1)")) == [2]
    assert list(sleeps("import asyncio\nasyncio.sleep(1)")) == []


def header(text: str) -> str:
    """The comment a Lua file begins with."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line)
    return "\n".join(lines)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_lua_header_says_what_goes_in_and_comes_out(path: Path) -> None:
    text = path.read_text()
    head, body = header(text), text.removeprefix(header(text))
    assert len(head.splitlines()) >= 2
    if path.name.startswith("_"):
        assert "-- KEYS " in head
        assert "-- ARGV " in head
        return
    own = [int(number) for number in re.findall(r"ARGV\[(\d+)\]", body)]
    assert "-- Returns " in head
    assert ("-- ARGV " in head) == bool(own)
    if "KEYS[" in body:
        assert "-- KEYS " in head


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_key_and_argument_a_script_reads_stands_in_its_header(path: Path) -> None:
    text = path.read_text()
    head, body = header(text), text.removeprefix(header(text))
    if path.name.startswith("_"):
        return
    for word in ("KEYS", "ARGV"):
        described = re.search(rf"-- {word} (.*?)(?=\n-- (?:KEYS|ARGV|Returns)|\Z)", head, re.DOTALL)
        numbers = {int(number) for number in re.findall(rf"{word}\[(\d+)\]", body)}
        if numbers:
            assert described is not None
            missing = [number for number in sorted(numbers) if not re.search(rf"\b{number}\b", described.group(1))]
            assert missing == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_calls_only_what_redis_6_2_has(path: Path) -> None:
    text = path.read_text()
    calls = CALL.findall(text)
    assert len(calls) == len(ANY_CALL.findall(text)), "a command's name is not written out"
    assert {command for command, _ in calls} <= COMMANDS
    for command, options in calls:
        assert not any(option in options for option in NEWER_OPTIONS.get(command, ())), command
    assert not NEWER.search(text)


def tracked_texts() -> Iterator[tuple[Path, str]]:
    """The repository's text files."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise lacking("a git checkout", "the list of tracked files comes from git")
    for file in filter(None, listed.stdout.split("\0")):
        path = ROOT / file
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            yield path, content.decode("utf-8")


def test_no_tracked_file_names_a_registrys_host() -> None:
    found = [
        f"{name(path)}: {host}" for path, text in tracked_texts() for host in REGISTRIES if host in text.lower()
    ]
    assert found == []


def test_no_lock_file_says_where_its_packages_come_from() -> None:
    assert [
        name(path)
        for path, text in tracked_texts()
        if path.suffix in (".json", ".toml", ".txt", ".cfg", ".npmrc") and LOCKED_ADDRESS.search(text)
    ] == []
