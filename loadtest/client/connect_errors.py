"""What the kernel says where no connection comes about, and what can be done about it."""

import errno

from .errors import NoFreePort, OpeningFailed, TooManyFiles, Unreachable

FILE_LIMITS = (errno.EMFILE, errno.ENFILE)


def not_opened(error: OSError) -> OpeningFailed:
    """The client's error for the kernel's."""
    if error.errno in FILE_LIMITS:
        return TooManyFiles(f"{error.strerror}: raise `ulimit -n` (a connection is a file), or start more workers")
    if error.errno == errno.EADDRNOTAVAIL:
        return NoFreePort(
            f"{error.strerror}: all ports to this address are taken; widen net.ipv4.ip_local_port_range, "
            "or connect from more source addresses, all of them this machine's own"
        )
    return Unreachable(f"expected a TCP connection, got: {error.strerror or error}; is a server listening there?")
