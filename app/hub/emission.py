"""Turns an emit into appends: what goes to a sid, to a room, to several, to everybody.

Used by `ClusterManager` inside a server and by `Emitter` outside of one.
"""

from collections.abc import Sequence
from typing import Any

from socketio import packet as sio_packet

from ..cluster.roomlog import RoomLog
from ..errors import NotConnected
from ..node import looks_like_sid
from ..wire import Packet, RoomId

Target = str | Sequence[str] | None


def encode(event: str, data: Any, namespace: str) -> Packet:
    """An EVENT packet as python-socketio's `emit` makes it: a tuple is several arguments, None is none."""
    args = list(data) if isinstance(data, tuple) else [] if data is None else [data]
    encoded = sio_packet.Packet(sio_packet.EVENT, namespace=namespace, data=[event, *args]).encode()
    if isinstance(encoded, str):
        return Packet(encoded)
    text, *attachments = encoded
    return Packet(text, tuple(bytes(part) for part in attachments))


class Emission:
    """Emits into the log. Every method raises StoreUnavailable, StoreOverloaded or OutcomeUnknown."""

    def __init__(self, log: RoomLog) -> None:
        self._log = log

    async def emit(self, namespace: str, target: Target, packet: Packet, skip: Sequence[str] = ()) -> int:
        """To a sid or a room, to several, or to everybody (None), but to no sid in `skip`.

        The event is in the log when this returns its clock; 0 where the target does not exist, which is fine.
        """
        if target is None or isinstance(target, str):
            return await self._to_one(namespace, target, packet, skip)
        return await self._to_several(namespace, list(dict.fromkeys(target)), packet, skip)

    async def _to_one(self, namespace: str, target: str | None, packet: Packet, skip: Sequence[str]) -> int:
        if target is not None and looks_like_sid(target):
            clock = 0 if target in skip else await self._to_socket(namespace, target, packet)
            if clock or target in skip:
                return clock
        return await self._log.append(RoomId(namespace, target), packet, skip=skip)

    async def _to_socket(self, namespace: str, sid: str, packet: Packet) -> int:
        try:
            return await self._log.append_to_socket(namespace, sid, packet)
        except NotConnected:
            return 0  # a room may be called like this, too

    async def _to_several(self, namespace: str, targets: list[str], packet: Packet, skip: Sequence[str]) -> int:
        sids = [target for target in targets if looks_like_sid(target)]
        rooms = [RoomId(namespace, target) for target in targets if target not in sids]
        clocks = [await self._to_one(namespace, sid, packet, skip) for sid in sids]
        if rooms:
            clocks.append(await self._log.append_to_rooms(rooms, packet, skip=[*skip, *sids]))
        return max(clocks, default=0)
