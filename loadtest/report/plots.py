"""Which plots a report has, and what they show. How they are drawn is `plot.py`'s."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from loadtest.measure.histogram import Histogram
from loadtest.measure.results import Moment, Results

from . import axis
from .gates import Outcome
from .markup import Markup, element
from .numbers import bytes_text, duration_text, share_text, short_text, time_text
from .plot import Mark, Series, lines, nothing
from .spread import Span, spread

# Where the largest value is so many times the smallest, a linear axis hides the small ones.
LOG_FROM_RATIO = 30
LOOKS = ("s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8")
# Below this a distribution shows single values, not percentiles.
PERCENTILE_LAST = 99.99999

Get = Callable[[Moment], float | None]


def plots(results: Results, outcomes: Sequence[Outcome]) -> Iterator[Markup]:
    """All that there is something to show for, as figures."""
    yield _fanout_over_time(results, outcomes)
    yield _distribution(results)
    yield _by_node(results)
    yield _rates(results)
    yield _connections(results)
    yield _generator_cpu(results)
    yield _generator_lag(results)
    if results.servers:
        yield _server_cpu(results)
        yield _server_memory(results)


def figure(title: str, says: str, drawing: Markup, legend: Sequence[Series] = (), *, wide: bool = False) -> Markup:
    """A plot with its title, its legend and one sentence on how to read it."""
    keys = [element("span", element("i"), each.label, class_=each.look) for each in legend]
    caption = element(
        "figcaption",
        element("h3", title),
        element("div", *keys, class_="legend") if len(keys) > 1 else Markup(),
        element("p", says),
    )
    return element("figure", caption, drawing, class_="wide" if wide else None)


def of_moments(results: Results, label: str, look: str, get: Get, *, filled: bool = False) -> Series:
    """A line of the run's seconds."""
    return Series(label, [(moment.second, get(moment)) for moment in results.moments], look, filled)


def over_time(
    series: Sequence[Series],
    text: Callable[[float], str],
    *,
    name: str,
    tick: Callable[[float], str] | None = None,
    marks: Sequence[Mark] = (),
    least: float = 0.0,
    log: bool = False,
    wide: bool = False,
) -> Markup:
    """Lines over the time of the run. `least`: the y axis reaches at least so far."""
    times = [at for each in series for at, _ in each.points]
    values = [value for each in series for _, value in each.points if value is not None]
    values += [mark.y for mark in marks]
    if not times or not values:
        return nothing()
    x = axis.seconds(min(times), max(times))
    above = [value for value in values if value > 0]
    if log and above and max(above) >= LOG_FROM_RATIO * min(above):
        y = axis.logarithmic(min(above), max(above), tick or text)
        # An area would say that it begins at zero, which is nowhere on this axis: there it is a gap.
        series = [
            replace(each, filled=False, points=[(at, value or None) for at, value in each.points])
            for each in series
        ]
    else:
        y = axis.linear(max([*values, least]), tick or text)
    return lines(series, x, y, text, x_text=lambda at: f"second {at:g}", marks=marks, name=name, wide=wide)


def _fanout_over_time(results: Results, outcomes: Sequence[Outcome]) -> Markup:
    series = [
        of_moments(results, "max", "thin", lambda moment: moment.max_us),
        of_moments(results, "p99", "s3", lambda moment: moment.p99_us),
        of_moments(results, "p90", "s2", lambda moment: moment.p90_us),
        of_moments(results, "p50", "s1", lambda moment: moment.p50_us),
    ]
    limits = [
        Mark(each.gate.right.number, each.gate.text)
        for each in outcomes
        if each.gate.left.text.startswith("fanout.p") and each.gate.right.number is not None
    ]
    drawing = over_time(series, time_text, name="Fan-out latency over time", marks=limits, log=True, wide=True)
    says = "From the intended sending to each receiver, by the second in which it was received."
    return figure("Fan-out latency over time", says, drawing, series[::-1], wide=True)


