"""Planted faults are counted one for one, however members are spread over processes, and in parts or at once."""

from dataclasses import asdict

import pytest

from loadtest.measure.judging import judge
from loadtest.measure.totals import Totals

from .simulated import IN_FLIGHT_S, Counts, Simulation


def counted(found: Totals) -> dict[str, int]:
    return {name: getattr(found, name) for name in asdict(Counts())}


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(25))
def test_the_counts_are_the_planted_ones(seed: int, processes: int) -> None:
    simulation = Simulation(seed)
    (wires,) = simulation.run(processes)
    assert counted(judge(wires, in_flight_s=IN_FLIGHT_S)) == asdict(simulation.truth)


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("seed", range(10))
def test_a_run_settled_in_parts_has_the_same_counts(seed: int, processes: int) -> None:
    simulation = Simulation(seed)
    parts = simulation.run(processes, settle_s=(5.0, 10.0, 20.0))
    assert len(parts) == 4
    found = counted(Totals().plus(*(judge(wires, in_flight_s=IN_FLIGHT_S) for wires in parts)))
    planted = asdict(simulation.truth)
    # Two messages on different sides of a border are not compared.
    borders = planted["order_violations"] - found.pop("order_violations")
    assert 0 <= borders <= 6
    del planted["order_violations"]
    assert found == planted
