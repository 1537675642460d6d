"""Curated entries in the console on a running brain: write one, approve it, be answered by it, carry it in files, correct a wrong answer."""

from __future__ import annotations

import re
import urllib.error
import uuid
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from server import Server, wait_until

pytestmark = pytest.mark.browser
AXE = Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js"
HAN = re.compile("[\u4e00-\u9fff]")
RULES = "# 采购管理办法\n\n采购金额超过五十万元的，应当公开招标。\n\n评审专家不少于五人。\n\n合同自签订之日起七个工作日内报备案。\n"
LEAVE = {"question": "年假可以休几天？", "answer": "年假 **5 天**。\n\n- 满十年：10 天", "variants": ["年休假有多少天"], "source": "人事处"}
TABLE = "问题,相似问,答案,来源,失效\n试用期多久？,试用期有多长|试用多久,三个月,人事处,2099-12-31\n,,没有问题的一段文字,,\n空答案？,,,,\n日期错？,,答,,明天\n"


@pytest.fixture
def base(server: Server) -> str:
    """A knowledge base of its own with one document."""
    name = f"entries-{uuid.uuid4().hex[:8]}"
    server.make_base(name, f"采购 {name}", {"办法.md": RULES})
    return name


def add(server: Server, base: str, **given: Any) -> dict[str, Any]:
    made: dict[str, Any] = server.call("POST", f"/api/knowledge-bases/{base}/entries", given)
    return made


def ask(server: Server, base: str, question: str) -> tuple[str, dict[str, Any]]:
    """Path of a new conversation with one answer, and the answer."""
    made = server.call("POST", "/api/conversations", {"knowledge_bases": [base]})["id"]
    return f"/conversations/{made}", server.call("POST", f"/api/conversations/{made}/messages", {"content": question, "model": "extractive"})


def list_page(server: Server, open_page: Any, base: str, query: str = "", **options: Any) -> Page:
    page: Page = open_page(f"{server.url}/knowledge/{base}/entries{query}", **options)
    return page


def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f".entry-form [name={name}]").fill(value)


def test_an_entry_is_written_approved_and_answers(server: Server, open_page, base: str) -> None:
    page = open_page(f"{server.url}/knowledge/{base}")
    page.get_by_role("link", name="知识条目").click()
    expect(page).to_have_url(f"{server.url}/knowledge/{base}/entries")
    expect(page.get_by_text("还没有知识条目")).to_be_visible()
    page.get_by_role("button", name="新建条目").last.click()
    expect(page.get_by_label("问题", exact=True)).to_be_focused()
    fill(page, question="午休几点到几点？", answer="**十二点**至十四点。", variants="午休时间\n\n 中午休息多久 ", negatives="夜班午休几点？")
    fill(page, source="办公室", valid_until="2099-12-31")
    expect(page.locator(".entry-preview strong")).to_have_text("十二点")
    page.get_by_role("button", name="保存", exact=True).click()
    expect(page.locator(".page .state").first).to_have_text("待批准")
    for text in ("来源：办公室", "至 2099/12/31", "内部", "作者：local"):
        expect(page.locator(".figures")).to_contain_text(text)
    expect(page.locator(".entry-side")).to_contain_text("中午休息多久")
    page.get_by_role("button", name="批准").click()
    expect(page.locator(".toast", has_text="已批准，现在生效")).to_be_visible()
    expect(page.locator(".page .state").first).to_have_text("已批准")
    wait_until(lambda: ask(server, base, "午休时间？")[1]["rung"] == "entry", 20)
    page.goto(server.url + ask(server, base, "午休时间？")[0])
    expect(page.locator(".rung")).to_contain_text("由人工核定的知识条目直接回答")
    page.locator(".mark").first.click()
    expect(page.locator(".pane .passage").last).to_contain_text("至十四点")
    page.get_by_role("link", name="打开知识条目").click()
    expect(page.locator(".entry-title")).to_have_text("午休几点到几点？")


