"""The kit's locustfile, with ledgers that are settled every second rather than every minute."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from loadtest import conductor

conductor.SETTLE_EVERY_S = 1.0
conductor.SETTLE_AGE_S = 1.5

from loadtest.locustfile import *  # noqa: E402, F403
