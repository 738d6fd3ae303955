"""What a run can be told: options of locust's command line, each with an environment variable LOADTEST_<NAME>."""

import argparse
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from locust.argument_parser import LocustArgumentParser

from .arguments import above_zero, positive
from .exit_codes import NOTHING
from .report.gates import GATE_NAMES, parse

TRANSPORTS = ("websocket", "polling", "upgrade")
LOOPS = ("open", "closed")
SHAPES = ("", "steps", "ramp", "spike")
# field -> what it may be
CHOICES = {"transport": TRANSPORTS, "loop": LOOPS, "shape": SHAPES}
# Locust looks at the shape once, when it starts.
FIXED = ("--shape", "--stages", "--stage-time")
GROUP = "Load test of a Socket.IO cluster"


@dataclass(frozen=True, slots=True)
class Options:
    """As they were given; times in seconds, rates in messages/s."""

    rooms: int
    rate: float
    senders: int
    message_chars: int
    loop: str
    transport: str
    cookies: bool
    recover: bool
    storm_every_s: float
    idle_s: float
    drain_s: float
    connect_timeout_s: float
    shape: str
    stages: int
    stage_s: float
    talk_s: float | None
    gates: tuple[str, ...]
    report: str
    server_processes: str

    @classmethod
    def of(cls, parsed: Any) -> "Options":
        """Those of locust's parsed options, in which its web UI puts texts, unchecked. Raises ValueError."""
        given = ((each, getattr(parsed, each.name)) for each in fields(cls))
        return cls(**{each.name: checked(each.name, each.type, value) for each, value in given})


def checked(name: str, kind: Any, value: Any) -> Any:
    """The value of a field of `Options`. Raises ValueError."""
    try:
        if name == "gates":
            return tuple(map(gate, texts_of(value)))
        if name == "server_processes":
            return pattern(value)
        if name in CHOICES and value not in CHOICES[name]:
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(CHOICES[name])}, got {value!r}")
        if kind in (int, float):
            return positive(str(value)) if kind is int else above_zero(str(value))
        if kind == float | None:
            return None if value in (None, "") else above_zero(str(value))
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{name}: {error}") from None
    return value


def texts_of(value: str | Iterable[str] | None) -> list[str]:
    """Several texts, or one that has them with commas or lines between."""
    texts = re.split(r"[,\n]", value) if isinstance(value, str) else value or ()
    return [text.strip() for text in texts if text.strip()]


def add_to(parser: LocustArgumentParser) -> None:
    """Adds them to locust's own. What is wrong with any of them is no verdict, so has an exit code of its own."""

    def refuse(message: str) -> NoReturn:
        parser.print_usage(sys.stderr)
        print(f"{parser.prog}: error: {message}", file=sys.stderr)
        raise SystemExit(NOTHING)

    parser.error = refuse  # type: ignore[method-assign]
    group = parser.add_argument_group(GROUP, "Choose the scenario with --tags; the default is broadcast.")

    def add(name: str, text: str, default: Any = None, **how: Any) -> None:
        variable = "LOADTEST_" + name.removeprefix("--").upper().replace("-", "_")
        shown = text if default in (None, "") else f"{text} (default {default})"
        given = {} if default is None else {"default": default}
        action: Any = group.add_argument(name, env_var=variable, help=shown.replace("%", "%%"), **given, **how)
        action.include_in_web_ui = name not in FIXED

    def number(name: str, text: str, default: int) -> None:
        add(name, text, default, type=positive, metavar="N")

    def seconds(name: str, text: str, default: float | None, field: str) -> None:
        add(name, text, default, type=above_zero, metavar="S", dest=field)

    number("--rooms", "rooms that the users are spread over", 1)
    add("--rate", "messages/s in each room, or renames, by all its senders together", 20.0, type=above_zero)
    number("--senders", "how many of a room's members send; its rate is divided among them", 10)
    number("--message-chars", "characters of a message's text", 100)
    loops = "open: by the clock; closed: a sender's next message follows its acknowledgement"
    add("--loop", loops, "open", choices=LOOPS)
    add("--transport", "how users connect", "websocket", choices=TRANSPORTS)
    add("--drop-cookies", "no cookies are kept: no balancer can be sticky", action="store_false", dest="cookies")
    add("--recover", "connect with connection state recovery", action="store_true")
    seconds("--storm-every", "seconds between two storms", 10.0, "storm_every_s")
    seconds("--idle", "mixed: seconds that people are idle, on average", 20.0, "idle_s")
    seconds("--talk-time", "seconds that people talk, once all have joined; then the run ends", None, "talk_s")
    seconds("--drain", "seconds to wait at most, at the end, for what is under way", 10.0, "drain_s")
    seconds("--connect-timeout", "seconds that connecting may take", 20.0, "connect_timeout_s")
    shapes = "users over time: steps, ramp (up and down) or spike; --users is the highest"
    add("--shape", shapes, "", choices=SHAPES)
    number("--stages", "how many steps a shape has", 5)
    seconds("--stage-time", "seconds of a step", 15.0, "stage_s")
    gates = "what must hold, or the exit code is 1; may be given again: 'fanout.p99<=50ms', 'lost==0', "
    gates += f"'delivered==expected'. Figures: {', '.join(GATE_NAMES)}"
    add("--gate", gates, dest="gates", action="append", type=gate, metavar="CONDITION")
    add("--report", "folder for report.html, report.json and summary.md", "loadtest-report", metavar="FOLDER")
    servers = "regular expression: processes here with such a command line are shown with CPU and memory"
    add("--server-processes", servers, DEFAULT_PROCESSES, type=pattern, metavar="RE")


DEFAULT_PROCESSES = r"app\.cli serve|clusterkit serve|app\.main|redis-server|nginx: worker|haproxy "


def gate(text: str) -> str:
    """A condition that `report.gates` understands. Raises ArgumentTypeError."""
    try:
        parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def pattern(text: str) -> str:
    """A regular expression. Raises ArgumentTypeError."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"expected a regular expression, got {text!r}: {error}") from None
    return text
