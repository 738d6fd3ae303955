"""The three files of a report: well-formed, complete, safe with hostile texts, sensible for a run of nothing."""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.measure.collected import Collected
from loadtest.measure.figures import Figures
from loadtest.measure.results import COUNTER_NAMES, HISTOGRAM_NAMES, Results
from loadtest.report import json_file
from loadtest.report.demo import GATES, Story, demo_results, empty_results, main
from loadtest.report.folder import write
from loadtest.report.gates import Outcome, evaluate, parse
from loadtest.report.html_file import html
from loadtest.report.json_file import as_dict, json_text
from loadtest.report.markup import Markup, element
from loadtest.report.numbers import bytes_text, count_text, duration_text, time_text
from loadtest.report.plot import POINTS_MAX, Series, thinned
from loadtest.report.summary import summary

HOSTILE = (
    "</style></script><script>alert(1)</script>\" onload='x' | `a` [b](javascript:1) \x00\x1b[31m\ud800 &amp;\n# h"
)


def a_second() -> Results:
    """One delivery, in one second, and no acknowledgement."""
    figures, collected = Figures(0.0), Collected()
    figures.lane("n").record(0)
    collected.add("w", figures.to_wire(0.5, final=True))
    return collected.results(
        scenario="s",
        started="now",
        duration_s=0.5,
        totals=None,
        parameters={},
        environment={},
        servers={"redis": []},
    )


def hostile() -> Results:
    made = demo_results(Story(seconds=3))
    return replace(
        made,
        scenario=HOSTILE,
        parameters={HOSTILE: HOSTILE},
        environment={HOSTILE: HOSTILE},
        errors={HOSTILE: 3},
        examples=[HOSTILE],
        notes=[HOSTILE],
        fanout_by_node={HOSTILE: made.histograms["fanout"]},
        servers={HOSTILE: made.servers["redis"]},
        workers=[replace(made.workers[0], name=HOSTILE)],
        verdict=replace(made.verdict, reasons=[HOSTILE], advice=[HOSTILE]),
    )


RUNS = {
    "good": demo_results(Story(seconds=20)),
    "gate": demo_results(Story(slow_node="n2-c04e", seconds=30)),
    "invalid": demo_results(Story(squeezed=True, seconds=20)),
    "empty": empty_results(),
    "nothing": Collected().results(
        scenario="s", started="", duration_s=0.0, totals=None, parameters={}, environment={}
    ),
    "second": a_second(),
    "hostile": hostile(),
}


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest) -> Results:
    return RUNS[request.param]


def outcomes(results: Results) -> list[Outcome]:
    return evaluate(results, map(parse, GATES))


