"""The Graph page on a running brain: finding, expanding, the way between two, filtering, importing, merging; and each when it cannot be."""

from __future__ import annotations

import re
from typing import Any

import pytest
from graphs import company_triples, entity, load
from playwright.sync_api import Page, Route, expect
from server import Server
from test_console_looks import HAN, check, overflow

pytestmark = pytest.mark.browser
FIRM = "晨光集团公司"


@pytest.fixture(scope="module")
def graph(server: Server) -> Server:
    """`firms` with a graph, `bare` without one, `apart` with two parts that nothing joins."""
    for name, title in (("firms", "企业图谱"), ("bare", "空库"), ("apart", "两岸")):
        server.make_base(name, title, {})
    assert load(server, "firms", company_triples())["status"] == "done"
    assert load(server, "apart", "head,relation,tail\n甲县,属于,乙市\n丙镇,属于,丁市\n")["status"] == "done"
    return server


def picture(page: Page, *, nodes: int | None = None) -> Any:
    """The picture when it stands still, with this many nodes."""
    found = page.locator(".graph-picture")
    if nodes is not None:
        expect(found).to_have_attribute("data-nodes", str(nodes))
    expect(found).to_have_attribute("data-layout", "still", timeout=30_000)
    return found


def find(page: Page, text: str, label: str = "搜索实体（名称或别名）") -> None:
    box = page.get_by_role("combobox", name=label)
    box.fill(text)
    expect(page.locator(".find-list [role=option]").first).to_contain_text(text)
    box.press("Enter")


def look(graph: Server, open_page, query: str = "", name: str = FIRM, base: str = "firms", **more: Any) -> Page:
    """The page with an entity open."""
    return open_page(f"{graph.url}/graph/{base}?entity={entity(graph, base, name)}{query}", **more)


def test_an_entity_is_found_and_its_neighbours_shown_with_their_sources(graph: Server, open_page) -> None:
    page = open_page(graph.url + "/graph/firms")
    expect(page.get_by_role("complementary", name="图谱概览")).to_contain_text("造纸")
    find(page, "晨光集团")
    picture(page, nodes=20)
    expect(page).to_have_url(re.compile(r"/graph/firms\?entity=\d+$"))
    side = page.get_by_role("complementary", name="实体")
    expect(side.get_by_role("heading", name=FIRM)).to_be_visible()
    expect(side).to_contain_text("别名：晨光集团")
    chairman = side.get_by_role("region", name="董事长")
    expect(chairman).to_contain_text("来源：工商登记2020")
    page.reload()
    picture(page, nodes=20)


def test_a_source_in_a_document_opens_it_at_its_place(graph: Server, open_page) -> None:
    document = graph.call("GET", "/api/knowledge-bases/laws/documents")["data"][0]
    said = {"document_id": document["id"], "start": 0, "end": 9, "quote": "有这么一句<b>", "source": "", "extractor": "llm", "confidence": 0.8}

    def answer(asked: Route) -> None:
        body = asked.fetch().json()
        body["data"][0]["sources"] = [said, said]
        asked.fulfill(json=body)

    page = open_page(graph.url + "/knowledge")
    page.route("**/api/graph/apart/neighbors?*", answer)
    page.goto(f"{graph.url}/graph/apart?entity={entity(graph, 'apart', '甲县')}")
    side = page.get_by_role("complementary", name="实体")
    expect(side.locator("q")).to_have_text("有这么一句<b>")
    expect(side).to_contain_text("80%")
    side.get_by_role("button", name="另有 1 处来源").click()
    expect(side.locator("q")).to_have_count(2)
    side.get_by_role("link", name="打开原文").first.click()
    expect(page).to_have_url(re.compile(f"/documents/{document['id']}"))
    expect(page.locator(".passage").first).to_be_visible()


