"""The form of a node's log lines: how `serve` writes them, and how `up` tells the serious ones.

Who logs what is each module's business; where the lines go is `service.py`'s.
"""

import logging
import re
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
DATE = "%Y-%m-%dT%H:%M:%S"
_LINE = re.compile(r"\S+Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
_SERIOUS = ("WARNING", "ERROR", "CRITICAL")
# How an interpreter that dies begins, after whatever line came last.
_CRASH = ("Traceback ", "Fatal Python error", "Segmentation fault")


def configure_logging(level: str) -> None:
    """Sends every logger's records of `level` and above to stderr, with times in UTC."""
    formatter = logging.Formatter(FORMAT, DATE)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class SeriousLines:
    """Picks the lines at warning level and above, with the lines that continue them."""

    def __init__(self) -> None:
        self._showing = True  # what comes before the first record is the interpreter's, hence serious

    def wants(self, line: str) -> bool:
        """Whether `line`, the next of the log, is worth showing."""
        record = _LINE.match(line)
        if record:
            self._showing = record[1] in _SERIOUS
        elif line.startswith(_CRASH):
            self._showing = True
        return self._showing
