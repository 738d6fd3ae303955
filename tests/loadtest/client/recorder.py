"""A listener that keeps what it hears, and decodes it as a stock client does."""

from typing import Any

import orjson

from loadtest.client.client import Client
from loadtest.client.errors import ClientError


class Recorder:
    """Of one client. `events`: (name, arguments without an offset); `told`: what happened to it, in words."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.batches: list[int] = []  # how many packets came at once
        self.told: list[str] = []
        self.errors: list[ClientError] = []

    def heard(self, client: Client, packets: list[bytes], now_s: float) -> None:
        self.packets += packets
        self.batches.append(len(packets))

    def connected(self, client: Client) -> None:
        self.told.append("recovered" if client.recovered else "connected")

    def lost(self, client: Client, reason: str) -> None:
        self.told.append(reason)

    def failed(self, client: Client, error: ClientError) -> None:
        self.told.append("failed")
        self.errors.append(error)

    @property
    def events(self) -> list[tuple[str, list[Any]]]:
        found = (orjson.loads(packet[packet.index(b"[") :]) for packet in self.packets)
        return [(name, [each for each in args if not isinstance(each, str)]) for name, *args in found]

    def texts(self) -> list[str]:
        """What was said in the room."""
        return [
            args[0]["msg"].partition(" : ")[2]
            for name, args in self.events
            if name == "broadcast_msg" and args[0]["type"] == "message"
        ]
