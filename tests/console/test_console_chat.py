"""The chat page on a running brain: asking, sources, citations, stopping, a lost connection, what goes wrong."""

from __future__ import annotations

import json
import re
import threading
import urllib.parse

import pytest
from engine import Engine
from playwright.sync_api import Page, Route, expect
from server import Line, Server

pytestmark = pytest.mark.browser
QUESTION = "哪些情形应当从轻或者减轻行政处罚？"


def ask(page: Page, question: str = QUESTION) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")


def answered(page: Page, nth: int = -1) -> str:
    """The text of an answer, when it is complete."""
    answer = page.locator(".answer").nth(nth)
    expect(answer).to_have_attribute("aria-busy", "false", timeout=20_000)
    assert answer.locator(".prose").count() == 1, answer.inner_text()
    expect(answer.locator(".prose")).to_have_text(re.compile(r"\S"), use_inner_text=True)  # after a reload it is drawn a moment later
    return answer.locator(".prose").inner_text()


def test_a_question_is_answered_and_a_citation_opens_its_passage(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    ask(page)
    assert "从轻或者减轻" in answered(page)
    expect(page.locator(".question")).to_have_text(QUESTION)
    expect(page.locator(".rung")).to_contain_text("原文摘录，引用")
    assert page.locator(".chips .chip").count() >= 2
    page.locator(".mark").first.click()
    expect(page.locator(".pane .passage").first).to_be_visible()  # the text of the document comes in a request of its own
    passage = "".join(page.locator(".pane .passage").all_inner_texts())
    source = urllib.parse.parse_qs(urllib.parse.urlsplit(page.url).query)["source"][0]
    message, index = source.split(".")
    stored = server.call("GET", f"/api/conversations/{page.url.split('/')[-1].split('?')[0]}/messages")["data"]
    citation = next(c for m in stored if m["id"] == message for c in m["citations"] if c["index"] == int(index))
    assert bare(passage) == bare(citation["quote"])
    expect(page.locator(".pane .passage").first).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(page.locator(".pane")).to_have_count(0)


def bare(text: str) -> str:
    """Without blanks and Markdown's marks, which are not shown."""
    return re.sub(r"\*\*|#|\s", "", text)


def test_every_view_has_an_address_that_survives_reload_and_back(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    ask(page)
    text = answered(page)
    conversation = page.url
    page.locator(".chip").first.click()
    expect(page.locator(".pane .passage").first).to_be_visible()
    page.reload()
    expect(page.locator(".pane .passage").first).to_be_visible()
    assert answered(page) == text
    page.get_by_role("link", name="打开全文").click()
    expect(page.locator(".page .passage").first).to_be_in_viewport()
    assert re.search(r"/documents/\w+\?start=\d+&end=\d+$", page.url)
    page.go_back()
    page.go_back()
    expect(page).to_have_url(conversation)
    page.get_by_role("link", name="新对话").click()
    expect(page.locator(".welcome")).to_be_visible()
    page.locator(".rail-row a").first.click()
    assert answered(page) == text


def test_hovering_a_citation_lights_its_card(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    ask(page)
    answered(page)
    page.locator(".mark").first.hover()
    number = page.locator(".mark").first.inner_text()
    expect(page.locator(".chip.lit .number")).to_have_text(number)
    page.locator(".question").first.hover()
    expect(page.locator(".chip.lit")).to_have_count(0)


def test_an_answer_streams_and_shows_sources_first(server: Server, engine: Engine, open_page) -> None:
    hold = threading.Event()
    engine.script(["有立功表现的，", "应当从轻", "或者减轻处罚[1]。"], hold=hold)
    page = open_page(server.url + "/")
    ask(page)
    expect(page.locator(".chip").first).to_be_visible()
    expect(page.locator(".prose")).to_have_count(0)
    expect(page.get_by_role("button", name="停止")).to_be_visible()
    hold.set()
    assert answered(page).startswith("有立功表现的，应当从轻或者减轻处罚")
    expect(page.locator(".rung")).to_contain_text("由语言模型 scripted 回答")
    expect(page.get_by_role("button", name="发送")).to_be_visible()


def test_waiting_tells_the_place_in_the_queue(server: Server, engine: Engine, open_page) -> None:
    hold = threading.Event()
    engine.script(["好[1]。"], hold=hold)
    first, second = open_page(server.url + "/"), open_page(server.url + "/")
    ask(first)
    expect(first.locator(".chip").first).to_be_visible()
    ask(second)
    expect(second.locator(".waiting")).to_contain_text("排队第 1 位")
    hold.set()
    answered(first)
    answered(second)


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_stop_ends_the_answer_and_keeps_what_came(server: Server, engine: Engine, open_page, how: str) -> None:
    engine.script(["甲"] * 400, delay_s=0.05)
    page = open_page(server.url + "/")
    ask(page)
    expect(page.locator(".prose")).to_contain_text("甲甲甲")
    if how == "button":
        page.get_by_role("button", name="停止").click()
    else:
        page.keyboard.press("Escape")
    text = answered(page)
    assert 3 <= len(text) < 400
    expect(page.locator(".rung")).to_contain_text("已停止")
    page.reload()
    assert answered(page) == text


def test_a_lost_connection_says_so_and_resumes_by_itself(server: Server, engine: Engine, line: Line, open_page) -> None:
    texts = [f"{number}、" for number in range(120)]
    engine.script(texts, delay_s=0.03)
    page = open_page(line.url + "/", expect=("WebSocket connection", "Failed to load resource"))
    ask(page)
    expect(page.locator(".prose")).to_contain_text("9、")
    line.cut()
    expect(page.get_by_text("连接中断，正在重新连接")).to_be_visible()
    line.mend()
    expect(page.get_by_text("连接中断，正在重新连接")).to_have_count(0)
    assert answered(page) == "".join(texts)


def test_a_second_tab_and_a_reload_see_the_running_answer(server: Server, engine: Engine, open_page) -> None:
    hold = threading.Event()
    engine.script(["甲", "乙", "丙[1]。"], hold=hold)
    page = open_page(server.url + "/")
    ask(page)
    expect(page).to_have_url(re.compile("/conversations/"))
    expect(page.locator(".chip").first).to_be_visible()
    page.reload()
    other = open_page(page.url)
    expect(other.locator(".chip").first).to_be_visible()
    hold.set()
    assert answered(page).startswith("甲乙丙") and answered(other).startswith("甲乙丙")


def test_hostile_answers_and_long_lines_do_no_harm(server: Server, engine: Engine, open_page) -> None:
    engine.script(
        [
            "<img src=http://evil.test/x onerror=document.title='hit'>",
            "<script>document.title='hit'</script>",
            "[甲](javascript:document.title='hit')",
            "长" * 2000,
        ]
    )
    page = open_page(server.url + "/")
    ask(page)
    assert "<script>" in answered(page)
    assert page.title() != "hit"
    assert page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth && document.querySelector('.thread').scrollWidth <= document.querySelector('.thread').clientWidth"
    )


def test_an_engine_that_fails_gives_a_labelled_lower_rung(server: Server, engine: Engine, open_page) -> None:
    engine.script(fault="status", status=500)
    page = open_page(server.url + "/")
    ask(page)
    answered(page)
    expect(page.locator(".rung")).to_contain_text("原文摘录")


def test_without_evidence_the_answer_says_so(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    ask(page, "木星有几颗卫星？")
    answered(page)
    expect(page.locator(".rung")).to_contain_text("没有足以回答的内容")


def test_errors_say_what_happened_and_the_request_id_and_can_be_retried(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive", expect=("500",))
    ask(page)
    answered(page)
    body = json.dumps({"error": {"message": "数据库暂时不可用，请稍后重试。", "type": "server_error", "code": "x", "param": None}})
    page.route("**/messages?**", lambda route: route.fulfill(status=500, headers={"X-Request-Id": "abc123"}, body=body))
    page.reload()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("数据库暂时不可用")
    expect(alert).to_contain_text("abc123")
    page.unroute("**/messages?**")
    alert.get_by_role("button", name="重试").click()
    answered(page)


def test_a_refused_question_keeps_its_reason_on_the_page(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="scripted-that-is-gone")
    ask(page)
    expect(page.locator(".answer-problem")).to_be_visible()
    expect(page.get_by_role("button", name="发送")).to_be_visible()


def test_feedback_copy_and_again(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    ask(page)
    text = answered(page)
    page.get_by_role("button", name="复制回答和出处").click()
    expect(page.get_by_text("已复制。").first).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "[1]" in copied and f"{server.url}/documents/" in copied
    page.get_by_role("button", name="回答不对").click()
    page.get_by_label("哪里不对？").fill("少了一条")
    page.get_by_role("button", name="提交").click()
    expect(page.get_by_role("button", name="回答不对")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.get_by_role("button", name="回答不对")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="换个方式再答一次").click()
    page.get_by_role("menuitem", name="原样再答一次").click()
    expect(page.locator(".answer")).to_have_count(2)
    assert answered(page) == text


def test_a_conversation_is_renamed_and_deleted(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    ask(page, "劳动合同的试用期最长多久？")
    answered(page)
    row = page.locator(".rail-row").first
    row.hover()
    row.get_by_role("button").click()
    page.get_by_role("menuitem", name="重命名对话").click()
    page.get_by_label("标题").fill("试用期<b>")
    page.get_by_role("button", name="保存").click()
    expect(page.locator(".rail-row a").first).to_have_text("试用期<b>")
    row.hover()
    row.get_by_role("button").click()
    page.get_by_role("menuitem", name="删除对话").click()
    expect(page.get_by_role("dialog")).to_contain_text("试用期<b>")
    page.get_by_role("dialog").get_by_role("button", name="删除", exact=True).click()
    expect(page.get_by_role("link", name="试用期<b>")).to_have_count(0)
    expect(page.locator(".welcome")).to_be_visible()


def test_a_conversation_of_500_messages_is_shown_and_scrolls(server: Server, open_page) -> None:
    page = open_page(server.url + "/", model="extractive")
    ask(page)
    answered(page)
    place = page.url
    rows = server.call("GET", f"/api/conversations/{place.split('/')[-1]}/messages")["data"]
    many = [{**rows[n % 2], "id": f"m{n}", "message_id": f"m{n}"} for n in range(500)]

    def serve(route: Route) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(route.request.url).query)
        start = int(query.get("after", ["0"])[0])
        piece = many[start : start + 100]
        route.fulfill(json={"data": piece, "has_more": start + 100 < 500, "next": str(start + 100)})

    page.route("**/messages?**", serve)
    page.reload()
    expect(page.locator(".answer")).to_have_count(250)
    frames = page.evaluate(
        """async () => {
            const box = document.querySelector(".thread");
            const took = [];
            let last = performance.now();
            for (let n = 0; n < 60; n += 1) {
                box.scrollTop -= 400;
                await new Promise(requestAnimationFrame);
                took.push(performance.now() - last);
                last = performance.now();
            }
            return took.sort((a, b) => a - b);
        }"""
    )
    assert frames[30] < 50, f"half of the frames take {frames[30]:.0f} ms"
