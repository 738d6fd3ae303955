"""Writes a run's report: report.html, report.json and summary.md in one folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.measure.results import Results

from .gates import Outcome
from .html_file import html
from .json_file import json_text
from .summary import summary


@dataclass(frozen=True, slots=True)
class Written:
    """Where the files are."""

    html: Path
    json: Path
    summary: Path


def write(folder: Path, results: Results, outcomes: Sequence[Outcome] = ()) -> Written:
    """Make the folder if need be, and replace what is there of an earlier run. OSError where that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    written = Written(folder / "report.html", folder / "report.json", folder / "summary.md")
    written.html.write_text(html(results, outcomes), encoding="utf-8")
    written.json.write_text(json_text(results, outcomes), encoding="utf-8")
    written.summary.write_text(summary(results, outcomes), encoding="utf-8")
    return written
