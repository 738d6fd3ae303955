"""A soak: what `broadcast` does for hours, in bounded memory, while connections break now and then."""

import random
from collections.abc import Iterator

from locust import tag, task

from ..people import Person

LASTS_S = 1_800.0  # a connection, on average


class Soak(Person):
    """Each connection breaks after half an hour on average. Use a low `--rate`, and `--recover`."""

    @tag("soak")
    @task
    def act(self) -> None:
        """Talks or listens, and comes back."""
        self.talk_and_lose(self._breaks())

    def _breaks(self) -> Iterator[None]:
        self.generator.talking.wait()
        while self.pause(random.expovariate(1 / LASTS_S)):
            yield
