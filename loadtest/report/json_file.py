"""report.json: everything that the report shows, for programs.

Schema, version 1. Times are µs (`_us`) or seconds (`_s`); null is "not measured".

- `version`: 1; rises when a name goes or changes its meaning, not when one is added
- `scenario`, `started`, `duration_s`, `parameters`, `environment`, `clock_error_us`, `notes`
- `verdict`: {`valid`, `reasons`, `advice`, `warnings`}: whether the generators were fast enough
- `gates`: {`passed` (true without gates), `outcomes`: [{`gate`, `passed`, `left`, `right`}]}
- `latencies`: name -> {`count`, `min_us`, `p50_us`, `p90_us`, `p99_us`, `p99_9_us`, `max_us`, `mean_us`,
  `below_zero`, `above`, `histogram`}, where `histogram` is [[lowest_us, highest_us, count], ...]
- `fanout_by_node`: node -> the same
- `counters`: name -> number; `rates`: {`deliveries_per_s`, `sends_per_s`}; `connections_max`
- `errors`: text -> number; `examples`: texts
- `series`: name -> a list, all of one length: `second`, `deliveries`, `sends`, `connections`, `bytes_in`,
  `bytes_out`, `p50_us`, `p90_us`, `p99_us`, `max_us`, `cpu_max`, `lag_max_us`
- `generators`: [{`name`, `finished`, `loop_lag`, `send_lateness` (as a latency), `series`: name -> list}]
- `servers`: name -> {`second`: [...], `cpu`: [...], `rss_bytes`: [...]}
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from loadtest.measure.histogram import Histogram, highest_us, lowest_us
from loadtest.measure.results import Moment, Results, ServerSecond
from loadtest.measure.verdict import HealthSecond

from .gates import Outcome

VERSION = 1


def json_text(results: Results, outcomes: Sequence[Outcome] = ()) -> str:
    """The file's text."""
    # A line for each name: short enough to read, and not a line for each number.
    lines = [f"{_dumps(name)}: {_dumps(value)}" for name, value in as_dict(results, outcomes).items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _dumps(value: object) -> str:
    return json.dumps(value, allow_nan=False)


def as_dict(results: Results, outcomes: Sequence[Outcome] = ()) -> dict[str, Any]:
    """The schema above."""
    verdict = results.verdict
    return {
        "version": VERSION,
        "scenario": results.scenario,
        "started": results.started,
        "duration_s": results.duration_s,
        "parameters": dict(results.parameters),
        "environment": dict(results.environment),
        "clock_error_us": results.clock_error_us,
        "notes": list(results.notes),
        "verdict": {
            "valid": verdict.valid,
            "reasons": list(verdict.reasons),
            "advice": list(verdict.advice),
            "warnings": list(verdict.warnings),
        },
        "gates": {
            "passed": all(each.passed for each in outcomes),
            "outcomes": [
                {"gate": each.gate.text, "passed": each.passed, "left": each.left, "right": each.right}
                for each in outcomes
            ],
        },
        "latencies": {name: latency(found) for name, found in results.histograms.items()},
        "fanout_by_node": {node_id: latency(found) for node_id, found in results.fanout_by_node.items()},
        "counters": dict(results.counters),
        "rates": {"deliveries_per_s": results.deliveries_per_s, "sends_per_s": results.sends_per_s},
        "connections_max": results.connections_max,
        "errors": dict(results.errors),
        "examples": list(results.examples),
        "series": columns(Moment, results.moments),
        "generators": [
            {
                "name": worker.name,
                "finished": worker.finished,
                "loop_lag": latency(worker.loop_lag),
                "send_lateness": latency(worker.send_lateness),
                "series": columns(HealthSecond, worker.seconds),
            }
            for worker in results.workers
        ],
        "servers": {name: columns(ServerSecond, seconds) for name, seconds in results.servers.items()},
    }


def latency(found: Histogram) -> dict[str, Any]:
    """A histogram's figures and its buckets."""
    p50, p90, p99, p99_9 = found.percentiles((50, 90, 99, 99.9))
    return {
        "count": found.count,
        "min_us": found.min_us,
        "p50_us": p50,
        "p90_us": p90,
        "p99_us": p99,
        "p99_9_us": p99_9,
        "max_us": found.max_us,
        "mean_us": found.mean_us,
        "below_zero": found.below_zero,
        "above": found.above,
        "histogram": [[lowest_us(index), highest_us(index), count] for index, count in found.pairs()],
    }


def columns(kind: type[Any], rows: Sequence[object]) -> dict[str, list[Any]]:
    """Rows of a dataclass as a list for each of its fields."""
    return {each.name: [getattr(row, each.name) for row in rows] for each in fields(kind)}
