"""Knowledge in the console on a running brain: make a base, put files in, watch them, ask them, retry and delete."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from server import Server

pytestmark = pytest.mark.browser
RULES = "# 值班制度\n\n第一条　夜间值班由两人担任，二十二时交接。\n\n第二条　𠮷野巷值班室的钥匙由保安队长保管。\n"


@pytest.fixture
def base(server: Server) -> str:
    """An empty knowledge base of its own."""
    name = f"kb-{uuid.uuid4().hex[:8]}"
    server.call("POST", "/api/knowledge-bases", {"name": name, "title": f"制度 {name}"})
    return name


def upload(page: Page, *files: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="上传文件", exact=True).first.click()
    chooser.value.set_files(list(files))


def test_a_base_is_made_a_file_becomes_ready_and_answers(server: Server, open_page, tmp_path: Path) -> None:
    page = open_page(server.url + "/knowledge", model="extractive")
    page.get_by_role("button", name="新建知识库").click()
    name = f"rules-{uuid.uuid4().hex[:6]}"
    page.get_by_label("名称").fill(name)
    page.get_by_label("标题（可不填）").fill("值班制度汇编")
    page.get_by_role("dialog").get_by_role("button", name="新建知识库").click()
    expect(page).to_have_url(f"{server.url}/knowledge/{name}")
    expect(page.get_by_text("这里还没有文档")).to_be_visible()
    file = tmp_path / "值班制度.md"
    file.write_text(RULES, encoding="utf-8")
    upload(page, file)
    row = page.locator(".documents tr", has_text="值班制度.md")
    expect(row.locator(".state")).to_have_text("就绪", timeout=20_000)
    page.get_by_role("link", name="新对话").click()
    page.fill("#question", "𠮷野巷值班室的钥匙由谁保管？")
    page.press("#question", "Enter")
    expect(page.locator(".answer .prose")).to_contain_text("保安队长", timeout=20_000)
    page.locator(".mark").first.click()
    expect(page.locator(".pane .passage").last).to_contain_text("保安队长保管")
    expect(page.locator(".pane .passage-title")).to_contain_text("值班制度")


def test_the_same_file_again_is_recognised(server: Server, open_page, tmp_path: Path, base: str) -> None:
    page = open_page(f"{server.url}/knowledge/{base}")
    file = tmp_path / "制度.txt"
    file.write_text(RULES, encoding="utf-8")
    upload(page, file)
    expect(page.locator(".upload-list")).to_contain_text("已收到")
    upload(page, file)
    expect(page.locator(".upload-list")).to_contain_text("已有相同文件")
    expect(page.locator(".documents tbody tr")).to_have_count(1)


def test_a_broken_file_says_why_and_can_be_tried_again(server: Server, open_page, tmp_path: Path, base: str) -> None:
    page = open_page(f"{server.url}/knowledge/{base}")
    file = tmp_path / "坏.pdf"
    file.write_bytes(b"%PDF-1.7\n" + b"\x00broken" * 50)
    upload(page, file)
    expect(page.locator(".state-failed").last).to_have_text("失败", timeout=30_000)
    expect(page.locator(".reason")).not_to_be_empty()
    with page.expect_request(lambda request: request.method == "POST" and request.url.endswith("/documents")):
        page.get_by_role("button", name="重新处理“坏.pdf”").click()
    expect(page.locator(".state-failed").last).to_have_text("失败", timeout=30_000)


def test_files_dropped_anywhere_are_taken(server: Server, open_page, base: str) -> None:
    page = open_page(f"{server.url}/knowledge/{base}")
    expect(page.get_by_text("这里还没有文档")).to_be_visible()
    drop(page, "拖入.txt", RULES)
    expect(page.locator(".documents")).to_contain_text("拖入.txt")


def test_files_dropped_on_the_chat_ask_where_they_go(server: Server, open_page, base: str) -> None:
    page = open_page(server.url + "/")
    expect(page.locator(".welcome")).to_be_visible()
    drop(page, "去处.txt", RULES)
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(f"制度 {base}").check()
    dialog.get_by_role("button", name="上传").click()
    expect(page).to_have_url(f"{server.url}/knowledge/{base}")
    expect(page.locator(".documents")).to_contain_text("去处.txt")


def drop(page: Page, name: str, text: str) -> None:
    data = page.evaluate_handle(
        "([name, text]) => { const data = new DataTransfer(); data.items.add(new File([text], name, { type: 'text/plain' })); return data; }", [name, text]
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": data})
    expect(page.locator(".drop-area")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    expect(page.locator(".drop-area")).to_have_count(0)


def test_deleting_names_the_thing_and_can_be_called_off(server: Server, open_page, base: str) -> None:
    server.call("POST", f"/api/knowledge-bases/{base}/documents", {"name": "作废.txt", "text": RULES})
    page = open_page(f"{server.url}/knowledge/{base}")
    page.get_by_role("button", name="删除“作废.txt”").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("作废.txt")
    dialog.get_by_role("button", name="取消").click()
    expect(page.locator(".documents")).to_contain_text("作废.txt")
    page.get_by_role("button", name="删除“作废.txt”").click()
    page.get_by_role("dialog").get_by_role("button", name="删除", exact=True).click()
    expect(page.get_by_text("这里还没有文档")).to_be_visible()
    page.get_by_role("button", name="知识库的更多操作").click()
    page.get_by_role("menuitem", name="删除知识库").click()
    expect(page.get_by_role("dialog")).to_contain_text(base)
    page.get_by_role("dialog").get_by_role("button", name="删除", exact=True).click()
    expect(page).to_have_url(server.url + "/knowledge")
    expect(page.locator(".base-list")).not_to_contain_text(base)


def test_a_hostile_file_name_is_only_a_name(server: Server, open_page, base: str) -> None:
    name = "<img src=x onerror=document.title='hit'>.txt"
    server.call("POST", f"/api/knowledge-bases/{base}/documents", {"name": name, "text": RULES})
    page = open_page(f"{server.url}/knowledge/{base}")
    expect(page.locator(".cell-name")).to_contain_text("<img src=x onerror=")
    page.locator(".cell-name a").click()
    expect(page.locator(".page-head")).to_contain_text("<img src=x onerror=")
    assert page.title() != "hit"


def test_a_taken_name_is_refused_with_its_reason(server: Server, open_page, base: str) -> None:
    page = open_page(server.url + "/knowledge", expect=("409",))
    page.get_by_role("button", name="新建知识库").click()
    page.get_by_label("名称").fill(base)
    page.get_by_role("dialog").get_by_role("button", name="新建知识库").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(base)


def test_trying_a_question_shows_hits_with_their_scores(server: Server, open_page) -> None:
    page = open_page(server.url + "/knowledge/laws")
    page.get_by_label("输入一个问题").fill("从轻或者减轻行政处罚")
    page.get_by_role("button", name="检索").click()
    expect(page.locator(".try .card").first).to_contain_text("从轻或者减轻")
    expect(page.locator(".try .card").first).to_contain_text("词语 #1")
    page.locator(".try .card").first.click()
    expect(page.locator(".passage").first).to_be_in_viewport()


def test_finding_in_a_document_steps_through_the_whole_text(server: Server, open_page) -> None:
    page = open_page(server.url + "/knowledge/laws")
    page.locator(".cell-name a", has_text="行政处罚法").click()
    find = page.get_by_label("在文中查找")
    find.fill("自2021年7月15日起施行")
    find.press("Enter")
    expect(page.locator(".passage")).to_have_text("自2021年7月15日起施行")
    expect(page.locator(".passage")).to_be_in_viewport()


def test_what_is_not_there_says_so(server: Server, open_page) -> None:
    page = open_page(server.url + "/knowledge/nothing")
    expect(page.get_by_text("没有名为“nothing”的知识库")).to_be_visible()
    gone = open_page(server.url + "/documents/nothing?start=1&end=2", expect=("404",))
    expect(gone.get_by_role("alert")).to_be_visible()


def test_a_pack_is_written_fetched_and_taken_in_under_another_name(server: Server, open_page, tmp_path: Path, base: str) -> None:
    server.call("POST", f"/api/knowledge-bases/{base}/documents", {"name": "值班制度.md", "text": RULES})
    page = open_page(f"{server.url}/knowledge/{base}", expect=["409"])
    expect(page.locator(".documents tr", has_text="值班制度.md").locator(".state")).to_have_text("就绪", timeout=20_000)
    page.get_by_role("button", name="更多").click()
    page.get_by_role("menuitem", name="导出知识包…").click()
    page.get_by_role("button", name="开始导出").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="下载知识包").click(timeout=20_000)
    pack = tmp_path / download.value.suggested_filename
    download.value.save_as(pack)
    assert pack.suffix == ".qzkb"
    page.keyboard.press("Escape")
    page.goto(f"{server.url}/knowledge")
    page.get_by_role("button", name="导入知识包").click()
    page.get_by_label("知识包文件").set_input_files(pack)
    page.get_by_role("dialog").get_by_role("button", name="导入", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text(base), "the name is taken, and said so"
    page.get_by_label("新名称").fill(f"{base}-2")
    page.get_by_role("dialog").get_by_role("button", name="导入", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text(f"已导入为知识库 {base}-2", timeout=20_000)
    page.keyboard.press("Escape")
    page.get_by_role("link", name=f"{base}-2").click()
    expect(page.locator(".documents tr", has_text="值班制度.md")).to_be_visible()


def test_chunk_sizes_are_changed(server: Server, open_page, base: str) -> None:
    server.call("POST", f"/api/knowledge-bases/{base}/documents", {"name": "长.md", "text": "甲乙丙丁，戊己庚辛。" * 60})
    page = open_page(f"{server.url}/knowledge/{base}")
    expect(page.locator(".documents tr", has_text="长.md").locator(".state")).to_have_text("就绪", timeout=20_000)
    page.get_by_role("button", name="更多").click()
    page.get_by_role("menuitem", name="更改分段大小…").click()
    page.get_by_label("每段字符数").fill("100")
    page.get_by_label("相邻段重叠字符数").fill("20")
    page.get_by_role("button", name="重新分段").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 个文档已重新分段", timeout=20_000)
