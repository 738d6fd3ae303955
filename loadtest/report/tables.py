"""A report's tables: heads and rows of text, for HTML and Markdown alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.measure.results import COUNTER_NAMES, HISTOGRAM_NAMES, Results
from loadtest.measure.verdict import WorkerHealth

from .gates import Outcome, found_text
from .numbers import bytes_text, count_text, share_text, time_text

PERCENTILES = (50, 90, 99, 99.9)
# More kinds of errors than these help nobody.
ERRORS_MAX = 20


@dataclass(frozen=True)
class Table:
    """`numeric`: columns from this one on are numbers."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: int = 1


def latencies(results: Results) -> Table:
    """Every histogram by its own name, those without values too."""
    heads = ("latency", "count", "min", *(f"p{q:g}" for q in PERCENTILES), "max", "mean", "measured")
    rows = []
    for name, meaning in HISTOGRAM_NAMES.items():
        found = results.histograms[name]
        times = [found.min_us, *found.percentiles(PERCENTILES), found.max_us, found.mean_us]
        rows.append((name, count_text(found.count), *map(time_text, times), meaning))
    return Table(heads, rows)


def counters(results: Results) -> Table:
    """Every counter, with what it counts."""
    return Table(
        ("counter", "value", "counts"),
        [(name, counter_text(name, results.counters[name]), meaning) for name, meaning in COUNTER_NAMES.items()],
    )


def counter_text(name: str, value: int) -> str:
    """Bytes as bytes, others as they are."""
    return bytes_text(value) if name.startswith("bytes_") else count_text(value)


def gates(outcomes: Sequence[Outcome]) -> Table:
    """What failed first."""
    rows = [
        ("passed" if each.passed else "FAILED", each.gate.text, found_text(each))
        for each in sorted(outcomes, key=lambda each: each.passed)
    ]
    return Table(("", "gate", "found"), rows, numeric=3)


def generators(results: Results) -> Table:
    """How each generator process fared."""
    heads = ("generator", "deliveries/s", "CPU mean", "CPU max", "waited", "loop lag p99", "max", "sent late p99")
    return Table(heads, [_generator(worker) for worker in results.workers])


def _generator(worker: WorkerHealth) -> tuple[str, ...]:
    loaded = worker.loaded
    shares = [each.cpu for each in loaded if each.cpu is not None]
    waits = [each.wait for each in loaded if each.wait is not None]
    return (
        worker.name,
        count_text(sum(each.deliveries for each in loaded) / len(loaded)) if loaded else count_text(None),
        share_text(sum(shares) / len(shares) if shares else None),
        share_text(max(shares, default=None)),
        share_text(sum(waits) / len(waits) if waits else None),
        time_text(worker.loop_lag.percentile(99)),
        time_text(worker.loop_lag.max_us),
        time_text(worker.send_lateness.percentile(99)),
    )


def nodes(results: Results) -> Table:
    """Fan-out by the node of the receiver."""
    heads = ("node", "deliveries", *(f"p{q:g}" for q in PERCENTILES), "max")
    rows = [
        (node_id, count_text(found.count), *map(time_text, [*found.percentiles(PERCENTILES), found.max_us]))
        for node_id, found in results.fanout_by_node.items()
    ]
    return Table(heads, rows)


def errors(results: Results) -> Table:
    """The most frequent ones."""
    ranked = sorted(results.errors.items(), key=lambda pair: -pair[1])
    rows = [(count_text(count), text) for text, count in ranked[:ERRORS_MAX]]
    if len(ranked) > ERRORS_MAX:
        rows.append((count_text(sum(count for _, count in ranked[ERRORS_MAX:])), "others"))
    return Table(("times", "error"), rows, numeric=2)


def circumstances(results: Results) -> Table:
    """Parameters of the scenario."""
    return Table(
        ("parameter", "value"), [(name, str(value)) for name, value in results.parameters.items()], numeric=2
    )


def environment(results: Results) -> Table:
    """Versions and machines."""
    clock = results.clock_error_us
    rows = [(name, value) for name, value in results.environment.items()]
    rows.append(("clocks of the generators", "one" if clock is None else f"agree within {time_text(clock)}"))
    return Table(("environment", "value"), rows, numeric=2)
