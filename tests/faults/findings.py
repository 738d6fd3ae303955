"""What a check has found wrong: one finding for each receipt, member or name that is not as it should be."""

from dataclasses import dataclass

LOST = "lost"  # acknowledged, and not received by a member that was told it had missed nothing
DUPLICATED = "duplicated"  # received again by the same client
REORDERED = "reordered"  # received, or stored, out of the room's one order
UNRECOVERED = "unrecovered"  # a client that asks for recovery came back and was told `recovered` false
GHOST = "ghosts"  # a roster names somebody who is not there, or does not name somebody who is
STRANGE = "strange"  # what no client may be shown: see `checks.find_strange`
ABSENT = "absent"  # a client is not back, or not done with its sends, long after the last fault
KINDS = (LOST, DUPLICATED, REORDERED, UNRECOVERED, GHOST, STRANGE, ABSENT)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `at_s`: around when, to look into the client's connects; 0 where it has no time."""

    kind: str
    client: str
    what: str
    at_s: float = 0.0
    message: str = ""
