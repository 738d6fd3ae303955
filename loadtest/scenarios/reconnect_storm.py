"""Reconnect storms: all connections break at once, as behind a balancer that dies, while people talk."""

import gevent
from locust import tag, task

from ..people import Person


class ReconnectStorm(Person):
    """Every `--storm-every` seconds. With `--recover` nothing may be missing afterwards; read `reconnect`."""

    @tag("reconnect_storm")
    @task
    def act(self) -> None:
        """Talks as in `broadcast`, and loses its connection with everybody else."""
        breaking = gevent.spawn(self._break)
        try:
            for turn_s in self.turns() if self.sends else self.idle():
                self.say(turn_s)
        finally:
            breaking.kill()

    def _break(self) -> None:
        for storm_s in self.storms():
            self.wait_until(storm_s)
            if self.client.is_connected:  # who is still on the way back has nothing to lose
                self.client.cut()
