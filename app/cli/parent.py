"""Notices that the process which started this one, `make`, has ended or was interrupted.

Make passes SIGTERM on to its commands, but not SIGINT, which it expects them to get from the terminal, and
nothing when it is killed. Without this, `kill -INT` of make would wait for ever, and `kill -KILL` would leave
a cluster behind.
"""

import asyncio
import os
import signal
from pathlib import Path

POLL_S = 0.25
LOOKS = 3
STATUS = Path("/proc")


async def parent_stops() -> None:
    """Returns when the parent is gone, or, on Linux, has been interrupted and waits for this process."""
    parent = os.getppid()
    interrupted = 0  # looks in a row: who starts a process has signals blocked for a moment, too
    while os.getppid() == parent and interrupted < LOOKS:
        await asyncio.sleep(POLL_S)
        interrupted = interrupted + 1 if _is_interrupted(parent) else 0


def _is_interrupted(pid: int) -> bool:
    # Make handles SIGINT by waiting for its commands inside the handler, where the signal is blocked.
    try:
        status = (STATUS / str(pid) / "status").read_text()
    except OSError:
        return False  # no /proc here, or it has just ended, which the next look will tell
    masks = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith("Sig"))
    return bool(int(masks["SigBlk"], 16) >> (signal.SIGINT - 1) & 1)
