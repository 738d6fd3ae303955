"""The load test of compose.yaml takes every option from the environment, and deploy/README.md says which."""

import re

from locust.argument_parser import LocustArgumentParser

from loadtest.options import add_to
from tests.cli.running import ROOT

# Where the container has a volume.
FIXED = {"LOADTEST_REPORT"}
COMPOSE = (ROOT / "compose.yaml").read_text()
SERVICES = COMPOSE[COMPOSE.index("  loadtest-master:") : COMPOSE.index("\nnetworks:")]
DEPLOY = (ROOT / "deploy/README.md").read_text()


def variables() -> set[str]:
    parser = LocustArgumentParser(add_help=False)
    add_to(parser)
    return set(re.findall(r"LOADTEST_[A-Z_]+", parser.format_help()))


def test_every_option_reaches_the_master() -> None:
    passed = set(re.findall(r"^      ([A-Z_]+):", SERVICES, re.MULTILINE))
    assert variables() - FIXED <= passed
    assert {name for name in passed if name.startswith("LOADTEST_")} <= variables()


def test_every_variable_of_the_load_test_is_documented() -> None:
    used = set(re.findall(r"\b(?:LOADTEST|LOCUST)_[A-Z_]+", SERVICES))
    assert {name for name in used if f"`{name}`" not in DEPLOY} == set()