def tree(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>"))


def test_the_page_is_well_formed_and_needs_nothing_else(run: Results) -> None:
    page = html(run, outcomes(run))
    names = {each.tag for each in tree(page).iter()}
    assert not names & {"script", "link", "img", "iframe", "object", "image", "use", "a"}
    style = next(each.text for each in tree(page).iter("style"))
    assert style is not None
    assert "url(" not in style
    assert "@import" not in style
    attributes = {name for each in tree(page).iter() for name in each.attrib}
    assert not {name for name in attributes if name.startswith("on") or name in ("src", "href", "style")}


def test_no_file_says_nan_or_none(run: Results) -> None:
    (body,) = tree(html(run, outcomes(run))).iter("body")
    text = "".join(body.itertext())
    for said in (text, summary(run, outcomes(run)), json_text(run, outcomes(run))):
        assert not re.search(r"\b(nan|NaN|inf|Infinity|None)\b", said)


def test_nothing_is_drawn_outside_its_picture(run: Results) -> None:
    for picture in tree(html(run)).iter("svg"):
        _, _, width, height = map(float, picture.attrib["viewBox"].split())
        for each in picture.iter():
            places = [float(n) for name in ("x", "x1", "x2", "cx") if (n := each.attrib.get(name))]
            downs = [float(n) for name in ("y", "y1", "y2", "cy") if (n := each.attrib.get(name))]
            assert all(0 <= place <= width for place in places)
            assert all(0 <= down <= height for down in downs)
            path = re.findall(r"-?[\d.]+ -?[\d.]+", each.attrib.get("d", ""))
            assert all(0 <= float(p.split()[0]) <= width and 0 <= float(p.split()[1]) <= height for p in path)


def test_json_says_what_was_measured(run: Results) -> None:
    found = json.loads(json_text(run, outcomes(run)))
    assert found["counters"] == dict(run.counters)
    assert tuple(found["counters"]) == tuple(COUNTER_NAMES)
    for name in HISTOGRAM_NAMES:
        histogram, latency = run.histograms[name], found["latencies"][name]
        assert latency["count"] == histogram.count == sum(count for _, _, count in latency["histogram"])
        assert (latency["p50_us"], latency["p99_us"]) == (histogram.percentile(50), histogram.percentile(99))
        assert (latency["min_us"], latency["max_us"]) == (histogram.min_us, histogram.max_us)
    assert found["series"]["deliveries"] == [moment.deliveries for moment in run.moments]
    assert len({len(column) for column in found["series"].values()}) == 1
    assert found["verdict"]["valid"] is run.verdict.valid
    assert [each["passed"] for each in found["gates"]["outcomes"]] == [each.passed for each in outcomes(run)]


def test_the_schema_names_everything_that_is_written() -> None:
    assert json_file.__doc__ is not None
    for name in as_dict(RUNS["good"]):
        assert f"`{name}`" in json_file.__doc__


def test_hostile_texts_are_only_text() -> None:
    page = html(hostile(), outcomes(hostile()))
    assert "<script" not in page
    assert "alert(1)" in "".join(tree(page).itertext())
    for line in summary(hostile()).splitlines():
        assert "<script" not in line
        assert "\x1b" not in line
        assert not re.search(r"(?<!\\)\[b\]", line)
    rows = [line for line in summary(hostile()).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {3, 4, 10}


def test_the_verdict_and_the_gates_stand_at_the_top() -> None:
    for name, words in {
        "good": ["VALID", "5 of 5 gates passed"],
        "gate": ["VALID", "4 of 5 gates FAILED"],
        "invalid": ["INVALID", "1 of 5 gates FAILED"],
    }.items():
        found = RUNS[name]
        header = next(iter(tree(html(found, outcomes(found))).iter("header")))
        assert [each.text for each in header.iter("span")] == words
        assert summary(found, outcomes(found)).splitlines()[0] == f"# broadcast: {', '.join(words)}"
    assert [each.text for each in tree(html(RUNS["good"])).iter("span")][1] == "no gates"


def test_an_invalid_run_says_why_and_what_to_do() -> None:
    found = RUNS["invalid"]
    for text in [*found.verdict.reasons, *found.verdict.advice]:
        assert text in "".join(tree(html(found)).itertext())
        assert text in summary(found)


def test_every_figure_is_on_the_page() -> None:
    text = "".join(tree(html(RUNS["good"])).itertext())
    assert all(name in text for name in (*HISTOGRAM_NAMES, *COUNTER_NAMES, *RUNS["good"].fanout_by_node))


def test_the_files_of_an_earlier_run_are_replaced(tmp_path: Path) -> None:
    for _ in range(2):
        written = write(tmp_path / "a" / "b", RUNS["good"], outcomes(RUNS["good"]))
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == {"report.html", "report.json", "summary.md"}
    assert json.loads(written.json.read_text())["scenario"] == "broadcast"


def test_the_demo_writes_all_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert main([]) == 2


def test_the_page_of_a_long_run_stays_small() -> None:
    made = RUNS["good"]
    moments = [replace(made.moments[5], second=second) for second in range(20_000)]
    assert len(html(replace(made, moments=moments))) < 600_000


def test_thinning_keeps_the_highest_and_the_gaps() -> None:
    points = [(float(at), None if at < 100 else float(at)) for at in range(POINTS_MAX * 10)]
    found = thinned(Series("s", points, "s1")).points
    assert len(found) == POINTS_MAX
    assert found[0] == (0.0, None)
    assert found[-1][1] == points[-1][1]


def test_elements_escape_texts_and_attributes_once() -> None:
    assert element("p", "a<b&c", Markup("<br/>"), title='"x"') == '<p title="&quot;x&quot;">a&lt;b&amp;c<br/></p>'


@pytest.mark.parametrize(
    ("us", "text"),
    [(None, "–"), (0, "0 µs"), (999, "999 µs"), (1234, "1.23 ms"), (999_999, "1,000 ms"), (4_200_000, "4.2 s")],
)
def test_a_time_is_in_the_unit_that_suits(us: float | None, text: str) -> None:
    assert time_text(us) == text


def test_other_numbers_are_as_people_read_them() -> None:
    assert (count_text(1234567), count_text(12.34), count_text(None)) == ("1,234,567", "12.3", "–")
    assert (bytes_text(512), bytes_text(20_000_000)) == ("512 B", "20 MB")
    assert [duration_text(each) for each in (4.25, 59.0, 200, 7500)] == [
        "4.25 s",
        "59 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
    assert not math.isnan(RUNS["nothing"].deliveries_per_s)


def test_nothing_on_a_logarithmic_scale_is_a_gap() -> None:
    made = RUNS["good"]
    moments = [replace(each, deliveries=0 if 8 <= each.second < 12 else each.deliveries) for each in made.moments]
    (picture,) = (each for each in tree(html(replace(made, moments=moments))).iter("svg") if is_rates(each))
    lines = [each for each in picture.iter("path") if each.attrib["class"] == "line s1"]
    assert len(lines) == 2
    assert not [each for each in picture.iter("title") if "deliveries/s: 0" in (each.text or "")]


def is_rates(picture: ElementTree.Element) -> bool:
    return picture.attrib["aria-label"] == "Deliveries and sends per second"
