"""Child processes that cannot outlive this one, and that the terminal's Ctrl-C does not reach.

When to start and stop them is `service.py`'s.
"""

import asyncio
import ctypes
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LINUX = sys.platform == "linux"
# Loaded here: between fork and exec there must be no loading.
_libc = ctypes.CDLL(None) if LINUX else None


async def spawn(command: Sequence[str], env: Mapping[str, str], log: Path | None) -> Process:
    """Starts `command` in a session of its own, its output appended to `log`, or to a pipe where None.

    On Linux the kernel kills it when this process ends, however that ends; main thread only, because the
    kernel takes the end of the thread that forked for the end of the parent.
    """
    output = log.open("ab") if log else None
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output or asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_tie_to(os.getpid()) if LINUX else None,
        )
    finally:
        if output:
            output.close()


async def stop(process: Process, limit_s: float) -> bool:
    """SIGTERM, and SIGKILL after `limit_s`. True where the first was enough."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(limit_s):
            await process.wait()
    except TimeoutError:
        kill(process)
        await process.wait()
        return False
    return True


def kill(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


def how_it_ended(returncode: int) -> str:
    """In words: `exit code 1`, or `SIGKILL` where a signal ended it."""
    if returncode >= 0:
        return f"exit code {returncode}"
    with suppress(ValueError):
        return signal.Signals(-returncode).name
    return f"signal {-returncode}"


def _tie_to(parent: int) -> Callable[[], None]:
    def tie() -> None:
        assert _libc is not None
        # SIGKILL, because a paused or hanging child would outlive a gentler one.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)

    return tie
