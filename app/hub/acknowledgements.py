"""Acknowledgements across nodes: who asked, and what the client's answer belongs to.

The node that emits keeps the callback under a number of its own; the node that holds the socket asks the
client under a number of the socket's and sends the answer back by way of Redis.
"""

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

# A client may never answer; beyond this many the oldest question is forgotten.
ASKED_MAX = 50_000
PENDING_PER_SOCKET_MAX = 1_000


class Acknowledgements:
    """Both sides' books."""

    def __init__(self) -> None:
        self._asked: OrderedDict[int, tuple[Callable[..., Any], bool]] = OrderedDict()  # ask_id -> callback, once
        self._ask_ids = itertools.count(1)
        self._pending: dict[str, dict[int, tuple[str, int]]] = {}  # sid -> ack_id -> node id, ask_id
        self._ack_ids = itertools.count(1)
        self._running: set[asyncio.Task[Any]] = set()

    # --- the asking side -----------------------------------------------------------------------------------

    def ask(self, callback: Callable[..., Any], *, once: bool) -> int:
        """Keeps a callback; `once`: for one answer, else for one from each member of a room."""
        ask_id = next(self._ask_ids)
        self._asked[ask_id] = (callback, once)
        if len(self._asked) > ASKED_MAX:
            self._asked.popitem(last=False)
        return ask_id

    def forget(self, ask_id: int) -> None:
        """Nobody will answer this any more."""
        self._asked.pop(ask_id, None)

    def answered(self, ask_id: int, args: list[Any]) -> None:
        """Calls the callback that waits for this answer, if any still does."""
        callback, once = self._asked.get(ask_id, (None, True))
        if once:
            self._asked.pop(ask_id, None)
        if callback is None:
            return
        try:
            result = callback(*args)
        except Exception:  # the app's; nobody above could do more than log it
            logger.exception("an acknowledgement callback failed")
            return
        if asyncio.iscoroutine(result):
            task = asyncio.ensure_future(_logged(result))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    # --- the socket's side ---------------------------------------------------------------------------------

    def expect(self, sid: str, node_id: str, ask_id: int) -> int:
        """The number under which the client is asked."""
        pending = self._pending.setdefault(sid, {})
        if len(pending) >= PENDING_PER_SOCKET_MAX:
            del pending[next(iter(pending))]
        ack_id = next(self._ack_ids)
        pending[ack_id] = (node_id, ask_id)
        return ack_id

    def expects(self, sid: str, ack_id: int) -> bool:
        """Whether the client was asked under this number and has not answered."""
        return ack_id in self._pending.get(sid, ())

    def claim(self, sid: str, ack_id: int) -> tuple[str, int] | None:
        """Who asked what the client has now answered; None where nobody did."""
        pending = self._pending.get(sid, {})
        asked = pending.pop(ack_id, None)
        if not pending:
            self._pending.pop(sid, None)
        return asked

    def gone(self, sid: str) -> None:
        """The socket will answer nothing any more."""
        self._pending.pop(sid, None)


async def _logged(awaitable: Any) -> None:
    try:
        await awaitable
    except Exception:  # as above
        logger.exception("an acknowledgement callback failed")