def test_a_change_shows_what_it_changed_while_the_old_one_answers(server: Server, open_page, base: str) -> None:
    made = add(server, base, **LEAVE, approve=True)
    page = list_page(server, open_page, base)
    page.locator(".entries a", has_text="年假可以休几天").click()
    page.get_by_role("button", name="修改").click()
    fill(page, answer="年假 **15 天**。\n\n- 满十年：10 天", source="人事处、工会")
    page.get_by_role("button", name="保存", exact=True).click()
    expect(page.locator(".page .state").first).to_have_text("修改待批准")
    expect(page.get_by_text("第 1 版继续作答")).to_be_visible()
    expect(page.locator(".versions del")).to_have_text("5")
    expect(page.locator(".versions ins")).to_have_text(["15", "、工会"])
    expect(page.locator(".versions li")).to_have_count(2)
    held = server.call("GET", f"/api/knowledge-bases/{base}/entries/{made['id']}")
    assert (held["version"], held["approved_version"], held["variants"]) == (2, 1, LEAVE["variants"])


def test_a_time_of_day_stays_when_something_else_is_changed(server: Server, open_page, base: str) -> None:
    made = add(server, base, **LEAVE, valid_from="2026-01-01T08:30:00+08:00", valid_until="2099-06-30T12:00:00+08:00")
    page = list_page(server, open_page, base, f"?entry={made['id']}&edit=1", timezone_id="Asia/Shanghai")
    expect(page.locator("[name=valid_from]")).to_have_value("2026-01-01")
    fill(page, source="工会", valid_until="2099-07-01")
    page.get_by_role("button", name="保存", exact=True).click()
    expect(page.locator(".figures")).to_contain_text("2026/01/01 至 2099/07/01")
    held = server.call("GET", f"/api/knowledge-bases/{base}/entries/{made['id']}")
    assert held["valid_from"] == made["valid_from"] and held["valid_until"].startswith("2099-07-01T15:59:59")


def test_leaving_asks_when_something_was_changed_and_what_was_typed_is_kept(server: Server, open_page, base: str) -> None:
    add(server, base, **LEAVE)
    page = list_page(server, open_page, base, "?entry=new")
    expect(page.get_by_label("问题", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".entries tbody tr")).to_have_count(1)
    page.keyboard.press("n")
    fill(page, answer="没写完")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_contain_text("还没有保存")
    page.keyboard.press("Escape")
    expect(page.locator("[name=answer]")).to_have_value("没写完")
    page.get_by_role("link", name="新对话").click()
    page.go_back()
    expect(page.locator("[name=answer]")).to_have_value("没写完")
    page.locator("[name=answer]").press("Escape")
    page.get_by_role("button", name="放弃修改").click()
    expect(page.locator(".entries tbody tr")).to_have_count(1)
    page.keyboard.press("n")
    expect(page.locator("[name=answer]")).to_have_value("")


def test_what_contradicts_it_is_told_and_one_click_away(server: Server, open_page, base: str) -> None:
    add(server, base, question="评审专家最少几人？", answer="四人。", approve=True)
    page = list_page(server, open_page, base, "?entry=new")
    fill(page, question="评审专家不少于多少人？", answer="评审专家不少于三人。", variants="评审专家最少几人")
    page.get_by_role("button", name="保存并批准").click()
    conflicts = page.locator(".conflicts")
    expect(conflicts.locator(".card", has_text="另一条目答案不同")).to_contain_text("四人")
    document = conflicts.locator(".card", has_text="文档另有说法")
    expect(document).to_contain_text("办法.md")
    document.click()
    expect(page.locator(".passage")).to_contain_text("评审专家不少于五人")
    expect(page.locator(".passage")).to_be_in_viewport()


def choose(page: Page, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=re.compile("选择文件|换一个文件")).click()
    chooser.value.set_files(file)


def test_a_sheet_is_tried_first_and_then_taken_in(server: Server, open_page, tmp_path: Path, base: str) -> None:
    file = tmp_path / "问答.csv"
    file.write_text(TABLE, encoding="gb18030")
    page = list_page(server, open_page, base)
    page.get_by_role("button", name="导入").first.click()
    choose(page, file)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("检查完毕，将会：新增 2 条、更新 0 条、不变 0 条。")
    expect(dialog.locator(".row-errors li")).to_have_count(2)
    expect(dialog.locator(".row-errors li").last).to_contain_text("第 5 行")
    assert server.call("GET", f"/api/knowledge-bases/{base}/entries")["data"] == []
    dialog.get_by_label("导入后立即生效").check()
    dialog.get_by_role("button", name="导入 2 条").click()
    expect(dialog).to_contain_text("已导入：新增 2 条")
    dialog.get_by_role("button", name="关闭").last.click()
    expect(page.locator(".entries tbody tr")).to_have_count(2)
    expect(page.locator(".entries .state")).to_have_text(["已批准", "已批准"])


