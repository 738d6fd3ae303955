"""Reconnect storms: all connections break at once, as behind a balancer that dies, while people talk."""

from collections.abc import Iterator

from locust import tag, task

from ..people import Person


class ReconnectStorm(Person):
    """Every `--storm-every` seconds. With `--recover` nothing may be missing afterwards; read `reconnect`."""

    @tag("reconnect_storm")
    @task
    def act(self) -> None:
        """Talks as in `broadcast`, and loses its connection with everybody else."""
        self.talk_and_lose(self._storms())

    def _storms(self) -> Iterator[float]:
        for storm_s in self.storms():
            self.wait_until(storm_s)
            yield storm_s
