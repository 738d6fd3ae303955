"""Python's cyclic garbage collector, set for a process that holds many connections.

A full collection looks at every object there is, which takes 10 ms for some 5,000 connections, and with the
default of 700 allocations between collections, connecting that many causes dozens. Nearly nothing here is in
a cycle, so rarer is enough; nothing is switched off.
"""

import gc

# Allocations beyond deallocations between two collections of the youngest; a connection has some 20.
ALLOCATIONS = 50_000
YOUNG_PER_MIDDLE, MIDDLE_PER_FULL = 10, 10


def collect_rarely() -> None:
    """Call it once everything that stays for ever is there: that is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, YOUNG_PER_MIDDLE, MIDDLE_PER_FULL)
