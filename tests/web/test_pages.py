"""The pages in real Chromium, against three nodes behind the port they share."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support.cluster import ClusterNode, RunningCluster, running_cluster
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

from .browser import Visitor, chromium, visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=alert(1)>"
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
UNBROKEN = "가나다라" * 16
BACK_WITHIN_MS = 20_000

Visit = Callable[..., Awaitable[Visitor]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """The browser of all visitors."""
    async with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def regulars() -> list[Visitor]:
    """Visitors who come again: starting a browser's process takes longer than most tests."""
    return []


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser, cluster: RunningCluster, regulars: list[Visitor]) -> AsyncIterator[Visit]:
    """`await visit()`: a visitor with a browser of their own; none may have had anything to complain of.

    With options for the browser it is a new one.
    """
    idle = list(regulars)
    here: list[Visitor] = []

    async def visit(**options: Any) -> Visitor:
        one = idle.pop() if idle and not options else await visitor(browser, cluster.url, **options)
        here.append(one)
        if not options and one not in regulars:
            regulars.append(one)
        return one

    yield visit
    complaints = [each.complaints.copy() for each in here if each.complaints]
    for one in here:
        one.complaints.clear()
        if one.page.is_closed() or one not in regulars:
            await one.page.context.close()
        else:
            await one.rest()
    regulars[:] = [one for one in regulars if not one.page.is_closed()]
    assert complaints == []


async def entered(visit: Visit, room: str, *nicknames: str) -> list[Visitor]:
    """Visitors who are in a room, all of them in everybody's list."""
    visitors = await asyncio.gather(*(visit() for _ in nicknames))
    await asyncio.gather(*(one.enter(room, name) for one, name in zip(visitors, nicknames, strict=True)))
    for one, name in zip(visitors, nicknames, strict=True):
        await one.sees_users(name, *sorted(set(nicknames) - {name}))
    return visitors


async def test_two_browsers_chat_and_whisper_and_a_third_does_not_hear_the_whisper(visit: Visit) -> None:
    alice, bob, carol = await entered(visit, "talk", "alice", "bob", "carol")
    await alice.say("hello")
    for one in (alice, bob, carol):
        await one.sees("alice : hello", own=one is alice)
    await bob.say("psst", to="alice")
    await alice.sees("귓속말 :bob : psst", "whisper")
    await bob.sees("귓속말 :bob : psst", "whisper", own=True)
    await carol.say("what?")
    for one in (alice, bob, carol):
        await one.sees("carol : what?", own=one is carol)
        assert await one.texts() == ["alice : hello", "carol : what?"]
    assert await carol.texts("whisper") == []


async def test_a_whisper_to_somebody_who_left_is_kept_and_told_to_nobody(visit: Visit) -> None:
    alice, bob, carol = await entered(visit, "left", "alice", "bob", "carol")
    await alice.page.select_option("#target", "bob")
    await bob.leave()
    await alice.sees_users("alice", "carol")
    await alice.page.fill("#message-input", "a secret")
    await alice.page.press("#message-input", "Enter")
    await expect(alice.page.locator('#outbox li[data-state="failed"] .text')).to_have_text("a secret")
    await alice.say("in public")
    await carol.sees("alice : in public")
    assert "a secret" not in await carol.page.inner_text("body")


async def test_a_hostile_nickname_and_message_are_shown_as_text(visit: Visit) -> None:
    mallory, alice = await entered(visit, HOSTILE, HOSTILE, "alice")
    await mallory.say(f"<script>alert(2)</script>{HOSTILE}")
    await mallory.say("psst", to="alice")
    for one in (alice, mallory):
        await one.sees(f"{HOSTILE} : <script>alert(2)</script>{HOSTILE}")
        await one.sees(f"귓속말 :{HOSTILE} : psst", "whisper")
        await expect(one.page.locator("#users > li .user", has_text=HOSTILE)).to_have_text(HOSTILE)
        await expect(one.page.locator("h1")).to_have_text(HOSTILE)
        assert await one.page.locator("img, script:not([src])").count() == 0
    await alice.page.select_option("#target", HOSTILE)
    await mallory.rename("renamed")
    await alice.sees(f"{HOSTILE} 님이 renamed으로 대화명을 변경하셨습니다.", "rename")
    home = await visit()
    await home.page.goto(home.url)
    await expect(home.page.locator("#rooms .name", has_text="onerror")).to_have_text(HOSTILE)
    assert await home.page.locator("#rooms img").count() == 0


