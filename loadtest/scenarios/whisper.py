"""Whispers, both ways between two members of a room who sit together; nobody else may hear them."""

from locust import tag, task

from ..client.packets import Batch
from ..measure.stay import Stay
from ..people import Person


class Whisper(Person):
    """`--rate` whispers/s in each room, by `--senders` of its members. For the ledger a pair is a room."""

    named = True

    def sit(self) -> None:
        """It takes part in its pair as well."""
        super().sit()
        self.partner = self.generator.beside(self.seat)
        self.pair = f"{self.seat.room}|{min(self.seat.sender, self.partner.sender)}"
        self.pair_stay: Stay | None = None

    def entered(self, now_s: float) -> None:
        """In the room and in the pair."""
        super().entered(now_s)
        self.pair_stay = self.enter(self.pair, now_s)

    def stays(self) -> list[Stay]:
        """Of the room and of the pair."""
        return [stay for stay in (self.stay, self.pair_stay) if stay is not None]

    def hear(self, packets: Batch, now_s: float) -> None:
        """A whisper of others is unexpected in the room."""
        found = self.generator.found(packets, self.pair)
        mine = (self.seat.sender, self.partner.sender)
        now_s += self.generator.clock.offset_s
        for message in found.messages:
            stay = self.pair_stay if message.sender in mine else self.stay
            if stay is not None:
                stay.heard(message.id, now_s)
                self.measured(now_s, [message.intended_us])

    @tag("whisper")
    @task
    def act(self) -> None:
        """Whispers to its partner, or waits for whispers, until the run ends."""
        self.generator.talking.wait()
        for turn_s in self.turns() if self.generator.is_taken(self.partner) else self.idle():
            self.say(turn_s, to=f"p{self.partner.sender}", room=self.pair)
