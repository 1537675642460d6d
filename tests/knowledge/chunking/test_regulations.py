"""Regulations, contracts and the like: each article is its own, with its path and its number, in whatever form the text comes."""

from __future__ import annotations

import pytest

from qzbrain.domain import ChunkDraft
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.parsers import parse_text

MARKDOWN = """# 某某管理法

2021年1月22日通过

## 第一章　总则

**第一条**　为了规范管理，制定本法。

**第二条**　本法所称管理，是指日常管理。
第三条规定的除外。

## 第二章　中央与地方

### 第一节　一般规定

**第三条**　中央统一领导。

（一）甲；

（二）乙。

**第三条之一**　地方分级负责。

# 附则

**第四条**　本法自公布之日起施行。

## 附件一

列入名录的项目。
"""

PLAIN = """某某管理法
目 录
第一章 总则
第二章 中央与地方
　第一节 一般规定
附 则
第一章 总　则
第一条 为了规范管理，制定本法。
第二条 本法所称管理，是指日常管理。
第三条规定的除外。
第二章 中央与地方
第一节 一般规定
第三条 中央统一领导。
（一）甲；
（二）乙。
第三条之一 地方分级负责。
附 则
第四条 本法自公布之日起施行。
附件一
列入名录的项目。
"""


def chunks(text: str, *, chunk_chars: int = 250, overlap_chars: int = 50, name: str = "某某管理法") -> list[ChunkDraft]:
    parsed = parse_text(text, name=name)
    drafts = chunk(parsed, chunk_chars=chunk_chars, overlap_chars=overlap_chars)
    assert all(draft.text == text[draft.start:draft.end] for draft in drafts)
    return drafts


def articles(drafts: list[ChunkDraft]) -> list[tuple[str, tuple[str, ...]]]:
    return [(draft.reference, draft.heading_path) for draft in drafts if draft.reference]


EXPECTED = [
    ("1", ("某某管理法", "第一章 总则", "第一条")),
    ("2", ("某某管理法", "第一章 总则", "第二条")),
    ("3", ("某某管理法", "第二章 中央与地方", "第一节 一般规定", "第三条")),
    ("3-1", ("某某管理法", "第二章 中央与地方", "第一节 一般规定", "第三条之一")),
    ("4", ("某某管理法", "附则", "第四条")),
]


@pytest.mark.parametrize("text", [
    MARKDOWN, PLAIN, MARKDOWN.replace("**", ""), MARKDOWN.replace("　", "\u2002\u2002"), PLAIN.replace(" ", "\u2002\u2002"),
    MARKDOWN.replace("**第", "#### 第").replace("条**", "条"), PLAIN.replace("\n", "\r\n"),
], ids=["markdown", "plain", "markdown without bold", "en spaces", "plain with en spaces", "article headings", "crlf"])
def test_articles_in_every_form(text: str) -> None:
    drafts = chunks(text)
    assert articles(drafts) == EXPECTED
    second = next(draft.text for draft in drafts if draft.reference == "2")
    assert "第三条规定的除外" in second
    assert "第二章" not in second
    assert "（二）乙。" in next(draft.text for draft in drafts if draft.reference == "3")
    last = drafts[-1]
    assert (last.reference, "列入名录的项目。" in last.text) == ("", True)


def test_contents_and_preamble_stand_apart_and_chapter_lines_go_with_the_first_article() -> None:
    drafts = chunks(PLAIN)
    assert drafts[0].reference == ""
    assert "目 录" in drafts[0].text
    assert "为了规范" not in drafts[0].text
    first = next(draft for draft in drafts if draft.reference == "1")
    assert first.text.startswith("第一章 总　则\n第一条")


def test_articles_without_a_blank_after_their_number() -> None:
    text = "考勤办法\n第一条为了规范考勤，制定本办法。\n第二条依照\n第一条规定执行，并且\n第九条所称的除外。\n第三条自发布之日起施行。"
    assert [reference for reference, _ in articles(chunks(text))] == ["1", "2", "3"]


def test_arabic_numbers_and_traditional_script() -> None:
    assert [reference for reference, _ in articles(chunks("辦法\n第1條　甲。\n第2條　乙。\n第10條　丙。"))] == ["1", "2", "10"]
    assert chunks("办法\n第1条　甲。\n第2条　乙。")[-1].heading_path[-1] == "第二条"


def test_contract_and_clause_titles() -> None:
    text = "房屋租赁合同\n甲方：张三\n第一条【租赁物】房屋位于一号楼。\n第二条（租期）两年。\n第三条：租金每月三千元。"
    assert [path[-1] for _, path in articles(chunks(text))] == ["第一条", "第二条", "第三条"]


@pytest.mark.parametrize("text", [
    "新闻稿\n根据民法典第十条和第十二条的规定，法院作出判决。\n第十条规定了原则。\n记者报道。",
    "只有一条\n第十二条　这是摘录。",
    "第一条件是时间，第二条路是地点。\n第二天下雨。",
])
def test_texts_that_only_name_articles_are_no_regulations(text: str) -> None:
    assert articles(chunks(text)) == []


def test_contents_with_page_numbers_are_no_articles() -> None:
    text = "办法\n目录\n第一条 目的……1\n第二条 范围..........2\n第三条 附则\t3\n第一条 目的是规范。\n第二条 范围是全部。\n第三条 自发布起施行。"
    assert [draft.text for draft in chunks(text) if draft.reference] == ["第一条 目的是规范。", "第二条 范围是全部。", "第三条 自发布起施行。"]


def test_long_article_is_cut_at_items_with_path_and_number_on_every_piece() -> None:
    items = "\n\n".join(f"（{numeral}）" + "某某行为的具体情形" * 6 + "；" for numeral in "一二三四五六七八")
    text = f"# 某法\n\n**第一条**　甲。\n\n**第二条**　有下列情形之一的：\n\n{items}\n\n**第三条**　丙。\n"
    pieces = [draft for draft in chunks(text, chunk_chars=150, overlap_chars=20) if draft.reference == "2"]
    assert len(pieces) > 3
    assert {draft.heading_path for draft in pieces} == {("某法", "第二条")}
    assert all(len(draft.text) <= 150 for draft in pieces)
    assert all(draft.text.startswith(("**第二条**", "（")) for draft in pieces)
    assert not any("第三条" in draft.text or "第一条" in draft.text for draft in pieces)


def test_two_texts_in_one_file_count_anew() -> None:
    text = "# 甲法\n\n**第一条**　甲一。\n\n**第二条**　甲二。\n\n**第三条**　甲三。\n\n# 附件　乙办法\n\n**第一条**　乙一。\n\n**第二条**　乙二。\n"
    assert [reference for reference, _ in articles(chunks(text))] == ["1", "2", "3", "1", "2"]
