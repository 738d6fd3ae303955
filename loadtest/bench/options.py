"""The command line of `make bench`: its options, and what they make of the lines' sizes.

What is then done is `command.py`'s.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from .contenders import CONTENDERS
from .lines import FULL, LINES, QUICK, Group
from .results_file import RESULTS

PAIRS = 5
ROOM_SIZE = 5
EPILOG = """examples:
  make bench                                            everything; writes {results}
  make bench ARGS="--lines one,8x8 --contenders kit,node --pairs 2"
  make bench ARGS="--quick"                             few members, a minute: whether it works, not how fast

lines:
{lines}
"""


def parser() -> argparse.ArgumentParser:
    """All options with their help."""
    lines = "\n".join(f"  {line.name:9} {line.title}" for line in LINES.values())
    made = argparse.ArgumentParser(
        prog="make bench",
        description="Compares the kit with stock python-socketio and Node's socket.io on this machine.",
        epilog=EPILOG.format(results=RESULTS.name, lines=lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--lines", type=_names(LINES), metavar="A,B", help="measure these lines only")
    made.add_argument(
        "--contenders",
        type=_names(CONTENDERS),
        metavar="A,B",
        help=f"of {', '.join(CONTENDERS)}; default all, and the kit alone for 15000",
    )
    made.add_argument("--pairs", type=_positive, metavar="N", help=f"rounds; default {PAIRS}")
    made.add_argument("--measure-s", type=float, metavar="S", help="seconds each line is measured for")
    made.add_argument("--warm-up-s", type=float, metavar="S", help="seconds before that")
    made.add_argument("--members", type=_positive, metavar="N", help="members, in lines with more than one")
    made.add_argument("--quick", action="store_true", help="few members, short, one round")
    made.add_argument("--cores", type=cores, metavar="S,C", help="CPU numbers of the server and of the client")
    made.add_argument("--realtime", action="store_true", help="keep others off the two cores; needs root")
    made.add_argument("--no-ceiling", action="store_true", help="do not measure the load client itself")
    made.add_argument("--write", action="store_true", help=f"write {RESULTS.name} whatever was measured")
    made.add_argument("--output", type=Path, default=RESULTS, metavar="FILE", help="write it there instead")
    return made


def is_full(options: argparse.Namespace) -> bool:
    """Whether everything is measured as RESULTS.md says it is."""
    changed = (options.lines, options.contenders, options.measure_s, options.warm_up_s, options.members)
    return not options.quick and all(each is None for each in changed) and (options.pairs or PAIRS) >= PAIRS


def pairs(options: argparse.Namespace) -> int:
    """The number of rounds."""
    return options.pairs or (1 if options.quick else PAIRS)


def groups(options: argparse.Namespace) -> tuple[Group, ...]:
    """The groups with the chosen lines and sizes."""
    sizes = QUICK if options.quick else FULL
    chosen = (_with_lines(group, options.lines) for group in sizes)
    return tuple(_resized(group, options) for group in chosen if group.lines)


def _with_lines(group: Group, names: list[str] | None) -> Group:
    return replace(group, lines=tuple(name for name in group.lines if names is None or name in names))


def _resized(group: Group, options: argparse.Namespace) -> Group:
    if options.measure_s is not None:
        group = replace(group, measure_s=options.measure_s)
    if options.warm_up_s is not None:
        group = replace(group, warm_up_s=options.warm_up_s)
    if options.members is None or group.members == 1:
        return group
    if not group.rooms:
        return replace(group, members=options.members)
    rooms = max(1, options.members // ROOM_SIZE)
    return replace(group, rooms=rooms, members=rooms * ROOM_SIZE)


def cores(text: str) -> tuple[int, int]:
    """`S,C`. Raises ValueError."""
    server, client = map(int, text.split(","))
    return server, client


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _names(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    def parsed(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        if wrong := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: expected of {', '.join(known)}")
        return names

    return parsed
