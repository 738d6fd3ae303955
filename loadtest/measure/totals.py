"""What `judging.py` counts, of a room, a part of a run or all of it."""

from dataclasses import dataclass, field, fields

from .histogram import Histogram

# Enough to find the cause, not a list of a whole outage.
EXAMPLES_MAX = 10


@dataclass
class Totals:
    """Counts over all rooms. Add them up with `plus`."""

    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    unknown: int = 0
    expected: int = 0  # deliveries: a message for each stay that must hear it
    delivered: int = 0  # of these, the ones that came
    lost: int = 0
    duplicates: int = 0  # every receipt of a message by a stay after the first
    order_violations: int = 0
    unexpected: int = 0  # never sent, refused, sent after the end or answered before the entry was asked for
    last_receiver: Histogram = field(default_factory=Histogram)  # messages that all who should have heard
    examples: list[str] = field(default_factory=list)  # what was lost, doubled or unexpected, in words

    def plus(self, *others: "Totals") -> "Totals":
        """A new one with the sums."""
        parts = (self, *others)
        numbers = {name: sum(getattr(each, name) for each in parts) for name in COUNTS}
        examples = [text for each in parts for text in each.examples][:EXAMPLES_MAX]
        last_receiver = Histogram.merged(each.last_receiver for each in parts)
        return Totals(**numbers, last_receiver=last_receiver, examples=examples)


COUNTS = tuple(each.name for each in fields(Totals) if each.type is int)