async def test_the_member_list_follows_joins_renames_and_leaves(visit: Visit) -> None:
    alice = await visit()
    await alice.enter("list", "alice")
    await alice.sees_users("alice")
    await expect(alice.page.locator("#users-alone")).to_be_visible()
    bob, carol = await visit(), await visit()
    await bob.enter("list", "bob")
    await alice.sees_users("alice", "bob")
    await carol.enter("list", "carol")
    for one, expected in ((alice, "alice bob carol"), (bob, "bob alice carol"), (carol, "carol alice bob")):
        await one.sees_users(*expected.split())
    await bob.rename("zoe")
    await alice.sees_users("alice", "carol", "zoe")
    await bob.sees_users("zoe", "alice", "carol")
    await alice.sees("bob 님이 zoe으로 대화명을 변경하셨습니다.", "rename")
    await bob.leave()
    await alice.sees_users("alice", "carol")
    await alice.sees("zoe 님이 나가셨습니다.", "leave")
    await carol.page.goto(carol.url)  # walks away
    await alice.sees_users("alice")
    await expect(alice.page.locator("#users-alone")).to_be_visible()


async def test_a_nickname_that_is_taken_is_refused_with_a_word(visit: Visit) -> None:
    alice, bob = await entered(visit, "taken", "alice", "bob")
    await bob.rename("alice")
    await expect(bob.page.locator("#toasts .toast")).to_have_count(1)
    await bob.say("still bob")
    await alice.sees("bob : still bob")
    await alice.sees_users("alice", "bob")


async def test_who_comes_with_a_taken_nickname_enters_as_a_guest(visit: Visit) -> None:
    first, second = await visit(), await visit()
    await first.enter("twins", "twin")
    await second.enter("twins", "twin")
    assert (await second.nickname()).startswith("손님-")
    await expect(second.page.locator("#toasts .toast")).to_have_count(1)


async def test_a_reload_keeps_the_nickname(visit: Visit) -> None:
    alice, bob = await entered(visit, "reload", "alice", "bob")
    await alice.page.reload()
    await alice.joined()
    await alice.sees_users("alice", "bob")
    await bob.sees_users("bob", "alice")


async def test_rooms_are_listed_and_entered_by_keyboard_alone(visit: Visit) -> None:
    (host,) = await entered(visit, "키보드/방 100%", "host")
    guest = await visit()
    page = guest.page
    await page.goto(guest.url)
    room = page.locator('#rooms li[data-room="키보드/방 100%"]')
    await expect(room.locator(".members")).to_have_text("1명")
    await _tab_to(guest, "#room-input")
    await page.keyboard.type("typed room")
    await _tab_to(guest, "#nickname-input")
    await page.keyboard.type("typist")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/typed%20room")
    await guest.joined()
    await guest.sees_users("typist")
    await expect(page.locator("#message-input")).to_be_focused()
    await page.keyboard.type("typed")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("twice")
    await page.keyboard.press("Enter")
    await guest.sees("typist : typed twice")
    assert await guest.texts() == ["typist : typed\ntwice"]
    await _tab_to(guest, "#back", back=True)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{guest.url}/")
    await expect(page.locator("#nickname-input")).to_have_value("typist")
    await expect(room).to_be_visible()
    await _tab_to(guest, '#rooms li[data-room="키보드/방 100%"] a')
    await page.keyboard.press("Enter")
    await guest.joined()
    await guest.sees_users("typist", "host")
    await host.sees_users("host", "typist")


async def _tab_to(one: Visitor, selector: str, *, back: bool = False) -> None:
    """Presses Tab until the element has the focus."""
    target = one.page.locator(selector)
    for _ in range(20):
        if await target.evaluate("element => element === document.activeElement"):
            return
        await one.page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"20 Tabs did not lead to {selector}")


async def test_a_room_is_opened_from_the_first_page(visit: Visit) -> None:
    alice, bob = await visit(), await visit()
    for one, name in ((alice, "alice"), (bob, "")):
        await one.page.goto(one.url)
        await one.page.fill("#room-input", " Ｎew  방 ")
        await one.page.fill("#nickname-input", name)
        await one.page.click("#enter")
        await one.page.wait_for_url("**/New%20%20%EB%B0%A9")
        await one.joined()
    assert (await bob.nickname()).startswith("손님-")
    await alice.sees_users("alice", await bob.nickname())


