"""How much the load client can receive: `python -m loadtest.client.ceiling`.

A server in a process of its own does nothing but write (`ceiling_server.py`); real clients receive, and do all
that a scenario does with each delivery: find the message, keep the ledger, record the latency. Deliveries per
second of the receiving process' own CPU time are the generator's ceiling, whatever else runs on the machine.
"""

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..measure.histogram import Histogram
from ..measure.ledger import Ledger
from ..measure.stay import Stay
from ..message import found_in
from . import hub
from .client import Client, TransportName
from .errors import ClientError
from .listener import BY_CLIENT
from .packets import Batch

ROOM = "ceiling"
COALESCE = (1, 4, 16)
START_WITHIN_S = 20.0
WARM_UP_S = 1.0


class Receiver:
    """Listens for all clients, as the scenarios do. `rounds`: told how many deliveries make one."""

    def __init__(self, control: socket.socket, round_deliveries: int) -> None:
        self.deliveries = self.reads = 0
        self.broken: ClientError | None = None
        self.latencies = Histogram()
        self.ledger = Ledger()
        self._known: dict[bytes, tuple[int, int]] = {}  # packet -> (message id, intended_us)
        self._control = control
        self._round_deliveries = round_deliveries
        self._told = 0

    def heard(self, client: Client, packets: Batch, now_s: float) -> None:
        """The hot path: what all clients got alike is looked up once."""
        found = packets.note
        if found is None:
            found = packets.note = self._look_up(packets)
        ids, intended_us = found
        now_us = int(now_s * 1_000_000)
        stay: Stay = client.data
        stay.heard_many(ids, now_s)
        self.latencies.record_many([now_us - each for each in intended_us])
        self.reads += 1
        self.deliveries += len(ids)
        if self.deliveries // self._round_deliveries > self._told:
            rounds = self.deliveries // self._round_deliveries - self._told
            self._told += rounds
            self._control.send(b"." * rounds)

    def _look_up(self, packets: Batch) -> tuple[list[int], list[int]]:
        known, pairs = self._known, []
        for packet in packets:
            pair = known.get(packet)
            if pair is None:
                message = found_in(packet)
                assert message is not None, packet
                pair = known[packet] = message.id, message.intended_us
            pairs.append(pair)
        return [message_id for message_id, _ in pairs], [intended_us for _, intended_us in pairs]

    def connected(self, client: Client) -> None:
        """Begins its stay."""
        client.data = self.ledger.entered(ROOM, str(client.sid), time.monotonic())

    def lost(self, client: Client, reason: str) -> None:
        """Nothing counts any more, unless this is the end."""
        if reason != BY_CLIENT:
            self.broken = client.why

    def failed(self, client: Client, error: ClientError) -> None:
        """Nothing counts any more."""
        self.broken = error


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One measurement. `out_of_order` counts deliveries that were not the next one, over all members."""

    deliveries: int
    reads: int
    took_s: float
    cpu_s: float
    out_of_order: int
    p50_us: int

    def __str__(self) -> str:
        return (
            f"{self.deliveries / self.took_s:>11,.0f} {self.cpu_s / self.took_s:>10.0%} "
            f"{self.deliveries / self.cpu_s:>18,.0f} {self.deliveries / self.reads:>12.1f} "
            f"{self.out_of_order:>12} {self.p50_us / 1000:>10.2f}"
        )


TITLES = "deliveries/s  CPU share  deliveries/CPU-s  frames/read  out of order  p50 in ms"


def measure(members: int, coalesce: int, transport: TransportName, seconds: float) -> Ceiling:
    """One measurement with a server of its own. Raises ClientError where it cannot connect."""
    with _server() as port, socket.create_connection(("127.0.0.1", port)) as control:
        control.sendall(f"{members} {coalesce} {transport}\n".encode())
        receiver = Receiver(control, members * coalesce)
        url = f"http://127.0.0.1:{port}"
        clients = [Client(url, receiver, transport=transport) for _ in range(members)]
        for client in clients:
            client.connect()
        hub.sleep(WARM_UP_S)
        deliveries, reads = receiver.deliveries, receiver.reads
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        hub.sleep(seconds)
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        measured = Ceiling(
            deliveries=receiver.deliveries - deliveries,
            reads=receiver.reads - reads,
            took_s=took_s,
            cpu_s=cpu_s,
            out_of_order=sum(_out_of_order(client.data) for client in clients),
            p50_us=receiver.latencies.percentile(50) or 0,
        )
        for client in clients:
            client.disconnect()
        if receiver.broken is not None:
            raise receiver.broken
        return measured


def _out_of_order(stay: Stay) -> int:
    return len(stay.skipped or ()) + len(stay.late or ()) + stay.duplicates


@contextmanager
def _server() -> Iterator[int]:
    """Its port."""
    process = subprocess.Popen([sys.executable, "-m", "loadtest.client.ceiling_server"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait(START_WITHIN_S)
        process.stdout.close()


def main() -> None:
    """Prints a line for each number of coalesced messages."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.client.ceiling", description=__doc__)
    parser.add_argument("--members", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--coalesce", type=int, nargs="+", default=COALESCE, help="messages in one write")
    parser.add_argument("--transport", choices=("websocket", "polling"), default="websocket")
    options = parser.parse_args()
    print(f"{options.members} members, {options.transport}, {options.seconds:g} s each")
    print(f"coalesced  {TITLES}")
    for coalesce in options.coalesce:
        measured = measure(options.members, coalesce, options.transport, options.seconds)
        print(f"{coalesce:>9}  {measured}", flush=True)


if __name__ == "__main__":
    main()
