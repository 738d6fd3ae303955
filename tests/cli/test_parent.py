"""A cluster that ends with its parent: interrupted is who has signals blocked, and not for a moment."""

import subprocess
import sys

from .running import ROOT

PARENT = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import asyncio; from app.cli.parent import parent_stops; "
                          "print('watching', flush=True); asyncio.run(parent_stops())"], stdout=subprocess.PIPE)
child.stdout.readline()
for _ in range(10):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    time.sleep(0.3)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    time.sleep(0.3)
print(child.poll())
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print(child.wait(10))
"""


def test_a_parent_that_blocks_signals_for_a_moment_is_not_interrupted() -> None:
    done = subprocess.run([sys.executable, "-c", PARENT], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["None", "0"], done.stderr
