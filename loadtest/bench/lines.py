"""What is measured: each line, its unit, its targets, and the sizes of a full and of a quick run.

Lines that can share their connections are measured together, as one `Group`: a fresh server and a fresh load
client for each contender and round.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked of the ratio of the kit's figure to another contender's: to be as good, or `at_most`."""

    other: str
    ratio: float
    at_most: bool = False


# Deliveries that carry offsets may be at most 15 % fewer.
RECOVERY_GOAL = Goal("recovery", round(1 / 0.85, 2), at_most=True)
WITH_RECOVERY = ("kit", "recovery", "node", "stock")


@dataclass(frozen=True, slots=True)
class Line:
    """`figure` is the one that is compared; `how` is how it is measured, in one sentence."""

    name: str
    title: str
    figure: str
    unit: str
    how: str
    more_is_better: bool = True
    goals: tuple[Goal, ...] = ()
    contenders: tuple[str, ...] = ("kit", "node", "stock")


@dataclass(frozen=True, slots=True)
class Group:
    """Lines of one load client. `kind` is the client's; the other fields are `Order`'s.

    `contenders_by_default` names those that take part where none are chosen.
    """

    kind: str
    lines: tuple[str, ...]
    members: int
    warm_up_s: float = 1.0
    measure_s: float = 3.0
    in_flight: int = 100
    rate_per_s: float = 0.0
    rooms: int = 0
    pairs_max: int | None = None
    contenders_by_default: tuple[str, ...] = WITH_RECOVERY
    limit_s: float = 150.0


LINES = {
    each.name: each
    for each in [
        Line(
            "one",
            "1 in flight, 1,000 members",
            "deliveries_per_s",
            "deliveries/s",
            "One message is under way; the next is sent when all members of the room have it.",
            goals=(Goal("node", 1.4), Goal("stock", 8.0), RECOVERY_GOAL),
            contenders=WITH_RECOVERY,
        ),
        Line(
            "8x8",
            "8 senders, 8 in flight",
            "deliveries_per_s",
            "deliveries/s",
            "8 members keep 8 messages each under way; one is out of flight when its sender has received it.",
            goals=(Goal("node", 3.5), RECOVERY_GOAL),
            contenders=WITH_RECOVERY,
        ),
        Line(
            "latency",
            "p99 at 30 messages/s to 1,000",
            "p99_ms",
            "ms",
            "One member sends at fixed times; every delivery's latency counts from when its message was due.",
            more_is_better=False,
            goals=(Goal("node", 0.7),),
            contenders=WITH_RECOVERY,
        ),
        Line(
            "64x64",
            "64 senders, 64 in flight",
            "deliveries_per_s",
            "deliveries/s",
            "As 8 x 8, with 64 members and 64 messages each.",
            goals=(Goal("node", 15.0), RECOVERY_GOAL),
            contenders=("kit", "recovery", "node"),
        ),
        Line(
            "accepts",
            "accepted connections",
            "accepts_per_s",
            "connections/s",
            "Connections opened one after another, 100 under way at a time, each from the TCP connect to the "
            "answered CONNECT of namespace `/`.",
            goals=(Goal("node", 1.5),),
            contenders=WITH_RECOVERY,
        ),
        Line(
            "memory",
            "memory per idle connection",
            "kb_per_connection",
            "kB",
            "Growth of the server's PSS by the connections of the line above, which are in no room, 2 s after the "
            "last; 500 others were there before.",
            more_is_better=False,
            goals=(Goal("node", 0.5),),
            contenders=WITH_RECOVERY,
        ),
        Line(
            "rooms",
            "p99 in 1,000 rooms of 5",
            "p99_ms",
            "ms",
            "1,000 messages/s in all, to one room after another; latency as in the line of 30 messages/s.",
            more_is_better=False,
        ),
        Line(
            "echo",
            "p50 of one sender alone",
            "p50_ms",
            "ms",
            "Nobody else is connected; the sender's next message leaves when its last has come back.",
            more_is_better=False,
        ),
        Line(
            "15000",
            "p99 at 3 messages/s to 15,000",
            "p99_ms",
            "ms",
            "As the line of 30 messages/s, to everybody in the namespace `/echo` of one node; the memory is the "
            "server's PSS, per connection before the first message and as a whole at the end.",
            more_is_better=False,
        ),
    ]
}

FULL = (
    # 64x64 last: what is under way when it ends takes some contenders a minute.
    Group("room", ("one", "8x8", "latency", "64x64"), members=1000),
    Group("idle", ("accepts", "memory"), members=5000),
    Group("rooms", ("rooms",), members=5000, rooms=1000, rate_per_s=1000.0),
    Group("echo", ("echo",), members=1, measure_s=2.0),
    Group(
        "crowd",
        ("15000",),
        members=15000,
        warm_up_s=2.0,
        measure_s=6.0,
        rate_per_s=3.0,
        pairs_max=2,
        contenders_by_default=("kit",),
    ),
)
QUICK = (
    Group("room", ("one", "8x8", "latency", "64x64"), members=100, warm_up_s=0.2, measure_s=0.5),
    Group("idle", ("accepts", "memory"), members=300),
    Group("rooms", ("rooms",), members=250, warm_up_s=0.2, measure_s=0.5, rooms=50, rate_per_s=200.0),
    Group("echo", ("echo",), members=1, warm_up_s=0.1, measure_s=0.3),
    Group(
        "crowd",
        ("15000",),
        members=500,
        warm_up_s=0.4,
        measure_s=1.0,
        rate_per_s=10.0,
        pairs_max=1,
        contenders_by_default=("kit",),
    ),
)