def test_what_is_not_there_is_not_found(graph: Server, open_page) -> None:
    page = open_page(graph.url + "/graph/firms")
    page.get_by_role("combobox", name="搜索实体").fill("从来没有这个名字")
    expect(page.get_by_text("没有这样的实体。")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(graph.url + "/graph/firms")
    page = open_page(graph.url + "/graph/firms?entity=987654321", expect=("404",))
    expect(page.get_by_role("complementary").get_by_role("alert")).to_be_visible()
    page = open_page(graph.url + "/graph/nowhere", expect=("404",))
    expect(page.get_by_role("main")).to_contain_text("nowhere")


def test_neighbours_are_expanded_collapsed_and_hidden(graph: Server, open_page) -> None:
    page = look(graph, open_page)
    picture(page, nodes=20)
    side = page.get_by_role("complementary", name="实体")
    side.get_by_role("button", name="苏州", exact=True).click()
    expect(side.get_by_role("heading", name="苏州")).to_be_visible()
    side.get_by_role("button", name="展开邻居").click()
    expect(page.locator(".graph-picture")).not_to_have_attribute("data-nodes", "20")
    side.get_by_role("button", name="收起邻居").click()
    picture(page, nodes=20)
    side.get_by_role("button", name="隐藏").click()
    picture(page, nodes=19)
    page.get_by_role("button", name="显示已隐藏的 1 个").click()
    picture(page, nodes=20)
    page.go_back()
    page.get_by_role("button", name="清空").click()
    expect(page.get_by_text("搜索一个实体，或从列出的实体中选择一个开始。")).to_be_visible()


def test_types_and_relations_are_filtered(graph: Server, open_page) -> None:
    page = look(graph, open_page)
    picture(page, nodes=20)
    people = page.get_by_role("group", name="类型").get_by_role("button", name="人物")
    people.click()
    expect(people).to_have_attribute("aria-pressed", "false")
    picture(page, nodes=16)
    people.click()
    page.get_by_role("group", name="关系").get_by_role("button", name="控股").click()
    picture(page, nodes=8)
    page.get_by_role("combobox", name="关系").select_option("董事长")
    picture(page, nodes=2)


def test_the_way_between_two_is_told_and_drawn(graph: Server, open_page) -> None:
    page = look(graph, open_page)
    picture(page, nodes=20)
    page.get_by_role("button", name="路径起点").click()
    find(page, "半导体", label="终点")
    way = page.get_by_role("region", name="两个实体之间的路径")
    expect(way.get_by_role("listitem").first).to_contain_text(FIRM)
    expect(way.get_by_role("listitem").last).to_contain_text("半导体")
    expect(page.locator(".graph-picture")).to_have_attribute("data-nodes", re.compile("^2[1-9]$"))
    way.get_by_role("button", name="交换起点与终点").click()
    expect(way.get_by_role("listitem").first).to_contain_text("半导体")


def test_where_there_is_no_way_it_says_so(graph: Server, open_page) -> None:
    start, goal = entity(graph, "apart", "甲县"), entity(graph, "apart", "丁市")
    page = open_page(f"{graph.url}/graph/apart?entity={start}&from={start}&to={goal}")
    expect(page.get_by_text("6 跳之内没有路径相连。")).to_be_visible()
    picture(page, nodes=2)
    page = open_page(f"{graph.url}/graph/apart?entity={start}&from={start}&to={start}")
    expect(page.get_by_text("起点与终点是同一个实体。")).to_be_visible()


def test_the_table_shows_the_same(graph: Server, open_page) -> None:
    page = look(graph, open_page)
    page.get_by_role("button", name="表格").click()
    expect(page.locator(".graph-table tbody tr")).to_have_count(19)
    page.locator(".graph-table").get_by_role("button", name="造纸").click()
    expect(page.get_by_role("complementary", name="实体").get_by_role("heading", name="造纸")).to_be_visible()


def test_an_empty_graph_says_what_to_do_and_takes_triples(graph: Server, open_page) -> None:
    page = open_page(graph.url + "/graph/bare")
    expect(page.get_by_text("这个知识库还没有知识图谱。")).to_be_visible()
    page.locator(".empty").get_by_role("button", name="导入三元组").click()
    dialog = page.get_by_role("dialog")
    with page.expect_file_chooser() as chooser:
        dialog.get_by_role("button", name="选择文件").click()
    text = "head,relation,tail\n甲公司,董事长,王芳\n,董事长,李明\n甲公司,注册地,杭州\n"
    chooser.value.set_files({"name": "facts.csv", "mimeType": "text/csv", "buffer": text.encode()})
    expect(dialog).to_contain_text("将导入 2 条三元组", timeout=20_000)
    expect(dialog).to_contain_text("1 行无法导入")
    dialog.get_by_role("button", name="导入 2 条").click()
    expect(page.get_by_role("dialog", name="导入完成")).to_be_visible(timeout=20_000)
    page.keyboard.press("Escape")
    expect(page.locator(".figures")).to_contain_text("3 个实体")


def test_a_file_without_triples_brings_nothing_in(graph: Server, open_page) -> None:
    page = open_page(graph.url + "/graph/apart")
    page.get_by_role("button", name="导入三元组").click()
    dialog = page.get_by_role("dialog")
    with page.expect_file_chooser() as chooser:
        dialog.get_by_role("button", name="选择文件").click()
    chooser.value.set_files({"name": "prices.csv", "mimeType": "text/csv", "buffer": "价格,数量\n1,2\n".encode()})
    expect(dialog.get_by_role("alert").or_(dialog.get_by_text("无法导入")).first).to_be_visible(timeout=20_000)
    expect(dialog.get_by_role("button", name="导入三元组")).to_be_disabled()


def test_entities_are_merged_and_the_merge_undone(graph: Server, open_page) -> None:
    page = look(graph, open_page, name="甲县", base="apart")
    page.get_by_role("button", name="合并…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="合并", exact=True)).to_be_disabled()
    find(page, "丙镇", label="搜索要并入的实体")
    dialog.get_by_role("button", name="合并 1 个实体").click()
    expect(page.get_by_text("已将 丙镇 并入“甲县”。")).to_be_visible()
    side = page.get_by_role("complementary", name="实体")
    expect(side).to_contain_text("别名：丙镇")
    picture(page, nodes=3)
    page.get_by_role("button", name="撤销合并").click()
    expect(side).not_to_contain_text("丙镇")
    picture(page, nodes=2)


@pytest.mark.parametrize("route", ["stats", "neighbors", "path"])
def test_an_error_of_the_server_is_told_and_tried_again(graph: Server, open_page, route: str) -> None:
    page = open_page(graph.url + "/knowledge", expect=("500",))
    body = '{"error":{"code":"internal","message":"出错了，请重试。"}}'
    page.route(
        f"**/api/graph/firms/{route}*", lambda asked: asked.fulfill(status=500, content_type="application/json", body=body, headers={"X-Request-Id": "r-7"})
    )
    one = entity(graph, "firms", FIRM)
    page.goto(f"{graph.url}/graph/firms?entity={one}&from={one}&to={entity(graph, 'firms', '半导体')}")
    alert = page.get_by_role("main").get_by_role("alert").first
    expect(alert).to_contain_text("出错了，请重试。")
    expect(alert).to_contain_text("r-7")
    page.unroute(f"**/api/graph/firms/{route}*")
    if route != "path":
        page.get_by_role("main").get_by_role("button", name="重试").first.click()
    else:
        page.get_by_role("button", name="交换起点与终点").click()
        expect(page.locator(".chain")).to_be_visible()
    expect(page.locator(".graph-picture")).to_have_attribute("data-nodes", re.compile("^2[0-9]$"))


SUGGESTED = {"id": "s1", "reason": "名称只差“集团”", "score": 0.9, "status": "open"}


@pytest.mark.parametrize(("button", "verdict"), [("不是同一个", "dismiss"), ("合并", "accept")])
def test_suggested_merges_are_decided(graph: Server, open_page, button: str, verdict: str) -> None:
    keep, other = (graph.call("GET", f"/api/graph/apart/entities/{entity(graph, 'apart', name)}") for name in ("乙市", "丁市"))
    row = SUGGESTED | {"keep": keep, "merge": [other]}
    decided: list[str] = []
    page = open_page(graph.url + "/knowledge")
    page.route("**/api/graph/apart/suggestions?*", lambda asked: asked.fulfill(json={"data": [] if decided else [row], "total": int(not decided)}))
    page.route("**/api/graph/apart/suggestions/s1/*", lambda asked: (decided.append(asked.request.url), asked.fulfill(json=row | {"merge_id": "m1"})))
    page.goto(f"{graph.url}/graph/apart")
    page.get_by_role("button", name="更多操作").click()
    page.get_by_role("menuitem", name="合并建议（1）").click()
    dialog = page.get_by_role("dialog", name="合并建议")
    expect(dialog).to_contain_text("名称只差“集团”")
    expect(dialog.locator(".card > .suggestion-names")).to_have_text("丁市并入乙市")
    dialog.get_by_role("button", name=button, exact=True).click()
    expect(dialog).to_contain_text("没有待处理的合并建议。")
    assert decided == [f"{graph.url}/api/graph/apart/suggestions/s1/{verdict}"]
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="撤销合并")).to_have_count(int(verdict == "accept"))


