"""The headline: rooms x members x rate. Some members of each room talk, by the clock; all hear everything."""

from locust import tag, task

from ..people import Person


class Broadcast(Person):
    """`--rate` messages/s in each room, by `--senders` of its members in turn."""

    @tag("broadcast")
    @task
    def act(self) -> None:
        """Talks, or listens, until the run ends."""
        self.talk()
