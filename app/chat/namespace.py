"""What the three applications share: every event is acknowledged, and a client's mistake is only its own.

An event's handler gets the socket and the event's one JSON object, and returns the fields of its
acknowledgement, now or as a future. What it raises becomes `{"ok": false, "error": ...}` and an `error_msg`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from socketio import AsyncNamespace

from ..cluster.local import LocalSocket
from ..errors import Refused, Stale, StoreError
from ..hub.manager import ClusterManager
from ..wire import event_packet
from .validation import fields_of

logger = logging.getLogger(__name__)

Fields = Mapping[str, Any]
Reply = dict[str, Any] | asyncio.Future[dict[str, Any]]
Handler = Callable[[LocalSocket, Fields], Awaitable[Reply]]


class ChatNamespace(AsyncNamespace):  # type: ignore[misc]
    """A namespace whose `events` name the handlers of what clients send."""

    def __init__(self, namespace: str, manager: ClusterManager) -> None:
        super().__init__(namespace)
        self.manager = manager
        self.cluster = manager.cluster
        self.events: dict[str, Handler] = {}

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Called by python-socketio for every event, in the client's order."""
        if event in ("connect", "disconnect"):
            return await super().trigger_event(event, *args)
        socket = self.manager.local_socket(args[0], self.namespace)
        try:
            handler = self.events.get(event)
            if handler is None:
                raise Refused(f"there is no event {event[:64]!r} here", code="unknown_event")
            reply = await handler(socket, fields_of(list(args[1:])))
        except Exception as error:
            return self._failed(socket, error)
        if isinstance(reply, dict):
            return {"ok": True, **reply}
        return self._acknowledged(socket, reply)

    def _acknowledged(self, socket: LocalSocket, reply: "asyncio.Future[dict[str, Any]]") -> asyncio.Future[Any]:
        """The acknowledgement that `reply` is going to be; without a task, since every message has one."""
        acknowledgement: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(reply: "asyncio.Future[dict[str, Any]]") -> None:
            if acknowledgement.cancelled():
                return
            try:
                try:
                    acknowledgement.set_result({"ok": True, **reply.result()})
                except Exception as error:
                    acknowledgement.set_result(self._failed(socket, error))
            except asyncio.CancelledError:
                acknowledgement.cancel()
            except Exception as error:  # none of a client's or of Redis' doing: the server logs it
                acknowledgement.set_exception(error)

        reply.add_done_callback(settle)
        return acknowledgement

    def _failed(self, socket: LocalSocket, error: Exception) -> Any:
        """What the client hears of an error. What a retry can mend is not acknowledged: the stock client's
        `retries` takes any acknowledgement for success. Raises what is no client's and no Redis' doing."""
        match error:
            case Refused():
                described = {"code": error.code, "message": str(error)}
                self.tell(socket, "error_msg", described)
                return {"ok": False, "error": described}
            case StoreError():
                message = "the server could not tell whether this was done; it may be tried again"
                self.tell(socket, "error_msg", {"code": "unknown_outcome", "message": message})
                logger.warning("an event of socket %s was not acknowledged: %s", socket.sid, error)
                return self.server.not_handled
            case Stale():
                self.cluster.metrics.stale_sockets += 1
                self.manager.fanout.close(socket, str(error))
                return self.server.not_handled
            case _:
                raise error

    def tell(self, socket: LocalSocket, event: str, data: Mapping[str, Any]) -> None:
        """Sends an event to a socket of this node, past the log: it is about this moment only."""
        self.manager.fanout.write((socket,), event_packet(self.namespace, event, data))