def test_words_of_a_relation_are_set(graph: Server, open_page) -> None:
    row = {"id": "3", "name": "属于", "count": 2, "cues": {"forward": ["归"], "inverse": []}}
    saved: list[Any] = []
    page = open_page(graph.url + "/knowledge")
    page.route("**/api/graph/apart/relations?*", lambda asked: asked.fulfill(json={"data": [row], "has_more": False, "next": None}))
    page.route("**/api/graph/apart/relations/3", lambda asked: (saved.append(asked.request.post_data_json), asked.fulfill(json=row)))
    page.goto(f"{graph.url}/graph/apart")
    page.get_by_role("button", name="更多操作").click()
    page.get_by_role("menuitem", name="关系与说法").click()
    dialog = page.get_by_role("dialog", name="关系与说法")
    dialog.get_by_role("button", name="修改“属于”的说法").click()
    first = dialog.get_by_role("textbox").first
    expect(first).to_have_value("归")
    first.fill("归、在哪， 归")
    first.press("Enter")
    expect(page.locator(".toast", has_text="“属于”的说法已保存。")).to_be_visible()
    assert saved == [{"cues": {"forward": ["归", "在哪"], "inverse": []}}]
    expect(dialog).to_contain_text("归、在哪")


def test_lists_without_a_route_are_left_out(graph: Server, open_page) -> None:
    page = open_page(graph.url + "/knowledge", expect=("404",))
    for name in ("suggestions", "relations"):
        page.route(f"**/api/graph/firms/{name}?*", lambda asked: asked.fulfill(status=404, json={"error": {"code": "not_found", "message": "没有"}}))
    with page.expect_response("**/relations?*"), page.expect_response("**/suggestions?*"):
        page.goto(f"{graph.url}/graph/firms")
    expect(page.get_by_role("button", name="导出")).to_be_visible()
    expect(page.get_by_role("button", name="更多操作")).to_have_count(0)
    expect(page.get_by_role("main").get_by_role("alert")).to_have_count(0)


