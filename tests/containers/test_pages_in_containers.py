"""The pages in real Chromium, through each balancer."""

import asyncio

import pytest

from tests.support.eventually import eventually
from tests.web.browser import chromium, visitor

from .stack import PROFILES, Stack, docker

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("balancer", PROFILES)
async def test_browsers_talk_and_come_back_from_a_killed_node(stack: Stack, room: str, balancer: str) -> None:
    url, containers = stack.urls[balancer], stack.containers()
    async with chromium() as browser:
        alice, bob = await asyncio.gather(*(visitor(browser, url, locale="en") for _ in range(2)))
        await asyncio.gather(alice.enter(room, "alice"), bob.enter(room, "bob"))
        (cookie,) = [each for each in await alice.page.context.cookies() if each["name"] == "clusterkit"]
        assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"
        await alice.say("hello")
        await bob.say("psst", to="alice")
        await bob.sees("alice : hello")
        await alice.sees("Whisper :bob : psst", "whisper")
        asked = await alice.page.evaluate("performance.getEntriesByType('resource').map(each => each.name)")
        (victim,) = [each for each in containers if f"sid={stack.node_of(each)}" in "".join(asked)]
        await asyncio.to_thread(docker, "kill", victim)
        try:
            await alice.sees_state("offline")
            await alice.joined()
            await alice.say("back")
            await bob.sees("alice : back")
            await bob.sees_users("bob", "alice")
        finally:
            await asyncio.to_thread(docker, "start", victim)
        await eventually(lambda: len(stack.healthy()) == len(containers), 60)
        assert alice.complaints == bob.complaints == []