def test_a_sheet_is_dropped_on_the_page_and_one_that_cannot_be_read_says_why(server: Server, open_page, base: str) -> None:
    page = list_page(server, open_page, base, expect=("400", "415", "422"))
    expect(page.get_by_text("还没有知识条目")).to_be_visible()
    drop(page, "别的.csv", "a,b\n1,2\n")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("alert")).to_contain_text("请求编号")
    expect(dialog.get_by_role("button", name=re.compile("^导入 "))).to_be_disabled()
    page.keyboard.press("Escape")
    drop(page, "问答.csv", TABLE)
    expect(dialog).to_contain_text("将会：新增 2 条")
    assert server.call("GET", f"/api/knowledge-bases/{base}/documents")["data"][0]["name"] == "办法.md", "no document was made of it"


def drop(page: Page, name: str, text: str) -> None:
    data = page.evaluate_handle(
        "([name, text]) => { const data = new DataTransfer(); data.items.add(new File([text], name, { type: 'text/csv' })); return data; }", [name, text]
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": data})
    page.dispatch_event("body", "drop", {"dataTransfer": data})


@pytest.mark.parametrize("form", ["xlsx", "csv", "jsonl"])
def test_entries_are_exported(server: Server, open_page, base: str, form: str) -> None:
    add(server, base, **LEAVE)
    page = list_page(server, open_page, base)
    page.get_by_role("button", name="导出").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=f"（{form}）").click()
    assert download.value.suggested_filename == f"{base}-entries.{form}"
    data = Path(download.value.path()).read_bytes()
    assert data[:2] == b"PK" if form == "xlsx" else "年假可以休几天？".encode() in data


def test_lists_are_searched_filtered_and_go_on(server: Server, open_page, base: str) -> None:
    for number in range(60):
        add(server, base, question=f"第{number}号问题是什么？", answer=f"答{number}")
    add(server, base, **LEAVE, approve=True)
    add(server, base, question="将来的规定？", answer="一", valid_from="2099-01-01", approve=True)
    add(server, base, question="过去的规定？", answer="二", valid_until="2020-01-01", approve=True)
    page = list_page(server, open_page, base)
    expect(page.locator(".entries tbody tr")).to_have_count(50)
    page.get_by_role("button", name="显示更多").click()
    expect(page.locator(".entries tbody tr")).to_have_count(63)
    for state, question in (("未到生效日", "将来的规定？"), ("已过期", "过去的规定？")):
        page.get_by_role("button", name=state, exact=True).click()
        expect(page.locator(".entries .cell-name")).to_have_text([question])
        expect(page.locator(".entries .state")).to_have_text([state])
    page.get_by_role("button", name="全部", exact=True).click()
    page.keyboard.press("/")
    page.keyboard.type("年假")
    expect(page.locator(".entries .cell-name")).to_have_text(["年假可以休几天？"])
    expect(page).to_have_url(re.compile(r"\?q="))
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("年假")
    page.get_by_role("searchbox").fill("没有的词")
    expect(page.get_by_text("没有符合条件的条目")).to_be_visible()


def test_deleting_names_the_thing_and_can_be_called_off(server: Server, open_page, base: str) -> None:
    made = add(server, base, **LEAVE, approve=True)
    page = list_page(server, open_page, base)
    page.get_by_role("button", name="删除“年假可以休几天？”").click()
    expect(page.get_by_role("dialog")).to_contain_text("年假可以休几天？")
    page.get_by_role("dialog").get_by_role("button", name="取消").click()
    expect(page.locator(".entries tbody tr")).to_have_count(1)
    page.locator(".entries a").click()
    page.get_by_role("button", name="删除").click()
    page.get_by_role("dialog").get_by_role("button", name="删除", exact=True).click()
    expect(page.get_by_text("还没有知识条目")).to_be_visible()
    with pytest.raises(urllib.error.HTTPError):
        server.call("GET", f"/api/knowledge-bases/{base}/entries/{made['id']}")


