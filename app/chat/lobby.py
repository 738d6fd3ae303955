"""The lobby, namespace `/lobby`: everybody who connects is in one room, without texts for coming and going."""

from typing import Any

from ..cluster.local import LocalSocket
from ..hub.manager import ClusterManager
from ..wire import Packet, RoomId, event_packet
from .rooms import RoomChat, Seat
from .texts import Texts

LOBBY = RoomId("/lobby", "lobby")


class Lobby(RoomChat):
    """Room chat in a room that one enters by connecting and leaves by disconnecting."""

    guest_kind = "lobby"

    def __init__(self, manager: ClusterManager, texts: Texts) -> None:
        super().__init__(manager, texts, LOBBY.namespace)
        del self.events["joinroom"]

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Enters under a guest's name."""
        socket = self.manager.local_socket(sid, self.namespace)
        if not await self._resume(socket):
            await self._enter(socket, LOBBY, None)
            socket.data = Seat(LOBBY, [])

    async def former_room(self, socket: LocalSocket) -> RoomId | None:
        """There is one only."""
        return LOBBY

    @property
    def whisper_text(self) -> str:
        """A whisper looks like any message."""
        return self.texts.said

    def guest_name(self, number: int) -> str:
        """The same in every language."""
        return f"GUEST-{number}"

    def welcome(self, nickname: str) -> Packet:
        """Tells a newcomer its name."""
        return event_packet(self.namespace, "new", {"nickname": nickname})

    def arrival(self, nickname: str) -> Packet | None:
        """Nothing; the list of users shows it."""
        return None

    def farewell(self, nickname: str) -> Packet | None:
        """Nothing; the list of users shows it."""
        return None
