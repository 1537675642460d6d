"""What an answer took its time for, unfolded under it: in both languages and themes, on a wide page and a narrow one."""

from __future__ import annotations

import pytest
from engine import Engine
from playwright.sync_api import Page, expect
from server import Server

pytestmark = pytest.mark.browser


def asked(page: Page, question: str) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")
    expect(page.locator(".answer").last).to_have_attribute("aria-busy", "false", timeout=20_000)


def test_it_is_folded_and_its_bars_are_as_long_as_its_parts(server: Server, engine: Engine, open_page) -> None:
    engine.script(["可以", "减轻", "[1]。"], first_delay_s=0.9, delay_s=0.1)
    page = open_page(server.url + "/")
    asked(page, "哪些情形应当从轻或者减轻行政处罚？")
    timing = page.locator(".answer .timing")
    expect(timing.locator("summary")).to_contain_text("耗时")
    expect(timing.locator("dl")).not_to_be_visible()
    timing.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(timing.locator("dl")).to_be_visible()
    expect(timing).to_contain_text("引擎读提示")
    expect(timing.locator(".timing-stages")).to_contain_text("按词")
    parts = ("引擎读提示", "引擎作答", "核对引文")
    widths = {name: float(timing.locator("dl > div", has_text=name).locator("rect").first.get_attribute("width") or 0) for name in parts}
    assert widths["引擎读提示"] > widths["引擎作答"] > widths["核对引文"] > 0
    page.reload()  # stored with the answer
    expect(page.locator(".answer .timing summary")).to_contain_text("耗时")


@pytest.mark.parametrize(("lang", "dark", "size"), [("zh-CN", False, (375, 700)), ("en-GB", True, (375, 700))])
def test_it_fits_a_narrow_page(server: Server, open_page, lang: str, dark: bool, size: tuple[int, int]) -> None:
    page = open_page(server.url + "/", size=size, lang=lang, dark=dark, model="extractive")
    asked(page, "行政处罚的种类有哪些？")
    page.locator(".timing summary").last.click()
    expect(page.locator(".timing dl").last).to_be_visible()
    expect(page.locator(".timing").last).to_contain_text("Search" if lang.startswith("en") else "检索")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate("[...document.querySelectorAll('.timing *')].every((x) => x.getBoundingClientRect().right <= innerWidth)")