async def test_a_name_that_is_no_room_is_not_entered(visit: Visit) -> None:
    alice = await visit()
    await alice.page.goto(alice.url)
    await alice.page.fill("#room-input", "..")
    await alice.page.press("#room-input", "Enter")
    assert alice.page.url == f"{alice.url}/"
    assert await alice.page.evaluate("document.getElementById('room-input').validationMessage")
    await alice.page.goto(f"{alice.url}/%E2%80%AEroom")  # begins with a bidi override
    await expect(alice.page.locator("#refused")).to_be_visible()
    await alice.sees_state("offline")


async def test_the_lobby_is_one_room_for_all(visit: Visit) -> None:
    alice, bob = await visit(), await visit()
    for one in (alice, bob):
        await one.page.goto(f"{one.url}/lobby", wait_until="commit")
        await one.joined()
    assert (await alice.nickname()).startswith("GUEST-")
    await alice.rename("alice")
    await bob.sees_users(await bob.nickname(), "alice")
    await bob.say("hi all")
    await alice.sees(f"{await bob.nickname()} : hi all")
    await bob.say("hi you", to="alice")
    await alice.sees(f"{await bob.nickname()} : hi you", "whisper")
    assert await alice.texts("join") == []


async def test_the_echo_comes_back_to_everybody(visit: Visit) -> None:
    alice, bob = await visit(), await visit()
    for one in (alice, bob):
        await one.page.goto(f"{one.url}/echo")
        await one.sees("Welcome !", "echo")
    await alice.say("echo?")
    for one in (alice, bob):
        await one.sees("echo?", "echo")
        assert await one.texts("echo") == ["Welcome !", "echo?"]


@pytest.mark.parametrize(
    ("language", "online", "members"), [("ko", "연결됨", "멤버"), ("en", "Online", "Members")]
)
async def test_the_address_chooses_the_language(visit: Visit, language: str, online: str, members: str) -> None:
    one = await visit(locale="fr-FR")
    await one.page.goto(f"{one.url}/tongues?lang={language}")
    await one.joined()
    await expect(one.page.locator("#state")).to_have_text(online)
    await expect(one.page.locator("#people h2 span").first).to_have_text(members)
    await expect(one.page.locator("html")).to_have_attribute("lang", language)
    await one.page.goto(one.url)  # and it is kept
    await expect(one.page.locator("html")).to_have_attribute("lang", language)


@pytest.mark.parametrize(("locale", "language"), [("ko-KR", "ko"), ("fr-FR", "en")])
async def test_the_browser_s_language_is_the_first_choice_and_the_button_switches(
    visit: Visit, locale: str, language: str
) -> None:
    one = await visit(locale=locale)
    await one.page.goto(one.url)
    enter = {"ko": "들어가기", "en": "Enter"}
    other = {"ko": "en", "en": "ko"}[language]
    await expect(one.page.locator("#enter")).to_have_text(enter[language])
    await one.page.click("#language")
    await expect(one.page.locator("#enter")).to_have_text(enter[other])
    await one.page.reload()
    await expect(one.page.locator("#enter")).to_have_text(enter[other])


async def test_nothing_overflows_on_a_phone(visit: Visit) -> None:
    one = await visit(**PHONE)
    await one.page.goto(one.url)
    # Where a room is open, of a test before this one perhaps, the note is hidden and keeps its text.
    await expect(one.page.locator("#rooms-note:visible", has_text="방을 살펴보는 중…")).to_have_count(0)
    assert await one.overflow() <= 0
    await one.enter(UNBROKEN, UNBROKEN)
    await one.say("x" * 500)
    await one.sees(f"{UNBROKEN} : {'x' * 500}")
    await one.page.select_option("#target", "ALL")
    assert await one.overflow() <= 0
    for selector in ("#message-input", "#send", "#people-toggle", "#language"):
        assert await _within(one, selector), selector
    await expect(one.page.locator("#people")).to_be_hidden()
    await one.page.tap("#people-toggle")
    await expect(one.page.locator("#people")).to_be_visible()
    await one.sees_users(UNBROKEN)
    assert await one.overflow() <= 0
    for selector in ("#nickname-input", "#change-nickname", "#users > li .user"):
        assert await _within(one, selector), selector
    await one.page.tap("#people-toggle")
    await expect(one.page.locator("#people")).to_be_hidden()
    for path in ("/", "/lobby", "/echo"):
        for language in ("ko", "en"):
            await one.page.goto(f"{one.url}{path}?lang={language}")
            await expect(one.page.locator("html")).to_have_attribute("lang", language)
            assert await one.overflow() <= 0, (path, language)


