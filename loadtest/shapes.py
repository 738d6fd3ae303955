"""How many users there are over time. `--users` is the highest count, `--stages` and `--stage-time` the steps."""

import math

from locust import LoadTestShape

from .options import Options


class Shape(LoadTestShape):
    """`shape` of the options: steps up; a ramp up and down; half of all with a spike of all in the middle."""

    abstract = True  # chosen by --shape, not by being here
    use_common_options = False  # of the web UI: the number of users is given by --users when locust starts

    def __init__(self, options: Options, users: int, spawn_rate: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stage_s = options.stage_s
        self._spawn_rate = spawn_rate
        self._levels = levels(options.shape, users, options.stages)

    def tick(self) -> tuple[int, float] | None:
        """Locust's: users and how many may be started in a second; None ends the run."""
        stage = int(self.get_run_time() / self._stage_s)  # type: ignore[no-untyped-call]
        return (self._levels[stage], self._spawn_rate) if stage < len(self._levels) else None


def levels(shape: str, users: int, stages: int) -> list[int]:
    """Users in each stage. Raises ValueError for a shape that is none."""
    up = [math.ceil(users * (stage + 1) / stages) for stage in range(stages)]
    if shape == "steps":
        return up
    if shape == "ramp":
        return [*up, *up[-2::-1]]
    if shape == "spike":
        low = math.ceil(users / 2)
        return [low] * stages + [users] + [low] * stages
    raise ValueError(f"expected steps, ramp or spike, got {shape!r}")
