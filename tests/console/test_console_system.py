"""The system page on a brain under supervisord whose model is away: what it is, its processes, each check with what to do."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect
from server import ROOT

sys.path.insert(0, str(ROOT))

from tests.running import RunningBrain

pytestmark = pytest.mark.browser
AWAY = '[models.away]\nengine = "external"\nbase_url = "http://127.0.0.1:9/v1"\n'
HAN = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    running = RunningBrain(tmp_path_factory.mktemp("system") / "data", AWAY).start()
    yield f"http://127.0.0.1:{running.port}"
    running.stop()


def check(page: Page, title: str):
    return page.locator(".finding", has=page.locator("strong", has_text=re.compile(f"^{title}$")))


def test_checks_stand_by_step_with_what_to_do_and_are_made_again(house: str, open_page) -> None:
    page = open_page(house + "/")
    page.get_by_role("link", name="系统", exact=True).click()
    expect(page).to_have_url(house + "/system")
    wrong = check(page, "语言模型 away")
    expect(wrong).to_have_class(re.compile("finding-fail"), timeout=20_000)
    expect(wrong.locator("code")).to_contain_text("base_url")
    expect(check(page, "网页服务")).to_have_class(re.compile("finding-ok"))
    assert page.locator(".step-checks h4").all_inner_texts()[0] == "第 1 步 数据库"
    wrong.get_by_role("button", name="复制“语言模型 away”的处理办法").click()
    assert "base_url" in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name=re.compile(r"失败 1$")).click()
    expect(page.locator(".finding")).to_have_count(1)
    page.get_by_role("button", name="全部", exact=True).click()
    again = page.get_by_role("button", name="再次检查")
    with page.expect_response("**/api/system/doctor") as reply:
        again.focus()
        page.keyboard.press("Enter")
    assert reply.value.ok
    expect(page.get_by_role("button", name="再次检查")).to_be_enabled(timeout=20_000)
    assert reply.value.json()["system"]["uptime_s"] >= 0


def test_processes_disk_and_queue_are_shown_in_both_languages(house: str, open_page) -> None:
    page = open_page(house + "/system", lang="en-GB", dark=True)
    table = page.get_by_role("region", name="Processes")
    expect(table.get_by_role("row", name=re.compile("^web Running"))).to_be_visible(timeout=20_000)
    expect(table.get_by_role("row", name=re.compile("^worker Running"))).to_be_visible()
    expect(table.get_by_role("row", name=re.compile("^graph Not needed"))).to_be_visible()
    overview = page.get_by_role("region", name="Overview")
    expect(overview).to_contain_text("SQLite · built-in index · built-in queue")
    expect(overview).to_contain_text("0 failed")
    expect(page.get_by_role("region", name="Data", exact=True)).to_contain_text("brain.sqlite")
    shown = page.locator("#main").inner_text()
    assert not HAN.search(shown), HAN.findall(shown)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_narrow_it_fits(house: str, open_page, theme: str) -> None:
    page = open_page(house + "/system", size=(375, 740))
    page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    expect(page.locator(".finding").first).to_be_visible(timeout=20_000)
    assert page.evaluate("[document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight]") == [0, 0]
    page.evaluate((Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js").read_text())
    found = page.evaluate("async () => (await axe.run()).violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id)")
    assert found == []


def test_a_failure_says_so_and_is_tried_again(house: str, open_page) -> None:
    page = open_page(house + "/models", expect=("503",))
    told = json.dumps({"error": {"message": "检查没有完成", "code": "doctor_unavailable", "type": "unavailable_error", "param": None}})

    def refuse(route: Route) -> None:
        route.fulfill(status=503, content_type="application/json", body=told)

    page.route("**/api/system/doctor", refuse)
    page.get_by_role("link", name="系统", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("检查没有完成")
    page.unroute("**/api/system/doctor", refuse)
    page.get_by_role("alert").get_by_role("button").click()
    expect(page.locator(".finding").first).to_be_visible(timeout=20_000)


def test_only_administrators_find_the_way_there(house: str, open_page) -> None:
    def as_role(page: Page, role: str) -> None:
        user = {"id": "u", "username": "li", "display_name": "李", "role": role, "clearance": "internal"}
        told = json.dumps({"accounts": True, "signed_in": True, "must_change": False, "setup_needed": False, "user": user})
        page.route("**/api/session", lambda route: route.fulfill(status=200, content_type="application/json", body=told))
        page.reload()
        expect(page.get_by_role("link", name="模型", exact=True)).to_be_visible()

    page = open_page(house + "/knowledge")
    as_role(page, "manager")
    expect(page.get_by_role("link", name="系统", exact=True)).to_have_count(0)
    page.unroute_all()
    as_role(page, "administrator")
    expect(page.get_by_role("link", name="系统", exact=True)).to_have_count(1)