def test_a_wrong_answer_is_corrected_and_kept_as_a_regression_question(server: Server, open_page, base: str) -> None:
    question = "合同几个工作日内报备案？"
    path, wrong = ask(server, base, question)
    page = open_page(server.url + path)
    page.get_by_role("button", name="回答不对").click()
    expect(page.locator(".pane [name=question]")).to_have_value(question)
    expect(page.locator(".pane [name=answer]")).to_have_value(re.sub(r"\s?\[\d+\]", "", wrong["answer"]))
    expect(page.locator(".pane [name=kb]")).to_have_value(base)
    fill(page, answer="十个工作日内，交法务。")
    page.locator(".pane [name=answer]").press("Control+Enter")
    expect(page.locator(".pane")).to_contain_text("已生效")
    expect(page.locator(".pane")).to_contain_text("回归问题")
    expect(page.locator(".pane .conflicts")).to_contain_text("七个工作日")
    wait_until(lambda: ask(server, base, question)[1]["answer"].startswith("十个工作日内"), 20)
    page.get_by_role("link", name="打开知识条目").click()
    expect(page.locator(".entry-title")).to_have_text(question)
    page.locator(".path").get_by_role("link", name="知识条目").click()
    regressions = page.get_by_role("region", name="回归问题")
    expect(regressions.locator(".state")).to_have_text("尚未检验")
    regressions.get_by_role("button", name="全部检验").click()
    expect(regressions.locator(".state")).to_have_text("通过")
    (entry,) = server.call("GET", f"/api/knowledge-bases/{base}/entries")["data"]
    server.call("PATCH", f"/api/knowledge-bases/{base}/entries/{entry['id']}", {"question": "别的问题？", "answer": "别的。", "variants": [], "approve": True})
    wait_until(lambda: ask(server, base, question)[1]["rung"] != "entry", 20)
    regressions.get_by_role("button", name="全部检验").click()
    expect(regressions.locator(".state")).to_have_text("未通过")
    expect(regressions).to_contain_text("通过 0，未通过 1")


def test_who_knows_no_better_says_what_is_wrong(server: Server, open_page, base: str) -> None:
    path, _ = ask(server, base, "合同几个工作日内报备案？")
    page = open_page(server.url + path)
    page.get_by_role("button", name="回答不对").click()
    page.get_by_label("哪里不对？").fill("少了一条")
    page.get_by_role("button", name="提交").click()
    expect(page.locator(".pane")).to_have_count(0)
    expect(page.get_by_role("button", name="回答不对")).to_have_attribute("aria-pressed", "true")
    assert server.call("GET", f"/api/knowledge-bases/{base}/entries")["data"] == []


def test_everything_by_keyboard_only(server: Server, open_page, base: str) -> None:
    page = list_page(server, open_page, base)
    expect(page.get_by_text("还没有知识条目")).to_be_visible()
    page.keyboard.press("n")
    page.keyboard.type("打印机坏了找谁？")
    page.keyboard.press("Tab")
    page.keyboard.type("找信息科。")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".entry-title")).to_have_text("打印机坏了找谁？")
    page.keyboard.press("e")
    page.keyboard.type("在线")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="放弃修改").press("Enter")
    expect(page.locator(".entry-title")).to_have_text("打印机坏了找谁？")
    page.keyboard.press("Escape")
    page.locator(".entries a").focus()
    page.keyboard.press("e")
    expect(page.get_by_label("问题", exact=True)).to_be_focused()
    expect(page.locator("[name=answer]")).to_have_value("找信息科。")


def test_refusals_and_what_is_not_there_say_so(server: Server, open_page, base: str) -> None:
    page = list_page(server, open_page, base, "?entry=nothing", expect=("404", "400"))
    expect(page.get_by_role("alert")).to_contain_text("没有这个条目")
    expect(page.get_by_role("alert")).to_contain_text("请求编号")
    page.goto(f"{server.url}/knowledge/{base}/entries?entry=new")
    page.locator("[name=question]").press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("还没有写答案")
    fill(page, answer="***", valid_from="2026-02-01", valid_until="2026-01-01")
    page.locator("[name=answer]").press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("请求编号")
    fill(page, answer="有内容")
    page.locator("[name=answer]").press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("valid_until")
    page.goto(f"{server.url}/knowledge/no-such-base/entries")
    expect(page.get_by_text("没有名为“no-such-base”的知识库")).to_be_visible()


def test_a_page_or_list_that_could_not_be_fetched_is_tried_again(server: Server, open_page, base: str) -> None:
    add(server, base, **LEAVE)
    page = open_page(f"{server.url}/knowledge/{base}", expect=("ERR_FAILED", "500"))
    page.route("**/views/entries.js", lambda route: route.abort())
    page.get_by_role("link", name="知识条目").click()
    expect(page.get_by_role("alert")).to_contain_text("连不上服务器")
    page.unroute("**/views/entries.js")
    page.route("**/entries?limit=*", lambda route: route.fulfill(status=500, headers={"X-Request-Id": "abc"}, body="{}"))
    page.get_by_role("button", name="重试").click()
    expect(page.get_by_role("alert")).to_contain_text("请求编号 abc")
    page.unroute("**/entries?limit=*")
    page.get_by_role("button", name="重试").click()
    expect(page.locator(".entries tbody tr")).to_have_count(1)


