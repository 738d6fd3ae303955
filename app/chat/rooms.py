"""Room chat, namespace `/`: joining rooms, nicknames, messages and whispers.

A message's way, 2 of 5: an event is validated and appended to its room's log (`cluster/roomlog.py`, 3 of 5).
What others see comes from the log, on every node alike; nothing is sent from here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from socketio.exceptions import ConnectionRefusedError

from ..cluster.local import LocalSocket
from ..errors import NicknameTaken, Refused
from ..hub.manager import ClusterManager
from ..wire import Packet, RoomId, event_packet
from .namespace import ChatNamespace, Fields, Reply
from .texts import Texts
from .validation import (
    EVERYBODY,
    message_in,
    nickname_in,
    optional_id_in,
    optional_nickname_in,
    recipient_in,
    room_in,
)


@dataclass(slots=True)
class Seat:
    """A socket's place in a room. Its nickname is what the room's replicated roster says."""

    room: RoomId
    to_leave: list[RoomId]  # rooms it was in before; emptied at once unless Redis is away


class RoomChat(ChatNamespace):
    """The handlers. `locale`: the language of what the server writes."""

    guest_kind = "room"

    def __init__(self, manager: ClusterManager, texts: Texts, namespace: str = "/") -> None:
        super().__init__(namespace, manager)
        self.texts = texts
        self.events = {
            "joinroom": self.joinroom,
            "changename": self.changename,
            "send_msg": self.send_msg,
        }

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Joins at once where `auth` names a room, so that what the client sends next finds it joined.

        A client that comes back is where it was; if it was away for long, it enters again. A wrong room or
        nickname refuses the connection, with `{code, message}` as the error's data.
        """
        socket = self.manager.local_socket(sid, self.namespace)
        if await self._resume(socket) or not isinstance(auth, dict) or auth.get("room") is None:
            return
        try:
            await self.joinroom(socket, auth)
        except Refused as error:
            described = {"code": error.code, "message": str(error)}
            raise ConnectionRefusedError(str(error), described) from None

    async def joinroom(self, socket: LocalSocket, fields: Fields) -> Reply:
        """`{room, nickname?}`: enters a room and leaves the one before, if any."""
        room = RoomId(self.namespace, room_in(fields))
        nickname = optional_nickname_in(fields)
        seat: Seat | None = socket.data
        if seat is None or seat.room != room:
            await self._enter(socket, room, nickname)
            former = [seat.room, *seat.to_leave] if seat is not None else []
            seat = socket.data = Seat(room, [other for other in former if other != room])
        elif nickname is not None:
            await self._rename(socket, room, nickname)
        await self._leave_former(socket, seat)
        return {"room": room.name, "nickname": socket.nickname(room)}

    async def changename(self, socket: LocalSocket, fields: Fields) -> Reply:
        """`{nickname}`: takes another nickname; one that is taken is refused and the old one kept."""
        room, nickname = self._room(socket), nickname_in(fields)
        await self._rename(socket, room, nickname)
        return {"nickname": nickname}

    async def send_msg(self, socket: LocalSocket, fields: Fields) -> Reply:
        """`{to, msg, id?}`: to everybody in the room (`ALL`), or to one member and the sender."""
        room = self._room(socket)
        to, message, mark = recipient_in(fields), message_in(fields), optional_id_in(fields)
        extra = {"to": to} if mark is None else {"to": to, "id": mark}
        nickname = socket.nickname(room)
        if to == EVERYBODY:
            packet = self._broadcast("message", self.texts.said, nickname, msg=message, extra=extra)
            return self.cluster.log.append(room, packet, actor=socket, message_id=mark, settle=_answer(mark))
        packet = self._broadcast("whisper", self.whisper_text, nickname, msg=message, extra=extra)
        return self.cluster.log.whisper(room, to, packet, actor=socket, message_id=mark, settle=_answer(mark))

    # --- how an application differs from another -----------------------------------------------------------

    @property
    def whisper_text(self) -> str:
        """The text of a whisper."""
        return self.texts.whispered

    def guest_name(self, number: int) -> str:
        """What a guest is called."""
        return self.texts.guest.format(number=number)

    def welcome(self, nickname: str) -> Packet:
        """What a new member hears, and nobody else."""
        return event_packet(self.namespace, "changename", {"nickname": nickname})

    def arrival(self, nickname: str) -> Packet | None:
        """What the room hears of a new member."""
        return self._broadcast("join", self.texts.joined, nickname)

    def farewell(self, nickname: str) -> Packet | None:
        """What the room hears when a member leaves."""
        return self._broadcast("leave", self.texts.left, nickname)

    # --- coming back -----------------------------------------------------------------------------------------

    async def former_room(self, socket: LocalSocket) -> RoomId | None:
        """The room that a client was in which comes back."""
        name = await self.manager.get(socket.sid, "room")
        return RoomId(self.namespace, name) if name is not None else None

    async def _resume(self, socket: LocalSocket) -> bool:
        """Seats a client that comes back in its former room; False where it has none."""
        room = await self.former_room(socket) if socket.recovered else None
        if room is None:
            return False
        if room not in socket.rooms:
            lapsed = socket.replay.lapsed if socket.replay is not None else {}
            if room not in lapsed:
                return False
            try:
                await self._enter(socket, room, lapsed[room])
            except NicknameTaken:
                await self._enter(socket, room, None)
        others = [other for other in socket.rooms if other.name is not None and other != room]
        socket.data = Seat(room, others)
        return True

    # --- steps ---------------------------------------------------------------------------------------------

    async def _enter(self, socket: LocalSocket, room: RoomId, nickname: str | None) -> None:
        while True:
            name = nickname or self.guest_name(await self.cluster.guests.next(self.guest_kind))
            try:
                entered = await self.cluster.roster.enter(
                    socket,
                    room,
                    name,
                    packet=self.arrival(name),
                    own=self.welcome(name).text,
                    farewell=self._farewell(name),
                    data={"room": room.name, "nickname": name},
                )
                break
            except NicknameTaken:
                if nickname is not None:
                    raise  # else somebody calls himself like a guest: take the next number
        if not entered:  # an earlier try had succeeded unheard: the client never learned its name
            self.manager.fanout.write((socket,), self.welcome(socket.nickname(room)))

    async def _leave_former(self, socket: LocalSocket, seat: Seat) -> None:
        while seat.to_leave:
            await self.cluster.roster.leave_here(socket, seat.to_leave[-1])
            seat.to_leave.pop()

    async def _rename(self, socket: LocalSocket, room: RoomId, nickname: str) -> None:
        packet = self._broadcast("rename", self.texts.renamed, nickname, old=socket.nickname(room))
        await self.cluster.roster.rename(
            socket, room, nickname, packet=packet, farewell=self._farewell(nickname), data={"nickname": nickname}
        )

    def _farewell(self, nickname: str) -> str:
        packet = self.farewell(nickname)
        return packet.text if packet is not None else ""

    def _room(self, socket: LocalSocket) -> RoomId:
        seat: Seat | None = socket.data
        if seat is None:
            raise Refused("join a room first", code="not_in_room")
        return seat.room

    def _broadcast(
        self, kind: str, template: str, nickname: str, *, extra: dict[str, str] | None = None, **values: str
    ) -> Packet:
        data = {"msg": template.format(nickname=nickname, **values), "type": kind, "nickname": nickname}
        if "old" in values:
            data["old"] = values["old"]
        return event_packet(self.namespace, "broadcast_msg", data | (extra or {}))


def _answer(mark: str | None) -> Callable[[int], dict[str, Any]]:
    """What the sender's acknowledgement says, once the log has given a clock."""
    return lambda clock: {} if mark is None else {"id": mark}
