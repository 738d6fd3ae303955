"""`python -m loadtest.bench.client ORDER`: carries out one order (JSON) and prints each sample as a line of JSON.

It is started and pinned by the bench. It ends with status 1 and a line on stderr where a contender broke a
promise.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

from ..limits import allow_files
from .alone import measure_echo
from .ceiling import measure_ceiling
from .errors import Violation
from .idle import measure_idle
from .measurement import Order, Sample
from .opening import Connections
from .paced import measure_crowd, measure_latency, measure_rooms
from .room import Room, measure_many, measure_one

SPARE_FILES = 600  # 500 of them for `client/idle.py`
ROOM_LINES: dict[str, Callable[[Room], Sample]] = {
    "one": measure_one,
    "8x8": lambda room: measure_many(room, "8x8", 8, 8),
    "64x64": lambda room: measure_many(room, "64x64", 64, 64),
    "latency": measure_latency,
}


def _room(order: Order) -> Iterator[Sample]:
    connections = Connections(order.target.port)
    connections.open(order.members, order.in_flight)
    room = Room(connections, order)
    for line in order.lines:
        yield ROOM_LINES[line](room)


def _connected(measure: Callable[[Connections, Order], Sample]) -> Callable[[Order], Iterator[Sample]]:
    def measured(order: Order) -> Iterator[Sample]:
        connections = Connections(order.target.port)
        connections.open(order.members, order.in_flight)
        yield measure(connections, order)

    return measured


def _crowd(order: Order) -> Iterator[Sample]:
    yield measure_crowd(Connections(order.target.port), order)


KINDS: dict[str, Callable[[Order], Iterator[Sample]]] = {
    "room": _room,
    "idle": lambda order: iter(measure_idle(order)),
    "rooms": _connected(measure_rooms),
    "echo": _connected(measure_echo),
    "crowd": _crowd,
    "ceiling": lambda order: iter(measure_ceiling(order)),
}


def main() -> int:
    """Carries out the order in the first argument."""
    order = Order.from_json(json.loads(sys.argv[1]))
    allow_files(order.members + SPARE_FILES)
    try:
        for sample in KINDS[order.kind](order):
            print(json.dumps(asdict(sample)), flush=True)
    except (Violation, OSError) as error:
        print(f"{order.kind}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
