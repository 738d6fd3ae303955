"""Renames: what everybody in the room hears, and what changes its roster on every node."""

from locust import tag, task

from ..people import Person


class Rename(Person):
    """`--rate` renames/s in each room, by `--senders` of its members in turn. The new name is the message."""

    @tag("rename")
    @task
    def act(self) -> None:
        """Takes new names, or listens, until the run ends."""
        for turn_s in self.turns():
            self.rename(turn_s)
