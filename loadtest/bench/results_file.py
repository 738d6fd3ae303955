"""RESULTS.md: the table of a full run with everything it depends on; and the raw samples beside it, as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .children import ROOT
from .figures import Measured
from .lines import LINES
from .redis_server import PERSISTENCE
from .report import aligned, ceiling, details, table

RESULTS = Path(__file__).parent / "RESULTS.md"
RAW = ROOT / ".run" / "bench" / "samples.json"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the figures hold for."""

    command: str
    date: str
    machine: str
    versions: Sequence[str]
    notes: Sequence[str]
    pairs: int


def results(samples: Sequence[Measured], contenders: Sequence[str], around: Circumstances) -> str:
    """The file's text."""
    measured = [line for line in LINES.values() if any(each.line == line.name for each in samples)]
    parts = [
        "# What `make bench` measured",
        f"`{around.command}`, {around.date}.",
        f"Machine: {around.machine}. One core for the server, another for the load client and Redis.",
        f"Redis: one for all, on a unix socket, {PERSISTENCE}.",
        f"Versions: {', '.join(around.versions)}.",
        f"Rounds: {around.pairs}, in each of which the contenders took turns. The figures are medians; a ratio is "
        "the kit's median by the other's, with the smallest and the largest ratio of one round. The last columns "
        "are shares of one core; `others` is what else ran on these two.",
        aligned(table(samples, contenders)),
        "\n".join(f"- {text}" for text in details(samples, contenders)),
        "## The load client's own ceiling",
        "\n".join(f"- {text}" for text in ceiling(samples)),
        "## How each line is measured",
        "\n".join(f"- **{line.title}**: {line.how}" for line in measured),
        "\n".join(f"- {note}" for note in around.notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_raw(samples: Sequence[Measured], path: Path) -> None:
    """All samples of the run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(each) for each in samples], indent=1) + "\n")
