"""A soak: what `broadcast` does for hours, in bounded memory, while connections break now and then."""

import random

import gevent
from locust import tag, task

from ..people import Person

LASTS_S = 1_800.0  # a connection, on average


class Soak(Person):
    """Each connection breaks after half an hour on average. Use a low `--rate`, and `--recover`."""

    @tag("soak")
    @task
    def act(self) -> None:
        """Talks or listens, and comes back."""
        breaking = gevent.spawn(self._break)
        try:
            for turn_s in self.turns() if self.sends else self.idle():
                self.say(turn_s)
        finally:
            breaking.kill()

    def _break(self) -> None:
        self.generator.talking.wait()
        while self.pause(random.expovariate(1 / LASTS_S)):
            if self.client.is_connected:
                self.client.cut()
