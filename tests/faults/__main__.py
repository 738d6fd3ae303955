"""`python -m tests.faults`: one run, its progress, and one line that says what came of it."""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from .run import Plan, run
from .schedule import SABOTAGED
from .verdict import Verdict

FAILED = 1
CANNOT_RUN = 2

DESCRIPTION = """\
Break a cluster on purpose, and check what its clients saw.

Three nodes behind haproxy, forty clients that send numbered messages, and a schedule of faults made from the
seed: nodes killed, stopped, cut off from Redis and restarted, Redis cut off, stopped and restarted, clients cut
off. The last line is one of key=value:

  messages     sent                  unknown      of these never acknowledged, neither good nor bad
  receipts     of messages           recovered    reconnects that were told so
  lost         acknowledged, and not received by a member that was told it missed nothing
  duplicated   received twice        reordered    received out of the room's one order
  unrecovered  reconnects of clients that ask for recovery which were told `recovered` false
  ghosts       names wrongly in a roster, or missing from one, 10 s after the last fault
  strange      offsets and answers that no client may see
  absent       clients not back, or not done, long after the last fault

Exit code: 0 when everything from `lost` on is 0. 1 when not; then the details are printed and the logs kept. 2
when the machine lacks something."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "python -m tests.faults", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="what the schedule is made from (default: 1)")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long to send and break (default: 2)")
    parser.add_argument(
        "--sabotage",
        choices=sorted(SABOTAGED),
        help="check the checker: run the nodes without this, with a short schedule of its own; it must then fail",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcome, with all findings, there")
    return parser.parse_args()


def main() -> int:
    """Runs it; returns the exit code."""
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="clusterkit-faults-"))
    print(f"logs: {folder}", flush=True)
    try:
        verdict = asyncio.run(run(Plan(options.seed, options.minutes, options.sabotage), folder, _say))
    except (pytest.skip.Exception, pytest.fail.Exception) as lack:
        print(f"faults: {lack}", file=sys.stderr)
        shutil.rmtree(folder)
        return CANNOT_RUN
    except AssertionError as broken:
        print(f"faults: the run broke off: {broken}\nlogs: {folder}", file=sys.stderr)
        return FAILED
    if options.json is not None:
        options.json.write_text(json.dumps(verdict.as_json(), indent=1))
    return _tell(verdict, folder)


def _tell(verdict: Verdict, folder: Path) -> int:
    if verdict.ok:
        shutil.rmtree(folder)
    else:
        print("\n".join(verdict.details()))
        print(f"logs, and all that each client saw (record.jsonl): {folder}")
    print("faults: " + ", ".join(f"{count} {kind}" for kind, count in sorted(verdict.faults.items())))
    print(verdict.line, flush=True)
    return 0 if verdict.ok else FAILED


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