HOSTILE = {
    "question": "<img src=x onerror=document.title='hit'>" + "长" * 1900,
    "answer": "<script>document.title='hit'</script>\n\n[a](javascript:document.title='hit') ![x](http://evil.test/a.png)\n\n" + "长行" * 1000,
    "variants": ["مرحبا بالعالم 😀 كم يوم؟", "W" * 1000], "source": "‮反转" + "W" * 300,
}  # fmt: skip


def test_hostile_and_long_texts_are_only_text(server: Server, open_page, base: str) -> None:
    made = add(server, base, **HOSTILE)
    server.call("PATCH", f"/api/knowledge-bases/{base}/entries/{made['id']}", {"answer": HOSTILE["answer"] + "完"})
    for query in ("", f"?entry={made['id']}", f"?entry={made['id']}&edit=1"):
        page = list_page(server, open_page, base, query, size=(375, 740))
        place, text = (".entry-preview .prose", "<script>") if "edit" in query else (".page :is(.entries, .entry-title)", "<img src=x onerror=")
        expect(page.locator(place)).to_contain_text(text)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, query
        assert page.title() != "hit" and page.locator("main :is(script, img, iframe)").count() == 0


@pytest.mark.parametrize(("lang", "dark"), [("zh-CN", False), ("en-GB", True)])
def test_axe_finds_nothing_serious_and_nothing_overflows(server: Server, open_page, tmp_path: Path, base: str, lang: str, dark: bool) -> None:
    made = add(server, base, **LEAVE, negatives=["实习生年假几天？"], approve=True)
    add(server, base, question="评审专家不少于多少人？", answer="不少于三人。")
    server.call("PATCH", f"/api/knowledge-bases/{base}/entries/{made['id']}", {"answer": "年假 15 天。\n\n| a | b |\n|---|---|\n| 1 | 2 |"})
    path, wrong = ask(server, base, "合同几个工作日内报备案？")
    server.call("POST", f"/api{path}/messages/{wrong['message_id']}/correct", {"answer": "十个工作日内。"})
    file = tmp_path / "a.csv"
    file.write_text(TABLE, encoding="utf-8")
    list_path = f"/knowledge/{base}/entries"
    for address, seen in (
        (list_path, ".entries tbody tr"), (f"{list_path}?entry={made['id']}", ".versions ins"), (f"{list_path}?entry=new", ".entry-form"),
        (f"{path}?correct={wrong['message_id']}", ".pane form"), (list_path, "import"),
    ):  # fmt: skip
        page = open_page(server.url + address, lang=lang, dark=dark)
        if seen == "import":
            page.locator(".page-tools .button").nth(1).click()
            with page.expect_file_chooser() as chooser:
                page.locator(".import-file button").click()
            chooser.value.set_files(file)
        expect(page.locator(".row-errors" if seen == "import" else seen).first).to_be_visible()
        page.evaluate(AXE.read_text(encoding="utf-8"))
        serious = "(await axe.run()).violations.filter((v) => ['serious', 'critical'].includes(v.impact))"
        found = page.evaluate(f"async () => {serious}.map((v) => [v.id, v.nodes[0].html])")
        assert found == [], address
        page.set_viewport_size({"width": 375, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, address


def test_english_is_complete(server: Server, open_page, base: str) -> None:
    made = add(server, base, question="How long is leave?", answer="5 days.", approve=True)
    for query in ("", f"?entry={made['id']}", f"?entry={made['id']}&edit=1"):
        page = list_page(server, open_page, base, query, lang="en-GB")
        place, text = (".entry-preview", "5 days") if "edit" in query else (".page :is(.entries, .entry-title)", "How long")
        expect(page.locator(place)).to_contain_text(text)
        labels = page.locator("main :is(button, th, label, h2, h3, p, option, dt, .state)").evaluate_all(
            "all => all.map((e) => e.innerText + (e.getAttribute('aria-label') || '') + (e.placeholder || ''))"
        )
        assert [label for label in labels if HAN.search(label.replace(f"采购 {base}", ""))] == [], query
