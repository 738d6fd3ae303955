"""The client within a process that gevent has patched, as locust does it, and within one that it has not."""

import subprocess
import sys

import pytest

from tests.cli.running import environment

from .conftest import Nodes

LIMIT_S = 30.0
PROGRAM = """
import sys
if sys.argv[2] == "patched":
    from gevent import monkey
    monkey.patch_all()
import socket
from loadtest.client.client import Client
from tests.loadtest.client.recorder import Recorder
from tests.loadtest.client.waiting import until

for transport in ("websocket", "polling", "upgrade"):
    recorder = Recorder()
    client = Client(sys.argv[1], recorder, transport=transport, auth={"room": "patched"})
    client.connect()
    assert client.call("send_msg", {"to": "ALL", "msg": transport}, timeout_s=5) == [{"ok": True}]
    until(recorder.texts)
    assert recorder.texts() == [transport], recorder.events
    client.disconnect()
assert "locust" not in sys.modules
assert ("gevent" in socket.socket.__module__) == (sys.argv[2] == "patched")
print("done")
"""


@pytest.mark.parametrize("patched", ["patched", "unpatched"])
def test_a_client_works_whether_or_not_the_process_is_patched(nodes: Nodes, patched: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, nodes.url, patched],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environment({}),
        check=False,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")
