"""Rosters: who is said to be in a room, by the nodes over HTTP and by each client's last `userlist`, and who is.

The comparison is a pure function; fetching is here as well. What "is" means: a client that is connected, under
the nickname it was last told it has.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.support.cluster import RunningCluster

from .findings import GHOST, Finding
from .record import History

SOURCES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Listing:
    """What one source says of one room."""

    source: str
    room: str
    nicknames: tuple[str, ...]


def truth_of(histories: Iterable[History]) -> dict[str, set[str]]:
    """Room -> the nicknames of those who are in it."""
    rooms: defaultdict[str, set[str]] = defaultdict(set)
    for history in histories:
        if history.online:
            rooms[history.room].add(history.nickname)
    return dict(rooms)


def find_ghosts(truth: Mapping[str, set[str]], listings: Iterable[Listing]) -> list[Finding]:
    """One finding for each name that a room's listings have too much, too little, or twice."""
    wrong: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)  # room, name, what -> sources
    for listing in listings:
        there = truth.get(listing.room, set())
        counted = Counter(listing.nicknames)
        for name in counted.keys() - there:
            wrong[listing.room, name, "is not there, and listed"].append(listing.source)
        for name in there - counted.keys():
            wrong[listing.room, name, "is there, and not listed"].append(listing.source)
        for name in (name for name, count in counted.items() if count > 1 and name in there):
            wrong[listing.room, name, "is listed twice"].append(listing.source)
    return [
        Finding(GHOST, name, f"{what} in room {room} by {_shown(sources)}")
        for (room, name, what), sources in sorted(wrong.items())
    ]


def _shown(sources: list[str]) -> str:
    more = len(sources) - SOURCES_SHOWN
    return ", ".join(sources[:SOURCES_SHOWN]) + (f" and {more} more" if more > 0 else "")


async def listings(cluster: RunningCluster, up: Iterable[int], histories: list[History]) -> list[Listing]:
    """What every node that is up says over HTTP of every room, and every connected client's last `userlist`."""
    rooms = sorted({history.room for history in histories})
    asked = [(number, room) for number in up for room in rooms]
    answers = await asyncio.gather(*(_over_http(cluster, number, room) for number, room in asked))
    return answers + [
        Listing(f"the userlist of {history.name}", history.room, tuple(history.users or ()))
        for history in histories
        if history.online
    ]


async def _over_http(cluster: RunningCluster, number: int, room: str) -> Listing:
    body = await cluster.get(f"/api/rooms/{room}", number)
    return Listing(f"node {number}", room, tuple(member["nickname"] for member in body["members"]))
