"""report.html: one file that needs nothing else, to look at in light, in dark and on paper."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtest.measure.results import Results

from . import tables
from .gates import Outcome
from .markup import Markup, element, joined
from .numbers import count_text, time_text
from .plots import plots, run_text
from .tables import Table

STYLE = Path(__file__).with_name("style.css")
FAULTS = ("lost", "duplicates", "order_violations", "unexpected")


def html(results: Results, outcomes: Sequence[Outcome] = ()) -> str:
    """The page of a run, as text."""
    return document(f"{results.scenario}: load test", list(_parts(results, outcomes)))


def document(title: str, parts: Sequence[Markup]) -> str:
    """A page of these parts that needs nothing else, as text."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Whatever a hostile text tries: nothing is loaded and nothing runs.
        element(
            "meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"
        ),
        element("title", title),
        element("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    body = element("body", element("main", *parts))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _parts(results: Results, outcomes: Sequence[Outcome]) -> Iterator[Markup]:
    yield _header(results, outcomes)
    yield from _banners(results)
    yield element("div", *_tiles(results), class_="tiles")
    if outcomes:
        yield element("h2", "Gates")
        yield element("div", _table(tables.gates(outcomes)), class_="card")
    yield element("h2", "Latencies")
    yield element("div", _table(tables.latencies(results)), class_="card")
    yield element("h2", "Over time and by node")
    yield element("div", *plots(results, outcomes), class_="plots")
    yield element("h2", "Counts")
    yield element("div", _table(tables.counters(results)), class_="card")
    yield from _details(results)


def _details(results: Results) -> Iterator[Markup]:
    if results.errors:
        yield element("h2", "Errors")
        yield element("div", _table(tables.errors(results)), class_="card")
    if results.examples:
        yield element("h2", "Examples of what went wrong")
        items = [element("li", element("code", text)) for text in results.examples]
        yield element("div", element("ul", *items), class_="card")
    if results.fanout_by_node:
        yield element("h2", "Nodes")
        yield element("div", _table(tables.nodes(results)), class_="card")
    yield element("h2", "Generators")
    yield element("div", _table(tables.generators(results)), class_="card")
    yield element("h2", "Circumstances")
    both = (tables.circumstances(results), tables.environment(results))
    yield element("div", *(element("div", _table(each), class_="card") for each in both), class_="columns")
    yield element("h2", "How to read this")
    yield element("div", _reading(), class_="card")


def _header(results: Results, outcomes: Sequence[Outcome]) -> Markup:
    verdict = results.verdict
    badges = [element("span", verdict.word, class_=f"badge {'good' if verdict.valid else 'bad'}")]
    failed = sum(not each.passed for each in outcomes)
    if failed:
        badges.append(element("span", f"{failed} of {len(outcomes)} gates FAILED", class_="badge bad"))
    elif outcomes:
        badges.append(element("span", f"{len(outcomes)} of {len(outcomes)} gates passed", class_="badge good"))
    else:
        badges.append(element("span", "no gates", class_="badge plain"))
    names = element("div", element("h1", results.scenario), element("p", run_text(results), class_="soft"))
    return element("header", names, element("div", *badges, class_="badges"))


def _banners(results: Results) -> Iterator[Markup]:
    verdict = results.verdict
    if not verdict.valid:
        why = element("p", element("b", "INVALID: these are not the server's figures."))
        todo = [element("p", element("b", "What to do")), _list(verdict.advice)] if verdict.advice else []
        yield element("div", why, _list(verdict.reasons), *todo, class_="banner bad")
    if notes := [*verdict.warnings, *results.notes]:
        yield element("div", element("p", element("b", "To bear in mind")), _list(notes), class_="banner warn")


def _list(texts: Sequence[str]) -> Markup:
    return element("ul", *(element("li", text) for text in texts))


def _tiles(results: Results) -> Iterator[Markup]:
    fanout, counters = results.histograms["fanout"], results.counters
    expected, delivered = counters["expected"], counters["delivered"]
    yield _tile(time_text(fanout.percentile(50)), "fan-out p50")
    yield _tile(time_text(fanout.percentile(99)), "fan-out p99")
    yield _tile(time_text(results.histograms["last_receiver"].percentile(99)), "last receiver p99")
    yield _tile(time_text(results.histograms["ack"].percentile(99)), "acknowledgement p99")
    yield _tile(count_text(round(results.deliveries_per_s)), "deliveries/s")
    yield _tile(count_text(round(results.sends_per_s)), "sends/s")
    yield _tile(count_text(results.connections_max), "connections")
    whole = "good" if expected and delivered == expected else "bad" if expected else None
    yield _tile(count_text(delivered), f"delivered of {count_text(expected)} expected", whole)
    for name in FAULTS:
        yield _tile(count_text(counters[name]), name.replace("_", " "), "bad" if counters[name] else None)


def _tile(value: str, label: str, look: str | None = None) -> Markup:
    return element("div", element("b", value, class_=look), element("span", label), class_="tile")


def _table(table: Table) -> Markup:
    heads = [
        element("th", head, class_="n" if _is_number(table, at) else None) for at, head in enumerate(table.heads)
    ]
    rows = [element("tr", *(_cell(table, at, text) for at, text in enumerate(row))) for row in table.rows]
    made = element("table", element("thead", element("tr", *heads)), element("tbody", *rows))
    return element("div", made, class_="scroll")


def _is_number(table: Table, column: int) -> bool:
    return column >= table.numeric and table.heads[column] not in ("measured", "counts")


def _cell(table: Table, column: int, text: str) -> Markup:
    look = "n" if _is_number(table, column) else "word"
    if table.heads[column] == "":
        look += " bad" if text == "FAILED" else " good"
    if table.heads[column] in ("measured", "counts"):
        look += " soft small"
    shown = element("code", text) if table.heads[column] in ("gate", "error", "value") and look == "word" else text
    return element("td", shown, class_=look)


def _reading() -> Markup:
    texts = {
        "VALID or INVALID": "Whether the generators had time to spare. INVALID figures are in part the "
        "generators' own; neither they nor the gates say anything about the server.",
        "Latency": "Fan-out counts from the time at which a message was meant to be sent, whether or not the "
        "generator or the server held it up, so that a stall shows in every message it delayed. Percentiles are "
        "at most 0.8 % too large and never too small; min and max are exact.",
        "Expected, delivered, lost": "A delivery is expected when its message was acknowledged and its receiver "
        "was in the room from before it was sent. lost = expected - delivered, always. What was on its way when a "
        "connection ended is neither.",
        "Order violations": "The fewest deliveries one would have to move so that each member saw the order that "
        "most members saw.",
    }
    pairs = [part for name, text in texts.items() for part in (element("dt", name), element("dd", text))]
    return joined([element("dl", *pairs)])
