"""The models page: what there is, and starting, stopping, swapping and trying it, on a running brain with a manager and stand-in engines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from local_models import local_models
from playwright.sync_api import Page, expect
from server import Server

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with local_models(tmp_path_factory.mktemp("models"), ["old"], ["new"]) as server:
        yield server


def row(page: Page, name: str):
    return page.locator(".models tbody tr", has=page.locator(".cell-name", has_text=name))


def pick(page: Page, name: str, action: str) -> None:
    page.get_by_role("button", name=f"“{name}”的操作").click()
    page.get_by_role("menuitem", name=action).click()


def test_models_are_tried_swapped_stopped_and_started(house: Server, open_page) -> None:
    page = open_page(house.url + "/")
    page.get_by_role("link", name="模型", exact=True).click()
    expect(page).to_have_url(house.url + "/models")
    expect(row(page, "old").locator(".state")).to_have_text("就绪")
    expect(row(page, "old")).to_contain_text("0/4 在回答")
    expect(row(page, "new")).to_contain_text("alive = false")
    pick(page, "old", "试用")
    expect(page.locator(".toast", has_text="old 可用")).to_be_visible()
    pick(page, "new", "替换同一设备上的模型")
    expect(page.get_by_role("dialog")).to_contain_text("“new”")
    page.get_by_role("dialog").get_by_role("button", name="替换同一设备上的模型").click()
    expect(row(page, "new").locator(".state")).to_have_text("就绪", timeout=20_000)
    expect(row(page, "old").locator(".state")).to_have_text("已停止", timeout=20_000)
    expect(row(page, "old")).to_contain_text("由 new 代答")
    pick(page, "new", "停止")
    page.get_by_role("dialog").get_by_role("button", name="停止").click()
    expect(row(page, "new").locator(".state")).to_have_text("已停止", timeout=20_000)
    pick(page, "old", "启动")
    expect(row(page, "old").locator(".state")).to_have_text("就绪", timeout=20_000)


def test_what_cannot_be_started_says_why(house: Server, open_page) -> None:
    page = open_page(house.url + "/models", expect=("409",))
    pick(page, "missing", "启动")
    expect(page.locator(".toast", has_text="nowhere.gguf")).to_be_visible()


def test_keys_alone_reach_every_action(house: Server, open_page) -> None:
    page = open_page(house.url + "/models")
    button = page.get_by_role("button", name="“old”的操作")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(house: Server, open_page, theme: str) -> None:
    page = open_page(house.url + "/models", lang="en-GB")
    page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    expect(row(page, "old")).to_be_visible()
    page.evaluate((Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js").read_text())
    found = page.evaluate("async () => (await axe.run()).violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id)")
    assert found == []


def test_narrow_it_does_not_overflow(house: Server, open_page) -> None:
    page = open_page(house.url + "/models")
    page.set_viewport_size({"width": 375, "height": 700})
    expect(row(page, "old")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_without_a_language_model_it_says_how_to_get_one(server: Server, open_page) -> None:
    page = open_page(server.url + "/models")
    expect(page.locator(".models tbody tr").first).to_be_visible()
    has_model = any(one["kind"] == "chat" and one["engine"] != "extractive" for one in server.call("GET", "/api/models")["data"])
    expect(page.get_by_text("qzbrain model pull")).to_have_count(0 if has_model else 1)
