"""An answer from the knowledge graph in the console: its badge, the facts of its sources, the way to the Graph page."""

from __future__ import annotations

import re

import pytest
from graphs import load
from playwright.sync_api import Page, expect
from server import Server, wait_until
from test_console_looks import check

pytestmark = pytest.mark.browser
CSV = "head,relation,tail,source\n无间道,导演,刘伟强,片库\n无间道,主演,刘德华,片库\n无间道,主演,梁朝伟,片库\n"


@pytest.fixture(scope="module")
def films(server: Server) -> Server:
    server.make_base("films", "影片", {"note.md": "# 手记\n\n《无间道》由刘伟强执导。\n"})
    assert load(server, "films", CSV)["status"] == "done"
    return server


def ask(page: Page, question: str) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")
    expect(page.locator(".answer").last).to_have_attribute("aria-busy", "false", timeout=20_000)


def told(server: Server) -> bool:
    """Whether the facts stand in a text by now."""
    body = {"model": "extractive@films", "messages": [{"role": "user", "content": "无间道的导演是谁？"}]}
    return bool(server.call("POST", "/v1/chat/completions", body)["citations"][0]["document_id"])


def test_the_answer_says_where_it_comes_from(films: Server, open_page) -> None:
    wait_until(lambda: told(films), 30)
    page = open_page(films.url + "/", model="extractive@films")
    ask(page, "《无间道》的主演有哪些？")
    answer = page.locator(".answer").last
    expect(answer.locator(".prose")).to_contain_text("《无间道》的主演是刘德华、梁朝伟")
    expect(answer.locator(".rung")).to_contain_text("由知识图谱回答")
    answer.locator(".mark").first.click()
    pane = page.locator(".pane")
    expect(pane.get_by_role("region", name="知识图谱中的事实")).to_contain_text("无间道 — 主演 — 刘德华来源：片库")
    expect(pane.locator(".passage").first).to_contain_text("无间道的主演：刘德华、梁朝伟。")
    check(page)
    page.keyboard.press("Escape")
    answer.get_by_role("link", name="在图谱中查看").click()
    expect(page).to_have_url(re.compile(r"/graph/films\?entity=\d+$"))
    expect(page.get_by_role("complementary", name="实体").get_by_role("heading", name="无间道")).to_be_visible()


def test_an_imported_fact_that_stands_in_no_text_is_shown_as_such(films: Server, open_page) -> None:
    page = open_page(films.url + "/", model="extractive@films", lang="en-GB")
    fact = {"knowledge_base": "films", "head_id": "1", "head": "无间道", "relation": "导演", "tail_id": "2", "tail": "刘伟强", "source": "片库"}
    place = {"index": 1, "document_id": "", "document": "片库", "title": "片库", "heading_path": [], "page": None, "start": 0, "end": 14, "external_id": None}
    citation = {**place, "quote": "无间道 | 导演 | 刘伟强", "url": "/graph/films?entity=1", "cited": True, "supported": True, "facts": [fact]}

    def untold(route) -> None:
        reply = route.fetch()
        rows = reply.json()
        for row in rows["data"]:
            if row["role"] == "assistant":
                row["citations"] = [citation]
        route.fulfill(response=reply, json=rows)

    ask(page, "无间道的导演是谁？")
    page.route("**/api/conversations/*/messages*", untold)
    page.reload()
    page.locator(".answer .mark").first.click()
    facts = page.locator(".pane").get_by_role("region", name="Facts of the knowledge graph")
    expect(facts).to_contain_text("无间道 — 导演 — 刘伟强")
    expect(facts).to_contain_text("no text of it to open now")
    assert page.locator(".pane .problem").count() == 0
    check(page)
