"""`make capacity`: a sizing table, measured on this machine. `--help` lists what can be varied."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..__main__ import HERE, cluster
from ..arguments import above_zero, positive
from ..ports import free_ports
from .search import RUNS_MAX, Capacity, Load, Probe, search
from .table import markdown, page

SPAWN_RATE = 200
SPARE_S = 120
INTERRUPTED = 130
# The server processes of a report that are nodes: not Redis, not a balancer.
NODE = re.compile(r"app\.cli serve|clusterkit serve|app\.main")


def main() -> int:
    """0, and the folder has capacity.md, capacity.html and capacity.json; also of a search that was cut short."""
    parser = argparse.ArgumentParser(prog="make capacity", description=__doc__)
    add = parser.add_argument
    add(
        "--nodes",
        type=positive,
        nargs="+",
        default=nodes(),
        help="of the cluster, by the machine's cores (%(default)s)",
    )
    add("--rooms", type=positive, nargs="+", default=[1, 20], help="that the connections are in (%(default)s)")
    add("--connections", type=positive, nargs="+", default=[100, 1000], help="in all rooms (%(default)s)")
    add("--target-ms", type=above_zero, default=50, help="fan-out p99, at most (%(default)s)")
    add("--seconds", type=above_zero, default=6, help="of talking in each run (%(default)s)")
    add("--runs", type=positive, default=RUNS_MAX, help="for each row of the table, at most (%(default)s)")
    add("--processes", type=positive, default=1, help="generators (%(default)s)")
    add("--report", type=Path, default=Path("capacity-report"), help="folder (%(default)s)")
    options = parser.parse_args()
    if max(options.rooms) > min(options.connections):
        parser.error("--rooms: more rooms than connections, so that some would be empty")
    found: list[Capacity] = []
    exit_code = 0
    try:
        options.report.mkdir(parents=True, exist_ok=True)
        for row in measure(options):
            found.append(row)
    except KeyboardInterrupt:
        exit_code = INTERRUPTED
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        print(f"capacity: {error}", file=sys.stderr)
        exit_code = 1
    if found:
        write(found, options)
    return exit_code


def write(found: Sequence[Capacity], options: argparse.Namespace) -> None:
    """The table, in the folder and on the terminal."""
    target_us = int(options.target_ms * 1000)
    text = markdown(found, target_us, options.seconds)
    (options.report / "capacity.md").write_text(text)
    (options.report / "capacity.html").write_text(page(found, target_us, options.seconds))
    (options.report / "capacity.json").write_text(json.dumps([asdict(each) for each in found], indent=1))
    print(f"\n{text}\nThe plots are in {options.report / 'capacity.html'}")


def measure(options: argparse.Namespace) -> Iterator[Capacity]:
    """One after the other, with a line for each run."""
    target_us = int(options.target_ms * 1000)
    for nodes in options.nodes:
        with cluster(NODES=str(nodes)) as url:
            for connections in sorted(options.connections, reverse=True):  # its memory grows once
                for rooms in options.rooms:
                    shape = Load(nodes, rooms, connections // rooms, 0.0)
                    print(f"{nodes} nodes, {rooms} rooms of {shape.members}:", flush=True)
                    yield search(shape, target_us, lambda load: run(url, load, options), runs_max=options.runs)


def nodes() -> list[int]:
    """1, and twice as many while two cores are left, for Redis and the generator."""
    cores = len(os.sched_getaffinity(0))
    return [1] + [count for count in (2, 4, 8) if count <= cores - 2]


def run(url: str, load: Load, options: argparse.Namespace) -> Probe:
    """One run of locust. Raises RuntimeError where it says nothing."""
    with tempfile.TemporaryDirectory(prefix="clusterkit-capacity-") as folder:
        given: dict[str, Any] = {"--host": url, "--tags": "broadcast", "--users": load.connections}
        given |= {"--spawn-rate": SPAWN_RATE, "--rooms": load.rooms, "--rate": load.rate}
        given |= {"--talk-time": options.seconds, "--report": folder}
        if options.processes > 1:
            port = free_ports(1)
            given |= {"--processes": options.processes, "--master-bind-port": port, "--master-port": port}
        command = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--headless"]
        command += [str(part) for pair in given.items() for part in pair]
        limit_s = SPARE_S + options.seconds + load.connections / SPAWN_RATE
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
        path = Path(folder) / "report.json"
        if not path.exists():
            raise RuntimeError(f"the load test ended with {done.returncode}:\n{done.stderr}")
        probe = probe_of(load, json.loads(path.read_text()))
    p99 = f"{probe.p99_us / 1000:.1f} ms" if probe.p99_us is not None else "none"
    wrong = "" if probe.valid else f", INVALID: {probe.why}"
    print(f"  {load.deliveries_s:>11,.0f} deliveries/s: p99 {p99}, {probe.lost} lost{wrong}", flush=True)
    return probe


def probe_of(load: Load, report: dict[str, Any]) -> Probe:
    """What a report.json says."""
    fanout, verdict = report["latencies"]["fanout"], report["verdict"]
    nodes = [each for name, each in report["servers"].items() if NODE.match(name)]
    busy = [sorted(each["cpu"])[int(len(each["cpu"]) * 0.8)] for each in nodes if each["cpu"]]
    sizes = [each["rss_bytes"] for each in nodes if each["rss_bytes"]]
    return Probe(
        load,
        fanout["p50_us"],
        fanout["p99_us"],
        report["counters"]["lost"],
        verdict["valid"],
        " ".join(verdict["reasons"]),
        max(busy, default=None),
        (sum(each[0] for each in sizes), sum(each[-1] for each in sizes)) if sizes else None,
        report["counters"]["users"] - report["counters"]["joined"],
    )


if __name__ == "__main__":
    sys.exit(main())
