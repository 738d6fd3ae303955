"""A Socket.IO server that breaks its promises on purpose, and counts how often: what a load test must find.

    python -m tests.loadtest.planted_server PORT --drop 0.01 --twice 0.01 --swap 0.01 --delay 0.01 --delay-s 0.2

Room chat of the kit's wire contract, WebSocket only, one process, no Redis. Each share is of the deliveries. On
SIGTERM it prints, as JSON, how many deliveries there were to be and how many were broken in each way.
"""

import argparse
import asyncio
import collections
import random
import signal
from typing import Any

import orjson
from aiohttp import WSMsgType, web

PING_S = 25
DELAY_S = 0.2
SWAP_LIMIT_S = 0.5


class Member:
    """A connection. What follows a delayed delivery waits behind it: a delay changes no order."""

    def __init__(self, socket: web.WebSocketResponse, room: str, number: int) -> None:
        self.socket = socket
        self.room = room
        self.nickname = f"guest-{number}"
        self.swapped: str | None = None  # goes after the next one
        self.behind: list[str] | None = None
        self.waiting: asyncio.Queue[str] = asyncio.Queue()


class PlantedServer:
    """`shares`: drop, twice, swap, delay -> of the deliveries."""

    def __init__(self, shares: dict[str, float], delay_s: float, seed: int) -> None:
        self._shares = shares
        self._delay_s = delay_s
        self._random = random.Random(seed)
        self._members: dict[str, list[Member]] = collections.defaultdict(list)
        self._number = 0
        self.counts: collections.Counter[str] = collections.Counter()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """One connection."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        opening = {"sid": f"planted0{self._number}", "upgrades": [], "maxPayload": 1_000_000}
        times = {"pingInterval": PING_S * 1000, "pingTimeout": 20_000}
        await socket.send_str("0" + orjson.dumps(opening | times).decode())
        member: Member | None = None
        sending = pinging = None
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            text = message.data
            if text.startswith("40"):
                member = Member(socket, orjson.loads(text[2:])["room"], self._number)
                self._number += 1
                await socket.send_str("40" + orjson.dumps({"sid": f"s{self._number}"}).decode())
                self._members[member.room].append(member)
                sending = asyncio.create_task(self._send(member))
                pinging = asyncio.create_task(self._ping(member))
            elif text.startswith("42") and member is not None:
                mark, _, event = text[2:].partition("[")
                self._say(member, orjson.loads("[" + event)[1]["msg"])
                member.waiting.put_nowait(f'43{mark}[{{"ok":true}}]') if mark else None
        if member is not None:
            self._members[member.room].remove(member)
        for task in (sending, pinging):
            if task is not None:
                task.cancel()
        return socket

    def _say(self, sender: Member, text: str) -> None:
        data = {"msg": f"{sender.nickname} : {text}", "type": "message", "nickname": sender.nickname, "to": "ALL"}
        packet = "42" + orjson.dumps(["broadcast_msg", data]).decode()
        for member in self._members[sender.room]:
            self._deliver(member, packet)

    def _deliver(self, member: Member, packet: str) -> None:
        self.counts["deliveries"] += 1
        broken = self._broken(member)
        if broken:
            self.counts[broken] += 1
        if broken == "drop":
            return
        if broken == "swap":
            member.swapped = packet
            asyncio.get_running_loop().call_later(SWAP_LIMIT_S, self._give_up_swap, member, packet)
            return
        if broken == "delay":
            self._delay(member)
        self._put(member, packet)
        if broken == "twice":
            self._put(member, packet)
        if member.swapped is not None:
            self._put(member, member.swapped)
            member.swapped = None

    def _give_up_swap(self, member: Member, packet: str) -> None:
        if member.swapped is packet:  # nothing came to swap it with
            self.counts["swap"] -= 1
            self._put(member, packet)
            member.swapped = None

    def _broken(self, member: Member) -> str:
        if member.swapped is not None:
            return ""  # one in each way at a time, so that counts are plain
        at = self._random.random()
        for broken, share in self._shares.items():
            if at < share and not (broken == "delay" and member.behind is not None):
                return broken
            at -= share
        return ""

    def _delay(self, member: Member) -> None:
        member.behind = []
        asyncio.get_running_loop().call_later(self._delay_s, self._go_on, member)

    def _put(self, member: Member, packet: str) -> None:
        member.waiting.put_nowait(packet) if member.behind is None else member.behind.append(packet)

    def _go_on(self, member: Member) -> None:
        behind, member.behind = member.behind or [], None
        for packet in behind:
            member.waiting.put_nowait(packet)

    async def _send(self, member: Member) -> None:
        while True:
            await member.socket.send_str(await member.waiting.get())

    async def _ping(self, member: Member) -> None:
        while True:
            await asyncio.sleep(PING_S)
            member.waiting.put_nowait("2")


async def serve(arguments: Any) -> None:
    """Until SIGTERM."""
    shares = {name: getattr(arguments, name) for name in ("drop", "twice", "swap", "delay")}
    server = PlantedServer(shares, arguments.delay_s, arguments.seed)
    app = web.Application()
    app.router.add_get("/socket.io/", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", arguments.port).start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    print("ready", flush=True)
    await stopped.wait()
    print(orjson.dumps(dict(server.counts)).decode(), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    for name in ("drop", "twice", "swap", "delay"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    parser.add_argument("--delay-s", type=float, default=DELAY_S)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(serve(parser.parse_args()))
