"""The seeded schedule: which faults, in which order, with which pauses and how long each.

The same seed and minutes give the same schedule on every machine. Only this is random; `injector.py` does what
it says. Each of the kinds occurs in every round of all of them, so a run of two minutes has them all.
"""

import random
from dataclasses import dataclass

NODE_KILL = "node_kill"  # SIGKILL of a node, and its return
NODE_FREEZE = "node_freeze"  # SIGSTOP of a node for longer than its lease
NODE_CUT_OFF = "node_cut_off"  # one node's own way to Redis, for longer than its lease
REDIS_CUT = "redis_cut"  # CLIENT KILL of every Redis connection
REDIS_FREEZE = "redis_freeze"  # SIGSTOP of Redis
REDIS_RESTART = "redis_restart"  # SIGKILL of Redis, and its return with its append-only data
CLIENT_CUT = "client_cut"  # TCP connections between clients and their nodes
ROLLING_RESTART = "rolling_restart"  # SIGTERM of each node in turn
KINDS = (
    *(NODE_KILL, NODE_FREEZE, NODE_CUT_OFF, REDIS_CUT, REDIS_FREEZE, REDIS_RESTART),
    *(CLIENT_CUT, ROLLING_RESTART),
)

# From the beginning of one fault to that of the next; a fault that lasts longer delays the next.
PAUSE_S = (6.0, 12.0)
# Of which the pause behind a fault is at least so long: the clients are to come back between most of them.
REST_S = 2.0
KILL_LASTS_S = (1.0, 8.0)
FREEZE_LASTS_S = CUT_OFF_LASTS_S = 8.0  # the lease is 5 s
# Redis: one that clients get over with their acknowledgements' time, one in which they try again, and in which
# every node stops being ready.
REDIS_FREEZE_LASTS_S = (3.0, 7.0)
ROLLING_RESTART_LASTS_S = 5.0  # about; it ends when all nodes are ready again
CLIENTS_CUT = (1, 6)
# How many of the faults that last also cut clients half-way: these come back in the middle of it.
CUT_HALF_WAY = 0.5
# With these, one client of the node, or of those cut, goes for good: the first time each.
VANISHING_WITH = (NODE_KILL, NODE_FREEZE, CLIENT_CUT)
# Time at the end of a run without a new fault.
LAST_FAULT_BEFORE_S = 4.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `pause_s`: before it, after the end of the last one; `node`: which, or the first of several;
    `clients`: how many are cut, half-way in a fault that lasts; `vanish`: so many clients, in a fault of a node
    of that node's, go for good; `returns`: of a killed node."""

    kind: str
    pause_s: float
    lasts_s: float = 0.0
    node: int = 0
    clients: int = 0
    vanish: int = 0
    returns: bool = True


def schedule(seed: int, minutes: float, nodes: int) -> list[Fault]:
    """The faults of a run; they end, as far as can be foreseen, before its minutes do."""
    chance = random.Random(seed)
    faults: list[Fault] = []
    left_s = minutes * 60 - LAST_FAULT_BEFORE_S
    vanishing = set(VANISHING_WITH)
    lasted_s = 0.0
    while True:
        for kind in chance.sample(KINDS, len(KINDS)):
            pause_s = max(REST_S, chance.uniform(*PAUSE_S) - lasted_s)
            fault = _fault(chance, kind, pause_s, nodes, vanish=kind in vanishing)
            lasted_s = fault.lasts_s
            left_s -= pause_s + lasted_s
            if left_s < 0:
                return faults
            vanishing.discard(kind)
            faults.append(fault)


def _fault(chance: random.Random, kind: str, pause_s: float, nodes: int, *, vanish: bool) -> Fault:
    node, clients = chance.randrange(nodes), chance.randint(*CLIENTS_CUT)
    half_way = clients if chance.random() < CUT_HALF_WAY else 0
    lasts_s, cut = {
        NODE_KILL: (chance.uniform(*KILL_LASTS_S), half_way),
        NODE_FREEZE: (FREEZE_LASTS_S, half_way),
        NODE_CUT_OFF: (CUT_OFF_LASTS_S, half_way),
        REDIS_FREEZE: (chance.choice(REDIS_FREEZE_LASTS_S), half_way),
        ROLLING_RESTART: (ROLLING_RESTART_LASTS_S, 0),
        CLIENT_CUT: (0.0, clients),
    }.get(kind, (0.0, 0))
    return Fault(kind, pause_s, lasts_s, node, cut, int(vanish))


# What is broken on purpose to check the checker -> faults that must show it, as fast as that is certain.
SABOTAGED = {
    # Each cut loses what is published until the nodes have subscribed again.
    "gaps": [Fault(REDIS_CUT, pause_s=1.0) for _ in range(8)],
    # Longer than clients wait for an acknowledgement: they try again, and Redis then carries out both.
    "ids": [Fault(REDIS_FREEZE, pause_s=2.0, lasts_s=6.0, clients=6), Fault(CLIENT_CUT, pause_s=2.0, clients=6)],
    # Nobody but the others can put away the members of a node that does not come back.
    "reaper": [Fault(NODE_KILL, pause_s=2.0, node=2, vanish=5, returns=False)],
}
