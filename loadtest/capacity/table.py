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
    growth = _bytes_a_connection(found)
    if growth is not None:
        more = count_text(int(1e9 / growth))
        yield (
            f"Measured: {growth / 1000:.1f} kB of the nodes' memory for each connection more. Extrapolated from "
            f"it: {more} idle connections in 1 GB."
        )
    yield (
        "Extrapolated, where you read it so: a node's share of one core grows in proportion to its deliveries/s, "
        "and nodes on cores of their own add up until Redis is the limit. Neither is measured here."
    )


def _bytes_a_connection(found: Sequence[Capacity]) -> float | None:
    """By the first runs of the smallest and the largest number of connections on as many nodes."""
    sized = [(each.shape, each.probes[0].rss_bytes) for each in found if each.probes and each.probes[0].rss_bytes]
    if not sized:
        return None
    nodes = sized[0][0].nodes
    points = sorted((shape.connections, rss) for shape, rss in sized if shape.nodes == nodes and rss is not None)
    (least, base), (most, top) = points[0], points[-1]
    return (top - base) / (most - least) if most > least and top > base else None


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
