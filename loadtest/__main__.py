"""Runs a scenario against a cluster that it starts itself: `python -m loadtest [OPTIONS OF LOCUST]`.

    make loadtest                               500 members of one room, 20 messages/s for 30 s
    make loadtest ARGS="--users 1000 --rate 30 --talk-time 60 --gate 'fanout.p99<=50ms'"
    make loadtest ARGS=--help

The cluster is `clusterkit up` with NODES nodes (3) on free ports; settings come from the environment. With `--host
URL` none is started. Whatever is given neither as an option nor in the environment is the headline's; a run with a
--shape or a --run-time ends by that.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from .exit_codes import NOTHING
from .ports import free_ports

HERE = Path(__file__).resolve().parent
# As variables, since options go before these.
HEADLINE = {
    "LOCUST_TAGS": "broadcast",
    "LOCUST_USERS": "500",
    "LOCUST_SPAWN_RATE": "200",
    "LOADTEST_RATE": "20",
}
TALK_TIME = {"LOADTEST_TALK_TIME": "30"}
# Who gives one of these, or its variable, has said when the run ends.
ENDS = {"--shape": "LOADTEST_SHAPE", "--run-time": "LOCUST_RUN_TIME", "-t": "LOCUST_RUN_TIME"}
NODES = "3"
NICE = "5"  # of nodes that share this machine's cores with a generator, which must not be what is slow
NODES_MAX = 32  # each has a port behind the cluster's
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0
LOOK_S = 0.1


def main(arguments: Sequence[str]) -> int:
    """The exit code of locust, or `NOTHING` where the cluster did not start."""
    if any(each in ("-h", "--help") for each in arguments):
        print(__doc__)
        print_options()
        return run_locust(arguments)
    given = {each.partition("=")[0] for each in arguments}
    options = ["--headless", *arguments]
    is_divided = "--processes" in given or "LOCUST_PROCESSES" in os.environ
    if is_divided and "--master-bind-port" not in given:
        port = str(free_ports(1))  # two tests at a time on one machine must not share locust's own
        options = [*options, "--master-bind-port", port, "--master-port", port]
    if {"--host", "-H"} & given or "LOCUST_HOST" in os.environ:
        return run_locust(options)
    try:
        with cluster() as url:
            return run_locust(["--host", url, *options])
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return NOTHING


def print_options() -> None:
    """This kit's own options, which locust's `--help` leaves out: it has not read the locustfile by then."""
    from locust.argument_parser import LocustArgumentParser  # which changes this process: gevent patches it

    from .options import add_to

    parser = LocustArgumentParser(add_help=False, usage="the options of this kit, before those of locust")
    add_to(parser)
    parser.print_help()


def run_locust(options: Sequence[str]) -> int:
    """Locust with this kit's scenarios."""
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), *options]
    given = {each.partition("=")[0] for each in options}
    ends = any(option in given or os.environ.get(variable) for option, variable in ENDS.items())
    running = subprocess.Popen(command, env=HEADLINE | ({} if ends else TALK_TIME) | os.environ)
    while True:
        try:
            return running.wait()
        except KeyboardInterrupt:
            continue  # locust has got it, too, and ends the run


@contextlib.contextmanager
def cluster(**settings: str) -> Iterator[str]:
    """A cluster of this machine's own, as long as it is needed; its URL. Raises RuntimeError with its words."""
    port = free_ports(1 + NODES_MAX)
    with tempfile.TemporaryDirectory(prefix="clusterkit-loadtest-") as folder:
        env = {"NODES": NODES, **os.environ, "PORT": str(port), **settings}
        log = Path(folder) / "up.log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "app.cli", "up", "--run-dir", folder, "--with-parent"]
            running = subprocess.Popen(
                ["nice", "-n", NICE, *command], env=env, stdout=output, stderr=output, start_new_session=True
            )
        url = f"http://127.0.0.1:{port}"
        try:
            print(f"starting {env['NODES']} nodes at {url}", flush=True)
            wait_until_ready(url, running, log)
            yield url
        finally:
            running.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(STOP_WITHIN_S)
            running.kill()


def wait_until_ready(url: str, running: "subprocess.Popen[bytes]", log: Path) -> None:
    """Returns when the cluster is ready. Raises RuntimeError where it ends or takes too long."""
    until_s = time.monotonic() + READY_WITHIN_S
    while not (ready(url) and "ready" in log.read_text()):
        if running.poll() is not None or time.monotonic() > until_s:
            raise RuntimeError(f"the cluster did not start:\n{log.read_text()}")
        time.sleep(LOOK_S)


def ready(url: str) -> bool:
    """Whether `/readyz` answers 200."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
