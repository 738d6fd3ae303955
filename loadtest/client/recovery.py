"""Connection state recovery, the client's side: what it says when it comes back, and whether it was believed.

The offset is the last argument of the newest event, where that is a string; events are not decoded to find it,
but for the one that matters when the client comes back.
"""

from typing import Any

from .packets import decode


class Recovery:
    """One client's. `pid`: None while the server offers no recovery. `trailing`: the event with the offset."""

    __slots__ = ("_asks", "pid", "recovered", "trailing")

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks
        self.pid: str | None = None
        self.recovered = False
        self.trailing: bytes | None = None

    def presented(self) -> dict[str, Any]:
        """What goes with CONNECT: pid and offset, and `recover: true` for a server that wants to be asked."""
        told: dict[str, Any] = {"recover": True} if self._asks else {}
        if self.pid is not None:
            told["pid"] = self.pid
            if self.trailing is not None:
                told["offset"] = decode(self.trailing).data[-1]
        return told

    def answered(self, pid: Any) -> None:
        """CONNECT's answer carried this pid: recovered is who is given the one it had."""
        self.recovered = pid is not None and pid == self.pid
        self.pid = pid
