"""Both languages, both themes, keyboard only, narrow and zoomed, and what axe says of each page."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from engine import Engine
from playwright.sync_api import Page, expect
from server import Server

pytestmark = pytest.mark.browser
AXE = Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js"
QUESTION = "哪些情形应当从轻或者减轻行政处罚？"
HAN = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def conversation(server: Server) -> str:
    """Path of a conversation with one answer that cites."""
    made = server.call("POST", "/api/conversations", {"knowledge_bases": ["laws"]})["id"]
    server.call("POST", f"/api/conversations/{made}/messages", {"content": QUESTION, "model": "extractive"})
    return f"/conversations/{made}"


def overflow(page: Page) -> int:
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def test_english_is_complete(server: Server, open_page) -> None:
    page = open_page(server.url + "/knowledge/laws", lang="en-GB")
    expect(page.get_by_role("button", name="Upload files")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
    expect(page.locator(".documents")).to_be_visible()
    labels = page.locator(":is(button, th, label, .filters, .topbar):not(.rail-list *)").evaluate_all(
        "all => all.map((e) => e.innerText + (e.getAttribute('aria-label') || ''))"
    )
    own = [label for label in labels if HAN.search(label) and "中华人民共和国" not in label and "常用法律" not in label]
    assert own == []


def test_the_language_is_switched_and_remembered(server: Server, open_page, conversation: str) -> None:
    page = open_page(server.url + conversation)
    expect(page.locator(".rung")).to_contain_text("引用")
    page.get_by_role("button", name="语言").click()
    page.get_by_role("menuitemradio", name="English").click()
    expect(page.get_by_role("button", name="Copy answer and references")).to_be_visible()
    expect(page.locator(".rung")).to_contain_text("citation")
    page.reload()
    expect(page.locator("#question")).to_have_attribute("placeholder", "Ask the knowledge bases")


def test_refusals_of_a_question_come_in_the_language_that_was_switched_to(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="scripted-that-is-gone")
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    expect(page.locator(".answer-problem").last).to_contain_text("模型")
    page.get_by_role("button", name="语言").click()
    page.get_by_role("menuitemradio", name="English").click()
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    expect(page.locator(".answer-problem")).to_have_count(2)
    expect(page.locator(".answer-problem").last).to_contain_text("model")


def test_an_answer_goes_on_when_the_language_is_switched(server: Server, engine: Engine, open_page) -> None:
    hold = threading.Event()
    engine.script(["有立功表现的，", "应当从轻", "或者减轻处罚[1]。"], hold=hold)
    page = open_page(server.url + "/")
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    expect(page.locator(".chip").first).to_be_visible()
    page.get_by_role("button", name="语言").click()
    page.get_by_role("menuitemradio", name="English").click()
    hold.set()
    expect(page.locator(".answer .prose")).to_contain_text("有立功表现的，应当从轻或者减轻处罚", timeout=20_000)
    expect(page.locator(".answer")).to_have_attribute("aria-busy", "false")


def test_the_theme_follows_the_system_and_the_switch(server: Server, open_page) -> None:
    def is_dark(page: Page) -> bool:
        return page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0] < 80")

    assert not is_dark(open_page(server.url + "/"))
    page = open_page(server.url + "/", dark=True)
    assert is_dark(page)
    page.get_by_role("button", name="主题").click()
    page.get_by_role("menuitemradio", name="浅色").click()
    assert not is_dark(page)
    page.reload()
    assert not is_dark(page)


def test_everything_by_keyboard_only(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.type("第一行")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("第二行")
    assert page.input_value("#question") == "第一行\n第二行"
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_have_attribute("aria-busy", "false", timeout=20_000)
    page.keyboard.press("ArrowUp")
    assert page.input_value("#question") == QUESTION
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("]")
    expect(page.locator(".pane-head h2")).to_contain_text("来源 1 /")
    page.keyboard.press("]")
    expect(page.locator(".pane-head h2")).to_contain_text("来源 2 /")
    page.keyboard.press("[")
    expect(page.locator(".pane-head h2")).to_contain_text("来源 1 /")
    page.keyboard.press("Escape")
    expect(page.locator(".pane")).to_have_count(0)
    page.keyboard.press("Control+k")
    page.keyboard.type("知识库")
    page.keyboard.press("Enter")
    expect(page).to_have_url(server.url + "/knowledge")
    page.keyboard.press("/")
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="快捷键")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_what_is_typed_right_after_the_shortcut_goes_into_the_search(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    page.focus("#question")
    focused = page.evaluate("""async () => {
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "k", ctrlKey: true, bubbles: true, cancelable: true }));
        await new Promise(queueMicrotask);
        await new Promise(queueMicrotask);
        return document.activeElement.getAttribute("role");
    }""")
    assert focused == "combobox"


def test_what_is_typed_right_after_a_dialog_was_closed_is_no_longer_for_it(server: Server, open_page) -> None:
    page = open_page(server.url + "/knowledge", model="extractive")
    expect(page.get_by_role("button", name="新建知识库")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("combobox")).to_be_focused()
    still_there = page.evaluate("""async () => {
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true, cancelable: true }));
        await new Promise(queueMicrotask);
        await new Promise(queueMicrotask);
        return document.querySelectorAll("dialog").length;
    }""")
    assert still_there == 0
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="快捷键")).to_be_visible()


def test_nothing_is_sent_while_an_input_method_composes(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    page.fill("#question", "xingzheng")
    page.locator("#question").evaluate(
        "(box) => box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true, bubbles: true, cancelable: true }))"
    )
    page.locator("#question").evaluate(
        "(box) => box.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true }))"
    )
    assert page.input_value("#question") == "xingzheng"
    expect(page.locator(".question")).to_have_count(0)
    page.press("#question", "Enter")
    expect(page.locator(".question")).to_have_count(1)


def test_answers_are_announced_and_the_focus_is_seen(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    page.fill("#question", QUESTION)
    page.press("#question", "Enter")
    expect(page.locator("#live")).to_contain_text("从轻或者减轻", timeout=20_000)
    expect(page.locator(".answer")).to_have_attribute("aria-busy", "false", timeout=20_000)
    page.keyboard.press("Shift+Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "solid2px"


@pytest.mark.parametrize(("size", "zoom"), [((375, 740), 1), ((683, 384), 2), ((1366, 768), 1)])
def test_pages_fit_their_width(server: Server, open_page, conversation: str, size: tuple[int, int], zoom: int) -> None:
    for path in ("/", conversation, "/knowledge", "/knowledge/laws"):
        page = open_page(server.url + path, size=size, device_scale_factor=zoom)
        expect(page.locator("#main :is(.examples, .prose, .base-list, .documents)")).to_be_visible()
        assert overflow(page) <= 0, path


def test_narrow_screens_show_rail_and_sources_as_sheets(server: Server, open_page, conversation: str) -> None:
    page = open_page(server.url + conversation, size=(375, 740))
    expect(page.locator(".rail")).to_have_count(0)
    page.get_by_role("button", name="展开侧栏").click()
    expect(page.get_by_role("navigation")).to_be_in_viewport()
    page.get_by_role("button", name="收起侧栏").click()
    expect(page.locator(".rail")).to_have_count(0)
    page.locator(".mark").first.click()
    expect(page.locator(".pane .passage").first).to_be_in_viewport()
    assert overflow(page) <= 0
    page.keyboard.press("Escape")
    expect(page.locator(".pane")).to_have_count(0)


def test_a_long_question_and_a_long_line_fit(server: Server, open_page) -> None:
    page = open_page(server.url + "/", size=(375, 740), model="extractive")
    page.fill("#question", "x" * 2000)
    assert page.locator("#question").bounding_box()["height"] <= 220
    page.press("#question", "Enter")
    expect(page.locator(".answer")).to_have_attribute("aria-busy", "false", timeout=20_000)
    assert overflow(page) <= 0
    page.fill("#question", "长" * 20_001)
    page.press("#question", "Enter")
    expect(page.locator("#composer-hint")).to_contain_text("问题太长")
    expect(page.locator(".question")).to_have_count(1)


@pytest.mark.parametrize(("lang", "dark"), [("zh-CN", False), ("en-GB", True)], ids=["light", "dark"])
def test_axe_finds_nothing_serious(server: Server, open_page, conversation: str, lang: str, dark: bool) -> None:
    page = open_page(server.url + conversation, dark=dark, lang=lang)
    page.locator(".mark").first.click()
    expect(page.locator(".pane .passage").first).to_be_visible()
    check(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    check(page)
    page.keyboard.press("Escape")
    page.locator(".wide-menu .menu-button").first.click()
    check(page)
    for path in ("/", "/knowledge", "/knowledge/laws"):
        page = open_page(server.url + path, dark=dark, lang=lang)
        expect(page.locator("#main :is(.examples, .base-list, .documents)")).to_be_visible()
        check(page)


def check(page: Page) -> None:
    """Nothing of the impacts serious and critical. Through the debugger, which the content policy does not concern."""
    page.evaluate(f"async () => {{ if (!window.axe) {{ {AXE.read_text(encoding='utf-8')} }} }}")
    found = page.evaluate("async () => (await axe.run()).violations.filter((v) => ['serious', 'critical'].includes(v.impact))")
    assert [(rule["id"], rule["nodes"][0]["html"][:200], rule["nodes"][0]["failureSummary"][:300]) for rule in found] == []