def _distribution(results: Results) -> Markup:
    shown = {
        "fan-out": results.histograms["fanout"],
        "last receiver": results.histograms["last_receiver"],
        "acknowledgement": results.histograms["ack"],
        "connecting": results.histograms["connect"],
        "reconnecting": results.histograms["reconnect"],
    }
    series = [
        Series(label, _percentile_points(found), look)
        for (label, found), look in zip(shown.items(), LOOKS, strict=False)
        if found.count
    ]
    values = [value for each in series for _, value in each.points if value]
    says = "So many percent took at most so long. Each step to the right has ten times fewer above it."
    if not values:
        return figure("Distribution", says, nothing())
    x = axis.percentiles(max(at for each in series for at, _ in each.points))
    y = axis.logarithmic(min(values), max(values), time_text)
    drawing = lines(series, x, y, time_text, x_text=lambda at: f"{at:.6g} %", name="Latencies by percentile")
    return figure("Distribution", says, drawing, series)


def _percentile_points(found: Histogram) -> list[tuple[float, float | None]]:
    """Up to the percentile above which there is one value; the maximum stands there."""
    points: list[tuple[float, float | None]] = [(q, float(max(1, us))) for q, us in found.points() if q < 100]
    highest = found.max_us
    if points and highest is not None:
        points[-1] = (points[-1][0], float(max(1, highest)))
    return [(q, us) for q, us in points if q <= PERCENTILE_LAST]


def _by_node(results: Results) -> Markup:
    spans = []
    for node_id, found in results.fanout_by_node.items():
        p50, p99 = found.percentiles([50, 99])
        if p50 is not None and p99 is not None:
            spans.append(Span(node_id, max(0, p50), max(0, p99)))
    x = axis.linear(max((span.high for span in spans), default=1), time_text, ticks=4)
    drawing = spread(spans, x, time_text, name="Fan-out p50 and p99 by node")
    keys = [Series("p50", (), "s1"), Series("p99", (), "s3")]
    return figure("Fan-out by node", "By the node to which the receiver is connected.", drawing, keys)


def _rates(results: Results) -> Markup:
    deliveries = of_moments(results, "deliveries/s", "s1", lambda moment: moment.deliveries, filled=True)
    sends = of_moments(results, "sends/s", "s3", lambda moment: moment.sends)
    drawing = over_time([deliveries, sends], short_text, name="Deliveries and sends per second", log=True)
    says = "Received by all members together, and sent. Logarithmic where they are far apart; a gap is then 0."
    return figure("Deliveries and sends", says, drawing, [deliveries, sends])


def _connections(results: Results) -> Markup:
    series = [of_moments(results, "connections", "s2", lambda moment: moment.connections, filled=True)]
    drawing = over_time(series, short_text, name="Connections")
    return figure("Connections", "Open at the end of each second.", drawing)


def _generator_cpu(results: Results) -> Markup:
    series = [
        Series(worker.name, [(each.second, each.cpu) for each in worker.seconds], look)
        for worker, look in zip(results.workers, LOOKS, strict=False)
    ]
    drawing = over_time(series, share_text, name="CPU of the generators", least=1.0)
    left_out = f" The first {len(LOOKS)} are shown." if len(results.workers) > len(LOOKS) else ""
    return figure("Generator CPU", f"Share of one core, by process.{left_out}", drawing, series)


def _generator_lag(results: Results) -> Markup:
    series = [
        Series(worker.name, [(each.second, each.lag_max_us) for each in worker.seconds], look)
        for worker, look in zip(results.workers, LOOKS, strict=False)
    ]
    drawing = over_time(series, time_text, name="Loop lag of the generators")
    says = "The most that a generator's loop came too late, in each second: so much of a latency may be its own."
    return figure("Generator loop lag", says, drawing, series)


def _server_cpu(results: Results) -> Markup:
    series = [
        Series(name, [(each.second, each.cpu) for each in seconds], look)
        for (name, seconds), look in zip(results.servers.items(), LOOKS, strict=False)
    ]
    drawing = over_time(series, share_text, name="CPU of the server's processes", least=1.0)
    return figure("Server CPU", "Share of one core, by process.", drawing, series)


def _server_memory(results: Results) -> Markup:
    series = [
        Series(name, [(each.second, each.rss_bytes) for each in seconds], look)
        for (name, seconds), look in zip(results.servers.items(), LOOKS, strict=False)
    ]
    drawing = over_time(series, bytes_text, name="Memory of the server's processes")
    return figure("Server memory", "Resident, by process.", drawing, series)


def run_text(results: Results) -> str:
    """How long, and with how many: one line."""
    processes = len(results.workers)
    generators = f"{processes} generator process{'' if processes == 1 else 'es'}"
    return f"{results.started} · {duration_text(results.duration_s)} · {generators}"
