"""Engine.IO v4 packets as they stand on the wire (protocol, "Packet encoding").

Socket.IO packets inside them are not looked into.
"""

import base64
import binascii

from engineio import exceptions

OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = "0", "1", "2", "3", "4", "5", "6"
BASE64 = "b"  # before a binary message in a text
PROBE = "probe"


class BadMessage(exceptions.EngineIOError):  # type: ignore[misc]
    """Bytes that are no Engine.IO packet; python-engineio's server answers 400 and ends the session."""


def decode(packet: str | bytes) -> tuple[str, str | bytes]:
    """The type and the content of a packet. Raises BadMessage."""
    if not isinstance(packet, str):
        return MESSAGE, packet
    kind = packet[:1]
    if kind == BASE64:
        try:
            return MESSAGE, base64.b64decode(packet[1:])
        except (binascii.Error, ValueError):
            raise BadMessage from None
    if kind == "" or kind not in "0123456":
        raise BadMessage
    return kind, packet[1:]
