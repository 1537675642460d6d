"""Accounts in the browser: set-up, sign-in and out, one's own account, users and groups, rights of a knowledge base."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from server import ROOT, Server

pytestmark = pytest.mark.browser

ADMIN, READER = ("admin", "correct horse battery"), ("lisi", "lisi yong de mima 9")
REFUSED = ("401", "403")


class House:
    """A brain with accounts, an administrator, a reader, and a knowledge base that everyone may read."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(folder, 'qzbrain_accounts = "on"\n')
        self.url, self._data = self.server.url, folder / "data"

    def command(self, *words: str) -> str:
        own = {"QZBRAIN_DATA": str(self._data), "QZBRAIN_PORT": str(self.server.port), "QZBRAIN_EMBEDDER": "none", "PYTHONPATH": str(ROOT)}
        environment = {**os.environ, **own}
        done = subprocess.run([sys.executable, "-m", "qzbrain.cli", *words], env=environment, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    def link(self, *words: str) -> str:
        found = re.search(r"http\S+token=\S+", self.command(*words))
        assert found
        return found[0]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, browser) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("accounts"))
    try:
        made.command("kb", "create", "laws")
        page = browser.new_page(locale="zh-CN")
        page.goto(made.link("user", "setup-link"))
        chosen(page, ADMIN[0], ADMIN[1])
        expect(page.get_by_role("button", name="账号：admin")).to_be_visible()
        page.close()
        yield made
    finally:
        made.server.stop()


def chosen(page: Page, name: str | None, password: str) -> None:
    if name:
        page.locator("[name=username]").fill(name)
    page.locator("[name=password]").fill(password)
    page.locator("[name=again]").fill(password)
    page.locator("form button.primary").click()


def signed_in(house: House, open_page, who: tuple[str, str], path: str = "/", **more) -> Page:
    page = open_page(house.url + path, expect=REFUSED, **more)
    page.locator("[name=username]").fill(who[0])
    page.locator("[name=password]").fill(who[1])
    page.keyboard.press("Enter")
    expect(page.locator(".account-menu")).to_be_visible()
    return page


def test_nobody_sees_more_than_the_sign_in(house: House, open_page) -> None:
    page = open_page(house.url + "/knowledge/laws", expect=REFUSED)
    expect(page.get_by_role("heading", name="登录")).to_be_visible()
    expect(page.locator(".rail")).to_have_count(0)
    page.locator("[name=username]").fill("admin")
    page.locator("[name=password]").fill("not the password")
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("alert")).to_contain_text("用户名或密码不正确")
    page.locator("[name=password]").fill(ADMIN[1])
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("heading", name="laws")).to_be_visible()  # the address that was asked for


def test_the_set_up_link_works_once(house: House, open_page) -> None:
    page = open_page(house.url + "/setup?token=used", expect=("409",))
    chosen(page, "second", "another long password")
    expect(page.get_by_role("alert")).to_contain_text("已完成设置")


def test_a_user_is_made_chooses_a_password_and_reads_what_was_granted(house: House, open_page) -> None:
    page = signed_in(house, open_page, ADMIN, "/users")
    page.get_by_role("button", name="新建用户").click()
    page.get_by_role("dialog").locator("[name=username]").fill(READER[0])
    page.get_by_role("dialog").locator("[name=display_name]").fill("李四")
    page.get_by_role("button", name="保存").click()
    link = page.locator(".shown-once code").inner_text()
    reader = open_page(link, expect=REFUSED)
    chosen(reader, None, READER[1])
    expect(reader.get_by_role("status")).to_contain_text("lisi")
    reader = signed_in(house, open_page, READER, "/knowledge")
    expect(reader.locator(".base-list li")).to_have_count(0)
    expect(reader.get_by_role("button", name="新建知识库")).to_have_count(0)
    page.goto(house.url + "/knowledge/laws")
    page.get_by_role("button", name="更多").click()
    page.get_by_role("menuitem", name="权限与密级").click()
    page.get_by_label("添加").select_option(label="所有登录用户")
    page.get_by_role("button", name="保存").click()
    expect(page.locator(".toast", has_text="权限已保存")).to_be_visible()
    reader.wait_for_timeout(1000)  # what a right that was given takes at most to hold
    reader.reload()
    expect(reader.locator(".base-list li")).to_have_count(1)
    page.get_by_role("button", name="更多").click()
    page.get_by_role("menuitem", name="权限与密级").click()
    page.get_by_role("dialog").locator("[name=level]").select_option("secret")
    page.get_by_role("button", name="保存").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    reader.wait_for_timeout(1000)
    reader.reload()
    expect(reader.locator(".base-list li")).to_have_count(0)


def test_signing_out_and_a_session_that_was_ended_lead_to_the_sign_in(house: House, open_page) -> None:
    page = signed_in(house, open_page, ADMIN)
    page.get_by_role("button", name="账号：admin").click()
    page.get_by_role("menuitem", name="退出登录").click()
    expect(page.get_by_role("heading", name="登录")).to_be_visible()
    page = signed_in(house, open_page, ADMIN)
    house.command("user", "sign-out", "admin")
    page.get_by_role("link", name="知识库", exact=True).click()
    expect(page.get_by_text("登录已过期")).to_be_visible()


def test_a_key_is_made_shown_once_and_ended(house: House, open_page) -> None:
    page = signed_in(house, open_page, ADMIN, "/account")
    page.get_by_role("button", name="新建密钥").click()
    page.get_by_role("dialog").locator("[name=name]").fill("夜间任务")
    page.get_by_role("dialog").locator("button.primary").click()
    assert page.locator(".shown-once code").inner_text().startswith("qzb_")
    page.reload()
    expect(page.locator(".shown-once")).to_have_count(0)
    page.get_by_role("button", name="删除密钥“夜间任务”").click()
    page.get_by_role("dialog").get_by_role("button", name="删除").click()
    expect(page.get_by_text("夜间任务")).to_have_count(0)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("path", ["/account", "/users"])
def test_axe_finds_nothing_serious_and_nothing_overflows(house: House, open_page, path: str, dark: bool) -> None:
    page = signed_in(house, open_page, ADMIN, path, dark=dark, lang="en-GB")
    expect(page.locator("table").first).to_be_visible()
    page.evaluate((Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js").read_text())
    found = page.evaluate("async () => (await axe.run()).violations.filter((v) => ['serious', 'critical'].includes(v.impact)).map((v) => v.id)")
    assert found == []
    page.set_viewport_size({"width": 375, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_sign_in_is_fit_for_everybody(house: House, open_page) -> None:
    page = open_page(house.url, lang="en-GB", expect=REFUSED)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.evaluate((Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js").read_text())
    assert page.evaluate("async () => (await axe.run()).violations.map((v) => v.id)") == []


def test_without_accounts_nothing_of_it_shows(server: Server, open_page) -> None:
    page = open_page(server.url + "/")
    expect(page.locator(".rail")).to_be_visible()
    expect(page.locator(".account-menu")).to_have_count(0)
    page.goto(server.url + "/account")
    expect(page.get_by_text("QZBRAIN_ACCOUNTS=on")).to_be_visible()
