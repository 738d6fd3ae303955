"""Ports for what is started on this machine."""

import random
import socket

# Below the range from which the kernel takes ports for outgoing connections.
PORTS = range(20_000, 32_000)


def free_ports(count: int) -> int:
    """The first of `count` ports of 127.0.0.1 in a row that nobody listens on."""
    while True:
        first = random.choice(PORTS)
        if all(is_free(port) for port in range(first, first + count)):
            return first


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
