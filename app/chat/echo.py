"""Echo, namespace `/echo`: what one sends, everybody gets."""

from typing import Any

from ..cluster.local import LocalSocket
from ..hub.manager import ClusterManager
from ..wire import RoomId, event_packet
from .namespace import ChatNamespace, Fields, Reply
from .validation import message_in

WELCOME = "Welcome !"


class Echo(ChatNamespace):
    """The tutorial's first step, across nodes."""

    def __init__(self, manager: ClusterManager) -> None:
        super().__init__("/echo", manager)
        self.events = {"fromclient": self.fromclient}

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Greets the newcomer."""
        if self.manager.is_recovered(sid, self.namespace):
            return
        packet = event_packet(self.namespace, "toclient", {"msg": WELCOME})
        await self.cluster.log.append_to_socket(self.namespace, sid, packet)

    async def fromclient(self, socket: LocalSocket, fields: Fields) -> Reply:
        """`{msg}`: to everybody in the namespace, the sender included."""
        packet = event_packet(self.namespace, "toclient", {"msg": message_in(fields)})
        return self.cluster.log.append(RoomId(self.namespace, None), packet, actor=socket, settle=lambda clock: {})
