"""Whose a stream is."""

from typing import Protocol

from .errors import ClientError


class Owner(Protocol):
    """All are called in the hub."""

    def opened(self) -> None:
        """Connected."""

    def received(self, data: bytes, now_s: float) -> None:
        """Bytes, never none; `now_s`: `time.monotonic` right after they were read."""

    def ended(self, error: ClientError) -> None:
        """It was not opened, or it broke. The stream is closed; called once, and not after `close`."""


class Nobody:
    """Owns streams that have ended."""

    __slots__ = ()

    def opened(self) -> None:
        """Nobody minds."""

    def received(self, data: bytes, now_s: float) -> None:
        """Nobody minds."""

    def ended(self, error: ClientError) -> None:
        """Nobody minds."""


NOBODY = Nobody()
