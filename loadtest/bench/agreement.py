"""`python -m loadtest.bench.agreement`: the same load once by `make bench`'s client and once by the load test.

What they have found of one node stands side by side: every message came to every member, and the p50s agree
within 20 % or 2 ms. That holds below saturation, on two cores that nobody else uses.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..__main__ import HERE
from ..arguments import above_zero, positive
from .children import ChildFailed, Place, spawn
from .client.paced import LATENCY_RATE_PER_S
from .command import SPARE_FILES, places
from .contenders import CONTENDERS, Missing
from .figures import Measured
from .limits import TooFewFiles, allow_files
from .lines import Group
from .options import cores
from .redis_server import RedisServer
from .report import aligned, number
from .run import Places, Plan, Run, RunFailed

SHARE = 0.2
DIFFERENCE_MS = 2.0
SPARE_S = 60.0
NOT_COMPARABLE = 2


@dataclass(frozen=True, slots=True)
class Found:
    """What one of the two says."""

    messages: int
    deliveries: int
    p50_ms: float
    p99_ms: float


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where they agree, 1 where they do not, 2 where the load test's verdict is INVALID or something failed."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.agreement", description=__doc__)
    parser.add_argument("--members", type=positive, default=500, help="of one room (%(default)s)")
    parser.add_argument("--seconds", type=above_zero, default=10.0, help="of talking (%(default)s)")
    parser.add_argument("--cores", type=cores, metavar="S,C", help="CPU numbers of the server and of the client")
    parser.add_argument("--realtime", action="store_true", help="keep others off the two cores; needs root")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        allow_files(options.members + SPARE_FILES)
        where = places(options)
        with RedisServer(where.redis) as redis:
            bench = by_bench(redis, where, options.members, options.seconds)
            found, report = by_load_test(redis, where, options.members, options.seconds)
    except (RunFailed, ChildFailed, TooFewFiles, Missing) as error:
        print(f"agreement: {error}", file=sys.stderr)
        return NOT_COMPARABLE
    print(f"{options.members} members of one node, {LATENCY_RATE_PER_S:g} messages/s for {options.seconds:g} s\n")
    print(aligned(rows(bench, found)), end="\n\n")
    verdict = report["verdict"]
    for text in (*verdict["reasons"], *verdict["warnings"]):
        print(f"the load test: {text}")
    differences = disagreements(bench, found, options.members)
    print("\n".join(differences) or "They agree.")
    if not verdict["valid"]:
        return NOT_COMPARABLE
    return 1 if differences else 0


def rows(bench: Found, found: Found) -> list[tuple[str, ...]]:
    """One below the other."""
    heads = ("measured by", "messages", "deliveries", "of each message", "p50 ms", "p99 ms")
    return [heads, *(_row(name, each) for name, each in (("make bench", bench), ("the load test", found)))]


def _row(name: str, each: Found) -> tuple[str, ...]:
    values = (each.messages, each.deliveries, each.deliveries / max(1, each.messages), each.p50_ms, each.p99_ms)
    return (name, *map(number, values))


def disagreements(bench: Found, found: Found, members: int) -> list[str]:
    """In words; none where they agree."""
    said = [
        f"{name}: {each.deliveries:,} deliveries of {each.messages:,} messages, expected {members:,} of each."
        for name, each in (("make bench", bench), ("the load test", found))
        if each.deliveries != each.messages * members or not each.messages
    ]
    apart_ms = abs(found.p50_ms - bench.p50_ms)
    if apart_ms > max(DIFFERENCE_MS, SHARE * bench.p50_ms):
        said.append(f"The p50s are {apart_ms:.2f} ms apart, more than {SHARE:.0%} and {DIFFERENCE_MS:g} ms.")
    return said


def by_bench(redis: RedisServer, where: Places, members: int, seconds: float) -> Found:
    """The line `latency` of `make bench`. Raises RunFailed and ChildFailed."""
    told: list[Measured] = []
    group = Group("room", ("latency",), members=members, measure_s=seconds, limit_s=SPARE_S + seconds)
    kit = CONTENDERS["kit"]
    Run(Plan((group,), (kit,), True, 1, where), redis, told.append).step(0, group, kit)
    figures = told[0].figures
    # Its client sends by the clock, and fails the run where a message is missing anywhere.
    messages = round(LATENCY_RATE_PER_S * seconds)
    return Found(messages, int(figures["deliveries"]), figures["p50_ms"], figures["p99_ms"])


def by_load_test(redis: RedisServer, where: Places, members: int, seconds: float) -> tuple[Found, dict[str, Any]]:
    """The scenario `broadcast`, and its report. Raises RunFailed and ChildFailed."""
    redis.forget()
    server, port = CONTENDERS["kit"].start(redis, where.server, "agreement")
    with server, tempfile.TemporaryDirectory(prefix="clusterkit-agreement-") as folder:
        given = {"--host": f"http://127.0.0.1:{port}", "--tags": "broadcast", "--users": members}
        given |= {"--spawn-rate": 100, "--rate": LATENCY_RATE_PER_S, "--senders": 1, "--message-chars": 100}
        given |= {"--talk-time": seconds, "--report": folder, "--server-processes": ""}
        command = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--headless"]
        said = run(
            command + [str(part) for pair in given.items() for part in pair], where.client, members, seconds
        )
        path = Path(folder, "report.json")
        if not path.exists():
            raise RunFailed(f"the load test made no report:\n{said}")
        report = json.loads(path.read_text())
    counters, fanout = report["counters"], report["latencies"]["fanout"]
    if not fanout["count"]:
        raise RunFailed("the load test received nothing")
    return Found(counters["sent"], fanout["count"], fanout["p50_us"] / 1e3, fanout["p99_us"] / 1e3), report


def run(command: list[str], place: Place, members: int, seconds: float) -> str:
    """What it said. Raises RunFailed where it takes too long."""
    running = spawn(command, place, {}, subprocess.PIPE, subprocess.STDOUT)
    try:
        return running.communicate(timeout=SPARE_S + seconds + members / 100)[0].decode()
    except subprocess.TimeoutExpired:
        raise RunFailed("the load test did not come to an end") from None
    finally:
        running.kill()
        running.wait()


if __name__ == "__main__":
    sys.exit(main())
