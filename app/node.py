"""Who this node is, and the ids it hands out.

A node's id is the first `NODE_ID_CHARS` characters of every Engine.IO session id it makes; that is how any
other node knows where a request belongs. Where nodes are is kept by `cluster.nodes`.
"""

import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

NODE_ID_CHARS = 8
# 15 random bytes: 120 bits, the size the Node.js server uses for its session ids.
ID_BYTES = 15
EVERY_ADDRESS = ("0.0.0.0", "::")
_EIO_SID = re.compile(r"[0-9a-f]{8}[A-Za-z0-9_-]{20}")
_SID = re.compile(r"[A-Za-z0-9_-]{20}")
_PID = re.compile(r"[A-Za-z0-9_-]{40}")


def new_node_id() -> str:
    """A fresh id for each start, so that nothing a former process wrote can be taken for this one's."""
    return secrets.token_hex(NODE_ID_CHARS // 2)


def new_sid() -> str:
    """An unguessable Socket.IO session id, 20 URL-safe characters."""
    return secrets.token_urlsafe(ID_BYTES)


def looks_like_sid(name: str) -> bool:
    """Whether `name` has the form of `new_sid()`; a room may have it too, so Redis decides."""
    return _SID.fullmatch(name) is not None


def new_lineage() -> str:
    """An unguessable name for a client that can recover, through all its sockets; only it and we know it."""
    return secrets.token_urlsafe(ID_BYTES)


def pid_of(sid: str, lineage: str) -> str:
    """What a client presents to get its socket back (the protocol's private id)."""
    return sid + lineage


def parse_pid(pid: object) -> tuple[str, str] | None:
    """sid and lineage, or None for what no node of ours made."""
    if not isinstance(pid, str) or _PID.fullmatch(pid) is None:
        return None
    return pid[: len(pid) // 2], pid[len(pid) // 2 :]


def node_of(eio_sid: str) -> str | None:
    """The id of the node that made `eio_sid`, or None where it was made by no node of ours."""
    return eio_sid[:NODE_ID_CHARS] if _EIO_SID.fullmatch(eio_sid) else None


def url_at(host: str, port: int) -> str:
    """http://host:port, with brackets where it needs them."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@dataclass(slots=True, eq=False)
class Node:
    """This worker process."""

    url: str = ""  # where other nodes reach this one alone, "http://host:port"
    node_id: str = field(default_factory=new_node_id)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    everywhere: bool = field(init=False)  # it listens at every address, and must be told one for its `url`

    def __post_init__(self) -> None:
        self.everywhere = urlsplit(self.url).hostname in EVERY_ADDRESS

    def move(self, host: str) -> bool:
        """Takes the address that others reach it at into its `url`; tells whether that is news."""
        former, self.url = self.url, url_at(host, urlsplit(self.url).port or 80)
        return self.url != former

    def new_eio_sid(self) -> str:
        """An Engine.IO session id that says which node owns it."""
        return self.node_id + new_sid()
