"""A real Chromium, and what a visitor does and sees in it.

Every visitor is a browser of their own (a context: storage and connections apart). What went wrong in the
page unseen (errors, refused scripts, dialogs) is kept in `complaints`.
"""

import contextlib
import shutil
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from playwright.async_api import Browser, ConsoleMessage, Dialog, Locator, Page, async_playwright, expect

from tests.support.machine import lacking

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox, since CI runs as root in a container; and no word to anybody outside.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
SEEN_WITHIN_MS = 10_000
ENGINE_PATH = "/socket.io/?"
# Every state that the page shows, in order; a short one would pass between two looks.
KEEP_STATES = """() => {
  const state = document.getElementById("state");
  window.shownStates = [state.dataset.state];
  new MutationObserver(() => window.shownStates.push(state.dataset.state))
    .observe(state, { attributeFilter: ["data-state"] });
}"""


def find_chromium() -> str:
    """The browser to run; skips the test where there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    raise lacking("Chromium", "install Debian's package chromium")


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless browser."""
    path = find_chromium()
    expect.set_options(timeout=SEEN_WITHIN_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


class Visitor:
    """Somebody with a browser; `page` is Playwright's."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", self._on_dialog)

    # Doing

    async def rest(self) -> None:
        """Goes where there is nothing, and forgets who it was."""
        await self.page.goto(f"{self.url}/healthz")
        await self.page.evaluate("sessionStorage.clear()")

    async def enter(self, room: str, nickname: str = "") -> None:
        """Opens a room's page, with the nickname that the first page would have left; waits to be a member."""
        await self.rest()
        await self.page.evaluate("nickname => sessionStorage.setItem('nickname', nickname)", nickname)
        await self.page.goto(f"{self.url}/{quote(room, safe='')}", wait_until="commit")
        await self.joined()

    async def joined(self) -> None:
        """Waits until the page is online and shows us among the members."""
        await self.sees_state("online")
        await expect(self.page.locator("#users > li[data-own]")).to_have_count(1)

    async def say(self, text: str, to: str = "") -> None:
        """Writes and presses Enter; `to` one member, or to everybody."""
        if await self.page.locator("#target").count():
            await self.page.select_option("#target", to or "ALL")
        await self.page.fill("#message-input", text)
        await self.page.press("#message-input", "Enter")

    async def rename(self, nickname: str) -> None:
        """Asks for another nickname."""
        await self.page.fill("#nickname-input", nickname)
        await self.page.click("#change-nickname")

    async def leave(self) -> None:
        """Closes the page."""
        await self.page.close(run_before_unload=False)

    # Seeing

    def messages(self, kind: str = "") -> Locator:
        """The entries of the conversation, or those of one kind."""
        return self.page.locator(f'#messages .message[data-type="{kind}"]' if kind else "#messages .message")

    async def sees(self, text: str, kind: str = "message", *, own: bool = False) -> None:
        """Waits for an entry of exactly this text, once."""
        entry = self.messages(kind).filter(has=self.page.get_by_text(text, exact=True))
        await expect(entry).to_have_count(1)
        await expect(entry).to_have_attribute("data-own", "") if own else None

    async def texts(self, kind: str = "message") -> list[str]:
        """The entries of a kind so far."""
        return await self.messages(kind).locator(".text").all_text_contents()

    async def sees_state(self, state: str) -> None:
        """Waits until the connection's state is shown as this."""
        await expect(self.page.locator("#state")).to_have_attribute("data-state", state)

    async def sees_users(self, *nicknames: str) -> None:
        """Waits until exactly these are listed, ourselves first."""
        names = self.page.locator("#users > li .user")
        await expect(names).to_have_text(list(nicknames))
        await expect(self.page.locator("#member-count")).to_have_text(str(len(nicknames)))

    async def nickname(self) -> str:
        """What we are called, by the list of members."""
        name = await self.page.locator("#users > li[data-own]").get_attribute("data-nickname")
        return name or ""

    async def keep_states(self) -> None:
        """From now on `states` tells every state that was shown."""
        await self.page.evaluate(KEEP_STATES)

    async def states(self) -> list[str]:
        """The states shown since `keep_states`."""
        states: list[str] = await self.page.evaluate("window.shownStates")
        return states

    async def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        wide: int = await self.page.evaluate(
            "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - window.innerWidth"
        )
        return wide

    def _on_console(self, message: ConsoleMessage) -> None:
        # A poll that fails is the connection's business, which the page shows by its state.
        polling = ENGINE_PATH in message.location["url"]
        if (message.type == "error" and not polling) or "Content Security Policy" in message.text:
            self.complaints.append(f"console: {message.text}")

    async def _on_dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        await dialog.dismiss()


async def visitor(browser: Browser, url: str, **options: Any) -> Visitor:
    """A visitor; `options` are a browser context's (locale, viewport, ...)."""
    # Without motion, since every click waits for what moves to come to rest.
    context = await browser.new_context(**({"locale": "ko-KR", "reduced_motion": "reduce"} | options))
    return Visitor(await context.new_page(), url)
