"""What nodes ask of each other, and of clients: acknowledgements, and entering a room elsewhere.

A question travels as a notice through Redis, in order with everything else but stored nowhere; so does its
answer. Who waits for which answer is kept in `hub.acknowledgements`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from socketio import packet

from ..cluster.cluster import Cluster
from ..cluster.local import LocalSocket
from ..cluster.supervision import end
from ..errors import ClusterKitError, NotConnected, StoreUnavailable
from ..node import looks_like_sid
from ..transport.fanout import FanOut
from ..wire import UNMARKED, Answer, Ask, Enter, Packet, RoomId, from_json, to_json, with_ack_id
from .acknowledgements import Acknowledgements

logger = logging.getLogger(__name__)

ENTER_TIMEOUT_S = 15.0
# Code in the answer to Enter -> what the asking side raises; others are StoreUnavailable.
ENTER_ERRORS: dict[str, type[Exception]] = {"reserved_name": ValueError, NotConnected.code: NotConnected}


class Requests:
    """Both sides: asking, and doing what is asked."""

    def __init__(self, cluster: Cluster, fanout: FanOut) -> None:
        self._cluster = cluster
        self._fanout = fanout
        self._acknowledgements = Acknowledgements()
        self._tasks: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Ends what is being answered."""
        await end(self._tasks)

    # --- asking --------------------------------------------------------------------------------------------

    async def ask(
        self, namespace: str, target: str, event: Packet, skip: list[str], callback: Callable[..., Any]
    ) -> None:
        """Emits an event that wants an acknowledgement, to a sid or a room; one that is not there is fine.

        Raises StoreError.
        """
        room, log = RoomId(namespace, target), self._cluster.log
        ask_id = self._acknowledgements.ask(callback, once=looks_like_sid(target))
        ask = Ask(self._cluster.node.node_id, ask_id, event, skip=tuple(skip))
        try:
            if looks_like_sid(target):
                await log.ask_socket(namespace, replace(ask, sid=target))
            else:
                await log.notify_room(room, ask)
        except NotConnected:
            await log.notify_room(room, ask)  # then it is a room
        except BaseException:
            self._acknowledgements.forget(ask_id)
            raise

    async def enter_elsewhere(self, sid: str, namespace: str, room: str) -> None:
        """Has the node of a socket let it enter a room. Raises NotConnected, ValueError, StoreUnavailable."""
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

        def settle(*args: str) -> None:
            if not answer.done():
                answer.set_result(list(args))

        ask_id = self._acknowledgements.ask(settle, once=True)
        request = Enter(self._cluster.node.node_id, ask_id, sid, room)
        try:
            await self._cluster.log.notify_socket(namespace, sid, request)
            async with asyncio.timeout(ENTER_TIMEOUT_S):
                code, message = await answer
        except TimeoutError:
            raise StoreUnavailable("the socket's node did not answer") from None
        finally:
            self._acknowledgements.forget(ask_id)
        if code:
            raise ENTER_ERRORS.get(code, StoreUnavailable)(message)

    def answered(self, answer: Answer) -> None:
        """An answer has come to something this node asked."""
        args = from_json(answer.packet.text)
        if answer.packet.attachments:  # else what looks like a placeholder is the client's own
            args = packet.Packet.reconstruct_binary(args, answer.packet.attachments)
        self._acknowledgements.answered(answer.ask_id, args)

    # --- being asked ---------------------------------------------------------------------------------------

    def put(self, sockets: Iterable[LocalSocket], ask: Ask) -> None:
        """Puts a question to clients, to each under a number of its own."""
        for socket in sockets:
            ack_id = self._acknowledgements.expect(socket.sid, ask.node_id, ask.ask_id)
            question = with_ack_id(ask.packet, socket.namespace, ack_id)
            self._fanout.write((socket,), question, offset=UNMARKED)

    def expects(self, sid: str, ack_id: int) -> bool:
        """Whether a client was asked this."""
        return self._acknowledgements.expects(sid, ack_id)

    async def acknowledged(self, sid: str, ack_id: int, data: list[Any]) -> None:
        """A client has answered: it goes back to the node that asked."""
        asked = self._acknowledgements.claim(sid, ack_id)
        if asked is None:
            return  # nobody asked, or did so too long ago
        node_id, ask_id = asked
        try:
            args, attachments = packet.Packet.deconstruct_binary(list(data or []))
            encoded = Packet(to_json(args), tuple(bytes(part) for part in attachments))
        except (TypeError, ValueError, RecursionError) as error:
            logger.info("socket %s acknowledged something that cannot be passed on: %s", sid, error)
            return
        await self._answer(node_id, Answer(ask_id, encoded))

    def enter(self, request: Enter) -> None:
        """Lets a socket of this node enter a room, and answers."""
        task = asyncio.ensure_future(self._enter(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def gone(self, sid: str) -> None:
        """A socket will answer nothing any more."""
        self._acknowledgements.gone(sid)

    async def _enter(self, request: Enter) -> None:
        socket = self._cluster.locals.sockets.get(request.sid)
        outcome = ["", ""]
        try:
            if socket is None:
                raise NotConnected("the socket has gone")
            await self._cluster.roster.enter(socket, RoomId(socket.namespace, request.room))
        except ClusterKitError as error:
            outcome = [getattr(error, "code", "store"), str(error)]
        await self._answer(request.node_id, Answer(request.ask_id, Packet(to_json(outcome))))

    async def _answer(self, node_id: str, answer: Answer) -> None:
        try:
            await self._cluster.log.notify_node(node_id, answer)
        except ClusterKitError as error:
            logger.warning("an answer was not passed on: %s", error)
