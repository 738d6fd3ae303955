"""A cluster that is broken for two minutes loses, repeats and reorders nothing; and the checker would tell."""

from pathlib import Path

import pytest

from tests.faults.findings import DUPLICATED, GHOST, LOST
from tests.faults.run import Plan, run
from tests.faults.schedule import KINDS
from tests.faults.verdict import Verdict

SEED = 6
MINUTES = 2.0


async def judged(plan: Plan, folder: Path) -> Verdict:
    """The verdict on a run, whose progress and findings pytest shows if the test fails."""
    verdict = await run(plan, folder, print)
    print("\n".join([*verdict.details(), verdict.line]))
    return verdict


@pytest.mark.faults
@pytest.mark.time_limit(300)
async def test_two_minutes_of_faults_lose_repeat_and_reorder_nothing(tmp_path: Path) -> None:
    verdict = await judged(Plan(SEED, MINUTES), tmp_path)
    assert set(verdict.faults) == set(KINDS)
    assert verdict.messages > 3_000
    assert verdict.recovered > 30
    assert verdict.findings == []


@pytest.mark.faults
@pytest.mark.sabotaged
@pytest.mark.time_limit(120)
async def test_without_gap_filling_messages_are_found_lost(tmp_path: Path) -> None:
    verdict = await judged(Plan(SEED, sabotage="gaps"), tmp_path)
    assert verdict.counts[LOST] > 0


@pytest.mark.faults
@pytest.mark.sabotaged
@pytest.mark.time_limit(120)
async def test_without_message_ids_messages_are_found_duplicated(tmp_path: Path) -> None:
    verdict = await judged(Plan(SEED, sabotage="ids"), tmp_path)
    assert verdict.counts[DUPLICATED] > 0


@pytest.mark.faults
@pytest.mark.sabotaged
@pytest.mark.time_limit(120)
async def test_without_the_reaper_ghosts_are_found(tmp_path: Path) -> None:
    verdict = await judged(Plan(SEED, sabotage="reaper"), tmp_path)
    assert verdict.counts[GHOST] > 0
