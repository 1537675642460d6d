"""A Chromium, and pages in it that fail their test when they log an error, break the content policy, or ask another origin for anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from engine import Engine
from playwright.sync_api import Browser, Page, sync_playwright
from server import LAWS, Line, Server

CHROMIUM = Path("/usr/bin/chromium")
BROWSERS_OWN = (
    "accounts.google.com", "update.googleapis.com", "clients2.google.com", "clients2.googleusercontent.com", "optimizationguide-pa.googleapis.com",
    "safebrowsing.googleapis.com", "content-autofill.googleapis.com", "redirector.gvt1.com",
)  # fmt: skip
"""Hosts that Chromium asks for by itself, whatever page it shows. All other names are looked up, so that a page that wants one is seen (tests/offline)."""
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    f"--host-resolver-rules={','.join(f'MAP {host} ~NOTFOUND' for host in BROWSERS_OWN)}",
]  # fmt: skip
WIDE = (1366, 768)

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; without it these tests are skipped."""
    if not CHROMIUM.exists():
        pytest.skip("needs /usr/bin/chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The scripted language model behind `scripted`."""
    with Engine() as started:
        yield started


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Server]:
    """A running brain with two laws in `laws`; `auto` is the scripted model, which answers one question at a time."""
    config = f'[models.scripted]\nengine = "external"\nbase_url = "{engine.base_url}"\nslots = 1\n'
    started = Server(tmp_path_factory.mktemp("console"), config)
    try:
        names = ("中华人民共和国行政处罚法.md", "中华人民共和国劳动合同法.md")
        started.make_base("laws", "常用法律", {name: (LAWS / name).read_text(encoding="utf-8") for name in names})
        yield started
    finally:
        started.stop()


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    """A line to the server that can be cut."""
    made = Line(server.port)
    yield made
    made.close()


class Watch:
    """What a page must not do. `expected`: parts of messages that a test provokes on purpose."""

    def __init__(self, page: Page, origin: str) -> None:
        self.problems: list[str] = []
        self.expected: list[str] = []
        self._host = urlsplit(origin).netloc
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self._note("error", f"uncaught: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))

    def _note(self, kind: str, text: str) -> None:
        if kind == "error":
            self.problems.append(text)

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self._host:
            self.problems.append(f"request to another origin: {url}")

    def check(self) -> None:
        """Fail on the first thing that was not expected."""
        assert not [text for text in self.problems if not any(part in text for part in self.expected)]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """`open_page(url, size=, lang=, dark=, model=, expect=)` → a page in a browser context of its own."""
    opened: list[tuple[Any, Watch]] = []

    def open_one(
        url: str, *, size: tuple[int, int] = WIDE, lang: str = "zh-CN", dark: bool = False, model: str = "auto", expect: tuple[str, ...] = (), **more: Any
    ) -> Page:
        made = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale=lang, color_scheme="dark" if dark else "light", **more)
        made.add_init_script(f"localStorage.getItem('qzbrain.model') ?? localStorage.setItem('qzbrain.model', '\"{model}\"')")
        made.grant_permissions(["clipboard-read", "clipboard-write"])
        page = made.new_page()
        page.set_default_timeout(15_000)
        watch = Watch(page, url)
        watch.expected.extend(expect)
        opened.append((made, watch))
        page.goto(url)
        return page

    yield open_one
    for made, _ in opened:
        made.close()
    for _, watch in opened:
        watch.check()
