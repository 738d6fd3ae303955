"""Join storms: everybody leaves, and everybody connects and joins in the same moment."""

from locust import tag, task

from ..people import Person


class JoinStorm(Person):
    """Every `--storm-every` seconds. Read `connect`: it grows with the wait for the server's handshake."""

    @tag("join_storm")
    @task
    def act(self) -> None:
        """Leaves a second before each storm, and joins in it."""
        for storm_s in self.storms():
            self.wait_until(storm_s - 1)
            self.leave()
            self.wait_until(storm_s)
            self.join()
