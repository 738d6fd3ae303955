"""A pause of long work (`measure/pausing.py`) in a process whose other greenlets measure latencies meanwhile."""

import time

import gevent

# So long nobody waits who measures anything; then the others have as long.
WORK_S = 0.002


class Breath:
    """Call it between the parts of the work."""

    def __init__(self) -> None:
        self._since_s = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._since_s > WORK_S:
            gevent.sleep(WORK_S)
            self._since_s = time.monotonic()
