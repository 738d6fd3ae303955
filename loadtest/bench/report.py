"""The table, for the terminal and for Markdown alike: a row for each line and contender, then one for each ratio.

Where the texts go is `options.py`'s and `results_file.py`'s.
"""

from collections.abc import Iterator, Sequence

from .figures import Measured, Ratio, is_met, median_of, median_share, of, ratio
from .lines import LINES, Line
from .trivial_server import BATCHES

BUSY_SHARE = 0.95
DISTURBING_SHARE = 0.15
HEADS = (
    *("line", "contender", "median", "min..max", "kit's ratio (min..max)", "goal"),
    *("server", "client", "Redis", "others"),
)
DETAILS = {
    "server_us": "{} µs of the server's core per delivery",
    "p50_ms": "p50 {} ms",
    "p99_ms": "p99 {} ms",
    "deliveries": "{} deliveries",
    "missing": "{} missing",
    "accepts_per_s": "{} accepts/s",
    "kb_per_connection": "{} kB per idle connection",
    "server_mb": "the server's memory {} MB",
}
PROCESSES = ("server", "client", "redis", "others")


def table(samples: Sequence[Measured], contenders: Sequence[str]) -> list[tuple[str, ...]]:
    """Heads, then rows, as text."""
    rows: list[tuple[str, ...]] = [HEADS]
    for line in LINES.values():
        for contender in contenders:
            if found := of(samples, line.name, contender):
                rows.append(_row(line, contender, found, of(samples, line.name, "kit")))
    return rows


def _row(line: Line, contender: str, found: Sequence[Measured], kits: Sequence[Measured]) -> tuple[str, ...]:
    values = [each.figures[line.figure] for each in found]
    against = ratio(kits, found, line.figure) if contender != "kit" else None
    return (
        f"{line.title}, {line.unit}",
        contender,
        number(median_of(found, line.figure)),
        f"{number(min(values))}..{number(max(values))}",
        _ratio_text(against),
        _goal_text(line, contender, against) or _delivered_text(found),
        *(_share(median_share(found, process)) for process in PROCESSES),
    )


def _ratio_text(found: Ratio | None) -> str:
    return f"{found.median:.2f} ({found.low:.2f}..{found.high:.2f})" if found else ""


def _goal_text(line: Line, contender: str, found: Ratio | None) -> str:
    for goal in line.goals:
        if goal.other == contender and found:
            sign = "≤" if goal.at_most or not line.more_is_better else "≥"
            return f"{sign} {goal.ratio:g}: {'met' if is_met(line, found, goal) else 'NOT met'}"
    return ""


def _delivered_text(found: Sequence[Measured]) -> str:
    missing = [each.figures["missing"] for each in found if "missing" in each.figures]
    return f"all delivered: {'NOT met' if any(missing) else 'met'}" if missing else ""


def details(samples: Sequence[Measured], contenders: Sequence[str]) -> list[str]:
    """What a line's one figure leaves out, and what to bear in mind, one sentence each."""
    told = [
        f"{line.title}, {contender}: {text}."
        for line in LINES.values()
        for contender in contenders
        for text in _details(line, of(samples, line.name, contender))
    ]
    others = median_share([each for each in samples if each.contender in contenders], "others") or 0
    if others > DISTURBING_SHARE:
        told.append(
            f"Something else ran on the two cores, for {others:.0%} of a core's time (median): the figures "
            "are too low and their spread too wide; measure again on a quiet machine."
        )
    return told


def _details(line: Line, found: Sequence[Measured]) -> Iterator[str]:
    figures = {name: median_of(found, name) for name in DETAILS if name != line.figure}
    known = [DETAILS[name].format(number(value)) for name, value in figures.items() if value is not None]
    if known:
        yield ", ".join(known)
    if (median_share(found, "client") or 0) > BUSY_SHARE:
        yield "the load client was busy all the time and may be what limits this figure"
    if any(each.cut for each in found):
        yield "not all that was sent had come 10 s after the last message, the rest was not waited for"


def ceiling(samples: Sequence[Measured]) -> list[str]:
    """What the load client takes from a server that only writes."""
    return [_ceiling(each) for each in samples if each.contender == "trivial"]


def _ceiling(sample: Measured) -> str:
    shares = sample.cpu or {}
    rate = number(sample.figures["deliveries_per_s"])
    return (
        f"{BATCHES[sample.line]} frame(s) a write: {rate} deliveries/s, {_share(shares.get('client'))} of the "
        f"client's core and {_share(shares.get('server'))} of the server's"
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def number(value: float | None) -> str:
    """A figure as people read it: 1,234,567, 12.3, 0.123."""
    if value is None:
        return ""
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """As a Markdown table whose columns stand below one another."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    ruled = [rows[0], ["-" * width for width in widths], *rows[1:]]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in ruled]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)
