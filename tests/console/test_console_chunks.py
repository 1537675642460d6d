"""The document page on a running brain: chunks beside the text, edited by keyboard, switched off, compared, undone, other sizes tried."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from server import Server

pytestmark = pytest.mark.browser
TEXT = "\n".join(f"第{number}台设备😀每{number}个月保养一次，由值班人员登记。" for number in range(1, 41))
AXE = Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js"


@pytest.fixture
def document(server: Server) -> str:
    """A ready document in a knowledge base of its own."""
    name = f"kb-{uuid.uuid4().hex[:8]}"
    server.make_base(name, "设备", {"设备.txt": TEXT})
    return str(server.call("GET", f"/api/knowledge-bases/{name}/documents")["data"][0]["id"])


def open_document(server: Server, open_page, document: str, **more) -> Page:
    page = open_page(f"{server.url}/documents/{document}", **more)
    expect(page.locator(".document-text")).to_contain_text("第1台设备")
    return page


def test_a_chunk_is_edited_by_keyboard_and_undone(server: Server, open_page, document: str) -> None:
    page = open_document(server, open_page, document)
    first = page.locator(".chunks .chunk").first
    expect(page.locator(".line[data-chunk]").first).to_have_attribute("data-chunk", "1")
    first.locator(".chunk-text").click()
    expect(page.locator(".document-text .passage").first).to_contain_text("第1台设备😀")
    page.keyboard.press("e")
    area = first.get_by_label("段落内容")
    expect(area).to_be_focused()
    area.fill("第一台设备另行规定。")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="放弃修改？")).to_be_visible()
    page.keyboard.press("Escape")
    expect(area).to_have_value("第一台设备另行规定。")
    area.focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator(".document-text")).to_contain_text("第一台设备另行规定。")
    expect(first.locator(".chunk-text")).to_have_text("第一台设备另行规定。")
    first.get_by_role("button", name="第 1 段的修改历史").click()
    expect(page.locator(".diff ins").first).to_be_visible()
    page.get_by_role("button", name="撤销第 1 次修改").click()
    expect(page.locator(".document-text")).not_to_contain_text("第一台设备另行规定。")
    assert server.call("GET", f"/api/documents/{document}/content")["text"] == TEXT


def test_an_edit_that_somebody_else_overtook_is_not_lost(server: Server, open_page, document: str) -> None:
    page = open_document(server, open_page, document, expect=("409",))
    first = page.locator(".chunks .chunk").first
    first.get_by_role("button", name="编辑第 1 段").click()
    first.get_by_label("段落内容").fill("我的修改。")
    chunk = server.call("GET", f"/api/documents/{document}/chunks")["data"][0]
    server.call("PATCH", f"/api/documents/{document}/chunks/{chunk['id']}", {"enabled": False})
    server.call("PATCH", f"/api/documents/{document}/chunks/{chunk['id']}", {"text": "别人的修改。"})
    first.get_by_role("button", name="保存").click()
    expect(first.locator(".error-box")).to_be_visible()
    expect(first.get_by_label("段落内容")).to_have_value("我的修改。")
    expect(page.locator(".document-text")).to_contain_text("别人的修改。")
    first.get_by_role("button", name="保存").click()
    expect(page.locator(".document-text")).to_contain_text("我的修改。")


def test_a_chunk_is_switched_off_and_on(server: Server, open_page, document: str) -> None:
    page = open_document(server, open_page, document, lang="en-GB", dark=True)
    first = page.locator(".chunks .chunk").first
    first.get_by_role("button", name="Switch chunk 1 off").click()
    expect(first).to_contain_text("switched off")
    first.get_by_role("button", name="Switch chunk 1 on").click()
    expect(first.get_by_role("button", name="Switch chunk 1 off")).to_be_visible()


def test_other_sizes_are_shown_side_by_side(server: Server, open_page, document: str) -> None:
    page = open_document(server, open_page, document)
    page.get_by_role("button", name="预览其他分段大小").click()
    page.get_by_label("每段字符数").fill("100")
    page.get_by_label("重叠字符数").fill("0")
    page.get_by_role("button", name="比较").click()
    expect(page.get_by_role("region", name="调整后").locator(".chunk").first).to_contain_text("第1台设备")
    now, then = (page.get_by_role("region", name=name).locator(".chunk").count() for name in ("现在", "调整后"))
    assert then > now


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(server: Server, open_page, document: str, *, dark: bool) -> None:
    chunk = server.call("GET", f"/api/documents/{document}/chunks")["data"][0]
    made = server.call("PATCH", f"/api/documents/{document}/chunks/{chunk['id']}", {"text": chunk["text"].replace("保养", "大修")})
    server.call("PATCH", f"/api/documents/{document}/chunks/{made['id']}", {"enabled": False})
    page = open_document_edited(server, open_page, document, dark=dark)
    page.locator(".chunks .chunk").nth(1).get_by_role("button", name="编辑").click()
    assert serious(page) == []
    page.locator(".chunks .chunk").first.get_by_role("button", name="第 1 段的修改历史").click()
    expect(page.locator(".diff ins").first).to_be_visible()
    assert serious(page) == []


def open_document_edited(server: Server, open_page, document: str, **more) -> Page:
    page = open_page(f"{server.url}/documents/{document}", **more)
    expect(page.locator(".chunks .chunk").first).to_be_visible()
    return page


def serious(page: Page) -> list[str]:
    page.evaluate(f"async () => {{ if (!window.axe) {{ {AXE.read_text(encoding='utf-8')} }} }}")
    return list(page.evaluate("async () => (await axe.run()).violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id)"))


def test_chunks_at_375_pixels(server: Server, open_page, document: str) -> None:
    page = open_document(server, open_page, document, size=(375, 700))
    page.get_by_role("button", name="分块", exact=True).click()
    expect(page.locator(".chunks .chunk").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
