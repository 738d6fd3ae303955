"""Options as locust's command line gives them, and as its web UI does: as texts."""

from typing import Any

import pytest
from locust.argument_parser import LocustArgumentParser

from loadtest.exit_codes import NOTHING
from loadtest.options import Options, add_to


def given(*options: str, **texts: Any) -> Any:
    """Parsed options; `texts` are what the web UI has put in place of some of them."""
    parser = LocustArgumentParser(add_help=False)
    add_to(parser)
    parsed = parser.parse_args(list(options))
    for name, text in texts.items():
        setattr(parsed, name, text)
    return parsed


def test_those_of_the_command_line_are_taken_as_they_are() -> None:
    found = Options.of(
        given("--talk-time", "7.5", "--gate", "lost==0", "--gate", "fanout.p99<=1s", "--rooms", "3")
    )
    assert (found.talk_s, found.gates, found.rooms) == (7.5, ("lost==0", "fanout.p99<=1s"), 3)
    assert Options.of(given()).talk_s is None


def test_texts_of_the_web_ui_become_what_they_say() -> None:
    found = Options.of(given(talk_s="30", gates="lost==0, delivered == expected\nfanout.p99<=50ms", rooms="4"))
    assert found.talk_s == 30.0
    assert found.gates == ("lost==0", "delivered == expected", "fanout.p99<=50ms")
    assert found.rooms == 4
    empty = Options.of(given(talk_s="", gates=""))
    assert (empty.talk_s, empty.gates) == (None, ())


def test_what_the_web_ui_cannot_change_is_not_shown_there() -> None:
    parser = LocustArgumentParser(add_help=False)
    add_to(parser)
    shown = {dest for dest, action in parser.args_included_in_web_ui.items() if action.include_in_web_ui}
    assert {"rate", "talk_s"} <= shown
    assert not {"shape", "stages", "stage_s"} & shown


@pytest.mark.parametrize("options", [("--gate", "fanout.p9x<=50ms"), ("--rate", "0"), ("--unknown",)])
def test_a_wrong_option_has_an_exit_code_of_its_own(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        given(*options)
    assert refused.value.code == NOTHING
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("talk_s", "soon", "talk_s: expected a number above 0, got 'soon'"),
        ("rate", 0.0, "rate: expected a number above 0, got '0.0'"),
        ("gates", "lost", "gates: expected one of"),
        ("loop", "open-ended", "loop: expected one of open, closed, got 'open-ended'"),
        ("server_processes", "(", "server_processes: expected a regular expression"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, text: Any, expected: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        Options.of(given(**{name: text}))
    assert str(refused.value).startswith(expected)
