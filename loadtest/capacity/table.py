"""What `make capacity` found, as a sizing table and as a page with plots."""

from collections.abc import Iterator, Sequence

from ..report.axis import logarithmic
from ..report.html_file import document
from ..report.markup import Markup, element
from ..report.numbers import count_text, time_text
from ..report.plot import Mark, Series, lines
from ..report.plots import LOOKS, figure
from .search import Capacity, Probe

HEADS = (
    *("nodes", "rooms", "members of each", "messages/s in all", "deliveries/s", "p50", "p99", "busiest node"),
    "ended by",
)


def markdown(found: Sequence[Capacity], target_us: int, seconds: float) -> str:
    """The table, and what of it was measured."""
    rows = [HEADS, tuple("---" for _ in HEADS), *(_row(each) for each in found)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    notes = "\n".join(f"- {note}" for note in _notes(found, target_us, seconds))
    return f"# What this cluster holds at p99 <= {time_text(target_us)}\n\n{table}\n\n{notes}\n"


def _row(each: Capacity) -> tuple[str, ...]:
    shape, best = each.shape, each.best
    first = (str(shape.nodes), str(shape.rooms), count_text(shape.members))
    if best is None:
        return (*first, "none", "none", "", "", "", each.limit)
    load = best.load
    figures = (count_text(round(load.rate * load.rooms)), count_text(round(load.deliveries_s)))
    node = f"{best.node_cpu:.0%} of a core" if best.node_cpu is not None else "unknown"
    return (*first, *figures, time_text(best.p50_us), time_text(best.p99_us), node, each.limit)


def _notes(found: Sequence[Capacity], target_us: int, seconds: float) -> Iterator[str]:
    yield (
        f"Measured: every row, by runs of {seconds:g} s each; the true limit is between the row's rate and the "
        "next one that was tried (at most 1.2 times as high), or above it where the generator ended the search."
    )
    yield (
        "Measured on one machine: nodes, Redis and the generator share its cores, so more nodes than cores do not "
        "add up here."
    )
    if any(each.limit == "the generator" for each in found):
        yield (
            "Where the generator ended the search the cluster holds more than the row says: give the generators "
            "cores of their own (--processes), or another machine."
        )
    yield from _memory(found)
    yield (
        "Extrapolated, where you read it so: a node's share of one core grows in proportion to its deliveries/s, "
        "and nodes on cores of their own add up until Redis is the limit. Neither is measured here."
    )


def _memory(found: Sequence[Capacity]) -> Iterator[str]:
    """By the very first run: later ones use again what the cluster has taken before."""
    first = found[0].probes[0]
    if first.rss_bytes is None or first.rss_bytes[1] <= first.rss_bytes[0]:
        return
    growth = (first.rss_bytes[1] - first.rss_bytes[0]) / first.load.connections
    yield (
        f"Measured: the nodes' memory grew by {growth / 1000:.1f} kB for each of the first "
        f"{count_text(first.load.connections)} connections and what they said. Extrapolated from it: "
        f"{count_text(int(1e9 / growth))} connections in 1 GB."
    )


def page(found: Sequence[Capacity], target_us: int, seconds: float) -> str:
    """capacity.html."""
    title = f"What this cluster holds at p99 <= {time_text(target_us)}"
    head = element("tr", *(element("th", text) for text in HEADS))
    rows = [element("tr", *(element("td", text) for text in _row(each))) for each in found]
    table = element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")
    notes = element("ul", *(element("li", note) for note in _notes(found, target_us, seconds)))
    return document(
        title,
        [
            element("header", element("h1", title)),
            element("div", _plot(found, target_us), class_="plots"),
            element("div", table, class_="card"),
            element("div", notes, class_="card"),
        ],
    )


def _plot(found: Sequence[Capacity], target_us: int) -> Markup:
    series = [
        Series(_label(each), _points(each.probes), LOOKS[number % len(LOOKS)]) for number, each in enumerate(found)
    ]
    xs = [x for each in series for x, _ in each.points] or [1.0]
    ys = [y for each in series for _, y in each.points if y] or [1.0]
    drawing = lines(
        series,
        logarithmic(min(xs), max(xs), lambda value: count_text(round(value))),
        logarithmic(min(*ys, target_us), max(*ys, target_us), time_text),
        time_text,
        x_text=lambda value: f"{count_text(round(value))} deliveries/s",
        marks=[Mark(target_us, "target")],
        name="Fan-out p99 by deliveries per second",
        wide=True,
    )
    says = "Fan-out p99 at each rate that was tried, without runs that lost anything or whose generator was slow."
    return figure("Latency by load", says, drawing, series, wide=True)


def _label(each: Capacity) -> str:
    shape = each.shape
    return f"{shape.nodes} nodes, {shape.rooms} × {count_text(shape.members)}"


def _points(probes: Sequence[Probe]) -> list[tuple[float, float | None]]:
    good = [each for each in probes if each.valid and not each.lost and each.p99_us]
    return sorted((each.load.deliveries_s, float(each.p99_us or 0)) for each in good)
