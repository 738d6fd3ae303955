"""summary.md: a run on one screen, for a terminal, a pull request or a chat."""

import re
from collections.abc import Iterator, Sequence

from loadtest.measure.results import Results

from . import tables
from .gates import Outcome
from .markup import clean
from .numbers import count_text, time_text
from .plots import run_text
from .tables import Table

# Enough for a summary; the report has all.
ERRORS_MAX = 5
# What could begin a tag; `<=` of a gate cannot.
TAG = re.compile(r"<(?=[A-Za-z/!?])")


def summary(results: Results, outcomes: Sequence[Outcome] = ()) -> str:
    """The file's text."""
    return "\n\n".join(_parts(results, outcomes)) + "\n"


def _parts(results: Results, outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield f"# {safe(results.scenario)}: {results.verdict.word}, {gates_text(outcomes)}"
    yield safe(run_text(results))
    verdict = results.verdict
    if said := [*verdict.reasons, *verdict.advice, *verdict.warnings, *results.notes]:
        yield "\n".join(f"- {safe(text)}" for text in said)
    yield " ".join(_sentences(results))
    if outcomes:
        yield markdown(tables.gates(outcomes))
    latencies = tables.latencies(results)
    yield markdown(Table(latencies.heads[:-1], [row[:-1] for row in latencies.rows if row[1] != "0"]))
    if results.errors:
        found = tables.errors(results)
        yield markdown(Table(found.heads, found.rows[:ERRORS_MAX], found.numeric))


def _sentences(results: Results) -> Iterator[str]:
    counters = results.counters
    faults = ", ".join(
        f"{count_text(counters[name])} {name.replace('_', ' ')}"
        for name in ("lost", "duplicates", "order_violations", "unexpected")
    )
    last = results.histograms["last_receiver"].percentile(99)
    yield (
        f"Delivered {count_text(counters['delivered'])} of {count_text(counters['expected'])} expected: {faults}. "
        f"{count_text(round(results.deliveries_per_s))} deliveries/s to at most "
        f"{count_text(results.connections_max)} connections; "
        f"the last receiver had it after {time_text(last)} (p99)."
    )
    if counters["not_sent"]:
        yield f"{count_text(counters['not_sent'])} were due and not sent: their senders had no connection."
    if results.clock_error_us is not None:
        yield f"The clocks of the generators agree within {time_text(results.clock_error_us)}."


def gates_text(outcomes: Sequence[Outcome]) -> str:
    """`3 of 3 gates passed`."""
    if not outcomes:
        return "no gates"
    failed = sum(not each.passed for each in outcomes)
    passed = len(outcomes) - failed
    return f"{failed} of {len(outcomes)} gates FAILED" if failed else f"{passed} of {passed} gates passed"


def markdown(table: Table) -> str:
    """Columns below one another."""
    rows = [[safe(cell) for cell in row] for row in (table.heads, *table.rows)]
    widths = [max(3, *(len(row[at]) for row in rows)) for at in range(len(table.heads))]
    rule = ["-" * (w - 1) + ":" if at >= table.numeric else "-" * w for at, w in enumerate(widths)]
    padded = [
        [
            cell.rjust(w) if at >= table.numeric else cell.ljust(w)
            for at, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        for row in (rows[0], rule, *rows[1:])
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def safe(text: str) -> str:
    """One line that is only text: no table, HTML or link can be made of it."""
    line = " ".join(clean(text).split())
    for sign in ("\\", "|", "[", "`"):
        line = line.replace(sign, f"\\{sign}")
    return TAG.sub("&lt;", line)
