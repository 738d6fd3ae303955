"""Two clients on different nodes who talk all the time, in a process of their own: how long a message takes.

Usage: python -m tests.recovery.conversation <url> <url>. It speaks until its stdin closes and then prints, as
JSON, for each message the monotonic time of sending and the seconds that it took to the other one.
"""

import asyncio
import json
import sys
import time

from tests.support.eventually import eventually

from .visitor import Visitor

SAY_EVERY_S = 0.02
QUIET_S = 2.0


async def converse(urls: list[str]) -> list[tuple[float, float]]:
    """Until stdin closes. Raises AssertionError where a message is missing or out of order."""
    speaker, hearer = (Visitor({"recover": False, "room": "talk", "nickname": url}) for url in urls)
    await speaker.come(urls[0])
    await hearer.come(urls[1])
    sent_s: list[float] = []
    took_s: list[tuple[float, float]] = []
    speaking = asyncio.create_task(_speak(speaker, sent_s))
    hearing = asyncio.create_task(_hear(hearer, sent_s, took_s))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    speaking.cancel()
    await eventually(lambda: len(took_s) == len(sent_s), QUIET_S)
    hearing.cancel()
    return took_s


async def _speak(speaker: Visitor, sent_s: list[float]) -> None:
    while True:
        sent_s.append(time.monotonic())
        await speaker.send("send_msg", {"to": "ALL", "msg": f"{len(sent_s) - 1}"})
        await asyncio.sleep(SAY_EVERY_S)


async def _hear(hearer: Visitor, sent_s: list[float], took_s: list[tuple[float, float]]) -> None:
    while True:
        await hearer.read()
        name, args = hearer.events.pop()
        if name == "broadcast_msg" and args[0]["type"] == "message":
            number = int(args[0]["msg"].rpartition(" : ")[2])
            assert number == len(took_s), f"message {number} came where {len(took_s)} was expected"
            took_s.append((sent_s[number], time.monotonic() - sent_s[number]))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(converse(sys.argv[1:]))))
