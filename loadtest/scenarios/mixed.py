"""People: mostly idle, then a few messages, sometimes another room member's name, sometimes away and back."""

import random

from locust import tag, task

from ..people import Person

BURST = (2, 6)  # messages
TYPING_S = (0.8, 3.0)  # between two of a burst
LEAVES = 0.05  # of the pauses
AWAY_S = (1.0, 10.0)


class Mixed(Person):
    """Idle for `--idle` seconds on average (exponentially distributed), as everybody is on their own."""

    @tag("mixed")
    @task
    def act(self) -> None:
        """Lives until the run ends."""
        self.generator.talking.wait()
        while self.pause(random.expovariate(1 / self.generator.options.idle_s)):
            if random.random() < LEAVES:
                self.leave()
                self.pause(random.uniform(*AWAY_S))
                self.join()
                continue
            for _ in range(random.randint(*BURST)):
                self.say(self.generator.clock.now_s())
                if not self.pause(random.uniform(*TYPING_S)):
                    break
