"""Turns an emit into appends: what goes to a sid, to a room, to several, to everybody.

Used by `ClusterManager` inside a server and by `Emitter` outside of one.
"""

from collections.abc import Sequence

from ..cluster.roomlog import RoomLog
from ..errors import NotConnected
from ..node import looks_like_sid
from ..wire import Packet, RoomId

Target = str | Sequence[str] | None


class Emission:
    """Emits into the log. Every method raises StoreUnavailable, StoreOverloaded or OutcomeUnknown."""

    def __init__(self, log: RoomLog) -> None:
        self._log = log

    async def emit(self, namespace: str, target: Target, packet: Packet, skip: Sequence[str] = ()) -> None:
        """To a sid or a room, to several, or to everybody (None), but to no sid in `skip`.

        The event is in the log when this returns; a target that does not exist is fine.
        """
        if target is None or isinstance(target, str):
            await self._to_one(namespace, target, packet, skip)
        else:
            await self._to_several(namespace, list(dict.fromkeys(target)), packet, skip)

    async def _to_one(self, namespace: str, target: str | None, packet: Packet, skip: Sequence[str]) -> None:
        named_sid = target is not None and looks_like_sid(target)
        if named_sid and (target in skip or await self._to_socket(namespace, str(target), packet)):
            return
        await self._log.append(RoomId(namespace, target), packet, skip=skip)

    async def _to_socket(self, namespace: str, sid: str, packet: Packet) -> bool:
        try:
            await self._log.append_to_socket(namespace, sid, packet)
        except NotConnected:
            return False  # a room may be called like this, too
        return True

    async def _to_several(self, namespace: str, targets: list[str], packet: Packet, skip: Sequence[str]) -> None:
        sids = [target for target in targets if looks_like_sid(target)]
        rooms = [RoomId(namespace, target) for target in targets if target not in sids]
        for sid in sids:
            await self._to_one(namespace, sid, packet, skip)
        if rooms:
            await self._log.append_to_rooms(rooms, packet, skip=[*skip, *sids])
