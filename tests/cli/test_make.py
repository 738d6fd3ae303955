"""Under `make`, which treats signals in ways of its own, `clusterkit up` stops as it does alone."""

import shlex
import signal
from pathlib import Path

import pytest

from .conftest import NODES, Start
from .running import STUB, command, eventually, is_running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_make_alone_leaves_no_process(
    start: Start, make: str, redis_program: str, port: int, tmp_path: Path, number: signal.Signals
) -> None:
    recipe = shlex.join(command("up", "--with-parent", "--app", STUB))
    (tmp_path / "Makefile").write_text(f"up:\n\t@exec {recipe}\n")
    making = start([make, "up"], PORT=str(port), NODES=str(NODES))
    making.says("^ready:")
    making.end(number)
    eventually(lambda: not any(is_running(pid) for pid in making.pids()))
    assert "stopping" in making.text


def test_the_makefile_runs_it_the_same_way() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert "@exec $(BIN)/clusterkit up --with-parent" in makefile