def test_keys_alone_walk_the_picture(graph: Server, open_page) -> None:
    page = look(graph, open_page)
    picture(page, nodes=20)
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#live")).to_contain_text("条三元组")
    told = (page.locator("#live").text_content() or "").split("，")[0]
    page.keyboard.press("Enter")
    side = page.get_by_role("complementary", name="实体")
    expect(side.locator("h3")).to_have_text(told)
    page.keyboard.press("p")
    expect(side.get_by_role("button", name="取消固定")).to_be_visible()
    page.keyboard.press("Enter")
    expect(side.get_by_role("button", name="收起邻居")).to_be_visible()
    page.keyboard.press("Delete")
    expect(page.get_by_role("button", name="显示已隐藏的 1 个")).to_be_visible()
    for key in ("+", "-", "0", "Shift+ArrowLeft"):
        page.keyboard.press(key)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="放大")).to_be_focused()


def test_a_node_is_clicked_and_dragged(graph: Server, open_page) -> None:
    page = look(graph, open_page, name="甲县", base="apart")
    picture(page, nodes=2)
    box = page.locator("canvas").bounding_box()
    assert box is not None
    colours = page.locator("canvas").evaluate(
        """(canvas) => {
          const { width, height } = canvas, seen = canvas.getContext("2d").getImageData(0, 0, width, height).data, found = [];
          const grey = getComputedStyle(canvas).getPropertyValue("--kind-8").match(/[0-9a-f]{2}/gi).map((hex) => parseInt(hex, 16));
          for (let at = 0; at < seen.length; at += 4)
            if (grey.every((part, n) => seen[at + n] === part)) found.push([(at / 4) % width, Math.floor(at / 4 / width)]);
          return { found, ratio: width / canvas.clientWidth };
        }"""
    )
    x, y = (value / colours["ratio"] for value in max(colours["found"], key=lambda spot: abs(spot[0] - box["width"] / 2)))
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + x + 3, box["y"] + y)
    page.mouse.up()
    name = page.get_by_role("complementary", name="实体").locator("h3")
    expect(name).to_have_text(re.compile("甲县|乙市"))
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + x + 80, box["y"] + y + 60, steps=4)
    page.mouse.up()
    expect(page.get_by_role("complementary", name="实体").get_by_role("button", name=re.compile("固定"))).to_be_visible()