async def _within(one: Visitor, selector: str) -> bool:
    box = await one.page.locator(selector).first.bounding_box()
    return box is not None and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["viewport"]["width"]


async def test_a_member_is_chosen_from_the_list_for_a_whisper_on_a_phone(visit: Visit) -> None:
    (bob,) = await entered(visit, "small", "bob")
    phone = await visit(**PHONE)
    await phone.enter("small", "phone")
    await phone.page.tap("#people-toggle")
    await phone.page.tap('#users > li[data-nickname="bob"] button')
    await expect(phone.page.locator("#people")).to_be_hidden()
    await expect(phone.page.locator("#target")).to_have_value("bob")
    await expect(phone.page.locator("#message-input")).to_be_focused()
    await phone.page.fill("#message-input", "from my hand")
    await phone.page.tap("#send")
    await bob.sees("귓속말 :phone : from my hand", "whisper")


# --- nodes that go -------------------------------------------------------------------------------------------


async def node_of(cluster: RunningCluster, room: str, nickname: str) -> ClusterNode:
    """The node that holds a member's connection."""
    members = (await cluster.get(f"/api/rooms/{room}"))["members"]
    nodes = (await cluster.get("/api/nodes"))["nodes"]
    (node_id,) = [member["node_id"] for member in members if member["nickname"] == nickname]
    (url,) = [node["url"] for node in nodes if node["node_id"] == node_id]
    return next(node for node in cluster.nodes if node.url == url)


async def test_a_killed_node_is_survived_by_reconnecting(
    browser: Browser, redis_server: RedisServer, key_prefix: str
) -> None:
    async with running_cluster(redis_server.url, key_prefix, nodes=3) as cluster:
        alice, bob = [await visitor(browser, cluster.url) for _ in range(2)]
        await asyncio.gather(alice.enter("drill", "alice"), bob.enter("drill", "bob"))
        await alice.say("before")
        await bob.sees("alice : before")
        await alice.keep_states()
        victim = await node_of(cluster, "drill", "alice")
        hit = {name for name in ("alice", "bob") if await node_of(cluster, "drill", name) is victim}
        if "bob" in hit:
            await bob.keep_states()
        victim.kill()
        for one, name in ((alice, "alice"), (bob, "bob")):
            if name in hit:
                await _came_back(one)
        # Who is on another node may have been connected through the victim, which forwarded: back by now, or soon.
        await bob.joined()
        await alice.say("after")
        for one in (alice, bob):
            await eventually(lambda one=one: _heard(one, " : after"))
        await bob.say("welcome back")
        await alice.sees(f"{await bob.nickname()} : welcome back")
        await asyncio.gather(*(each.page.context.close() for each in (alice, bob)))


async def _came_back(one: Visitor) -> None:
    """By itself, and the page has said so: offline, then online."""

    async def back() -> bool:
        states = await one.states()
        return "offline" in states and states[-1] == "online"

    await eventually(back, within_s=BACK_WITHIN_MS / 1000)
    await one.joined()
    assert await one.messages("gap").count() == 0, "it was sent what it had missed"


async def test_messages_that_are_lost_for_good_are_said_to_be(
    browser: Browser, own_redis: RedisServer, key_prefix: str
) -> None:
    async with running_cluster(own_redis.url, key_prefix, nodes=1) as cluster:
        alice = await visitor(browser, cluster.url)
        await alice.enter("flood", "alice")
        await alice.say("before")
        await alice.sees("alice : before")
        await asyncio.to_thread(own_redis.command, "FLUSHALL")
        await expect(alice.messages("gap")).to_have_count(1)
        await alice.joined()
        await alice.page.context.close()


async def _heard(one: Visitor, ending: str) -> bool:
    return any(text.endswith(ending) for text in await one.texts())


async def test_a_cluster_that_was_gone_altogether_is_found_again(
    browser: Browser, redis_server: RedisServer, key_prefix: str
) -> None:
    async with running_cluster(redis_server.url, key_prefix, nodes=1) as cluster:
        alice = await visitor(browser, cluster.url)
        await alice.enter("dark", "alice")
        cluster[0].kill()
        await alice.sees_state("offline")
        await alice.say("into the dark")
        cluster[0].start()
        await alice.joined()
        await alice.say("light again")
        await eventually(lambda: _heard(alice, " : light again"))
        # What was written meanwhile was kept, and goes first.
        assert [text.rpartition(" : ")[2] for text in await alice.texts()] == ["into the dark", "light again"]
        await alice.page.context.close()
