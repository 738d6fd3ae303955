"""What locust runs: `locust -f loadtest/locustfile.py --host http://127.0.0.1:8080 --tags broadcast`.

`loadtest/README.md` says what to choose and how to read the report.
"""

import sys
from pathlib import Path

from locust import events

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadtest import conductor, options
from loadtest.scenarios import *  # noqa: F403

events.init_command_line_parser.add_listener(options.add_to)
events.init.add_listener(conductor.attach)
