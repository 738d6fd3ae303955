"""Room chat, namespace `/`: joining rooms, nicknames, messages and whispers.

A message's way, 2 of 5: an event is validated and appended to its room's log (`cluster/roomlog.py`, 3 of 5).
What others see comes from the log, on every node alike; nothing is sent from here.
"""

import asyncio
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
    """A socket's place in a room; this node's copy of the bound data `room` and `nickname`."""

    room: RoomId
    nickname: str


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

        A wrong room or nickname refuses the connection, with `{code, message}` as the error's data.
        """
        if not isinstance(auth, dict) or auth.get("room") is None:
            return
        try:
            await self.joinroom(self.manager.local_socket(sid, self.namespace), auth)
        except Refused as error:
            described = {"code": error.code, "message": str(error)}
            raise ConnectionRefusedError(str(error), described) from None

    async def joinroom(self, socket: LocalSocket, fields: Fields) -> Reply:
        """`{room, nickname?}`: enters a room and leaves the one before, if any."""
        room = RoomId(self.namespace, room_in(fields))
        nickname = optional_nickname_in(fields)
        former: Seat | None = socket.data
        if former is not None and former.room == room:
            if nickname is not None:
                await self._rename(socket, former, nickname)
        else:
            socket.data = await self._enter(socket, room, nickname)
            if former is not None:
                await self._leave(socket, former)
        return {"room": room.name, "nickname": socket.data.nickname}

    async def changename(self, socket: LocalSocket, fields: Fields) -> Reply:
        """`{nickname}`: takes another nickname; one that is taken is refused and the old one kept."""
        seat = self._seat(socket)
        await self._rename(socket, seat, nickname_in(fields))
        return {"nickname": seat.nickname}

    async def send_msg(self, socket: LocalSocket, fields: Fields) -> Reply:
        """`{to, msg, id?}`: to everybody in the room (`ALL`), or to one member and the sender."""
        seat = self._seat(socket)
        to, message, mark = recipient_in(fields), message_in(fields), optional_id_in(fields)
        extra = {"to": to} if mark is None else {"to": to, "id": mark}
        if to == EVERYBODY:
            packet = self._broadcast("message", self.texts.said, seat.nickname, msg=message, extra=extra)
            clock = self.cluster.log.append(seat.room, packet, actor=socket)
        else:
            packet = self._broadcast("whisper", self.whisper_text, seat.nickname, msg=message, extra=extra)
            clock = self.cluster.log.whisper(seat.room, to, packet, actor=socket)
        return asyncio.ensure_future(_marked(clock, mark))

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

    # --- steps ---------------------------------------------------------------------------------------------

    async def _enter(self, socket: LocalSocket, room: RoomId, nickname: str | None) -> Seat:
        while True:
            name = nickname or self.guest_name(await self.cluster.roster.next_guest(self.guest_kind))
            try:
                await self.cluster.roster.enter(
                    socket,
                    room,
                    name,
                    packet=self.arrival(name),
                    own=self.welcome(name).text,
                    farewell=self.farewell(name),
                    data={"room": room.name, "nickname": name},
                )
                return Seat(room, name)
            except NicknameTaken:
                if nickname is not None:
                    raise  # else somebody calls himself like a guest: take the next number

    async def _leave(self, socket: LocalSocket, seat: Seat) -> None:
        await self.cluster.roster.leave(
            socket.sid, seat.room, generation=socket.generation, packet=self.farewell(seat.nickname)
        )
        socket.farewells.pop(seat.room, None)

    async def _rename(self, socket: LocalSocket, seat: Seat, nickname: str) -> None:
        packet = self._broadcast("rename", self.texts.renamed, nickname, old=seat.nickname)
        await self.cluster.roster.rename(socket, seat.room, nickname, packet=packet, data={"nickname": nickname})
        seat.nickname = nickname
        farewell = self.farewell(nickname)
        if farewell is not None:
            socket.farewells[seat.room] = farewell

    def _seat(self, socket: LocalSocket) -> Seat:
        if socket.data is None:
            raise Refused("join a room first", code="not_in_room")
        seat: Seat = socket.data
        return seat

    def _broadcast(
        self, kind: str, template: str, nickname: str, *, extra: dict[str, str] | None = None, **values: str
    ) -> Packet:
        data = {"msg": template.format(nickname=nickname, **values), "type": kind, "nickname": nickname}
        if "old" in values:
            data["old"] = values["old"]
        return event_packet(self.namespace, "broadcast_msg", data | (extra or {}))


async def _marked(clock: "asyncio.Future[int]", mark: str | None) -> dict[str, Any]:
    await clock
    return {} if mark is None else {"id": mark}