@pytest.mark.parametrize(("lang", "dark"), [("zh-CN", False), ("en-GB", True)], ids=["light", "dark"])
def test_axe_finds_nothing_serious(graph: Server, open_page, lang: str, dark: bool) -> None:
    goal = entity(graph, "firms", "半导体")
    page = look(graph, open_page, f"&from={entity(graph, 'firms', FIRM)}&to={goal}", lang=lang, dark=dark)
    expect(page.locator(".chain")).to_be_visible()
    picture(page)
    check(page)
    page.locator("#entity-find").fill("晨光")
    expect(page.locator(".find-list [role=option]").first).to_be_visible()
    check(page)
    page.keyboard.press("Escape")
    page.locator(".graph-show button").last.click()
    expect(page.locator(".graph-table")).to_be_visible()
    check(page)
    page.locator(".entity-tools button").last.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page)
    page = open_page(graph.url + "/graph/firms", lang=lang, dark=dark)
    expect(page.locator(".hubs").first).to_be_visible()
    check(page)


def test_in_english_all_labels_are(graph: Server, open_page) -> None:
    page = look(graph, open_page, lang="en-GB")
    picture(page, nodes=20)
    labels = page.locator(
        ".graph-page :is(.page-tools button, .graph-bar :is(button, .path), .graph-tools button, .entity-tools button, .legend-row > .path, canvas)"
    )
    own = labels.evaluate_all("all => all.map((one) => one.innerText + (one.getAttribute('aria-label') || ''))")
    assert len(own) > 15
    assert [label for label in own if HAN.search(label)] == []


@pytest.mark.parametrize(("size", "zoom"), [((375, 740), 1), ((683, 384), 2), ((1366, 768), 1)])
def test_it_fits_its_width(graph: Server, open_page, size: tuple[int, int], zoom: int) -> None:
    for query in ("", "&show=table", f"&from={entity(graph, 'firms', FIRM)}&to={entity(graph, 'firms', '半导体')}"):
        page = look(graph, open_page, query, size=size, device_scale_factor=zoom)
        expect(page.get_by_role("complementary", name="实体").get_by_role("heading", name=FIRM)).to_be_visible()
        assert overflow(page) <= 0, query


def test_narrow_what_was_picked_is_one_tap_away(graph: Server, open_page) -> None:
    page = look(graph, open_page, size=(375, 740))
    picture(page, nodes=20)
    heading = page.get_by_role("complementary", name="实体").get_by_role("heading", name=FIRM)
    expect(heading).not_to_be_in_viewport()
    page.locator(".graph-down").click()
    expect(heading).to_be_in_viewport()


def test_a_hostile_name_stays_text(graph: Server, open_page) -> None:
    name = "<img src=x onerror=window.hit=1>" + "长" * 150
    graph.make_base("hostile", "名称", {})
    assert load(graph, "hostile", f'head,relation,tail\n"{name}","<b>关系</b>",乙\n')["status"] == "done"
    page = look(graph, open_page, name="乙", base="hostile")
    picture(page, nodes=2)
    page.get_by_role("complementary", name="实体").get_by_role("button", name="<img").click()
    expect(page.get_by_role("complementary", name="实体").locator("h3")).to_contain_text("<img")
    assert page.evaluate("window.hit") is None
    assert overflow(page) <= 0
