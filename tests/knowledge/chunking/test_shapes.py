"""Tables, lists, code, and pairs of question and answer keep their shape when they are cut."""

from __future__ import annotations

from qzbrain.domain import Block, ParsedDocument
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.parsers import parse_text


def table(rows: int) -> str:
    return "| 设备 | 保养周期 | 责任班组 |\n|---|---|---|\n" + "\n".join(f"| {n}号泵 | {n}个月 | {n}班 |" for n in range(1, rows + 1))


def test_a_table_that_fits_is_not_torn() -> None:
    text = "# 手册\n\n" + "前面的说明文字。" * 20 + "\n\n" + table(6) + "\n\n" + "后面的说明文字。" * 20
    drafts = chunk(parse_text(text, name="a.md"), chunk_chars=250, overlap_chars=0)
    holding = [draft for draft in drafts if "号泵" in draft.text]
    assert len(holding) == 1
    assert "设备" in holding[0].text
    assert "6号泵" in holding[0].text


def test_rows_of_a_long_table_know_their_header() -> None:
    drafts = chunk(parse_text("# 手册\n\n" + table(60) + "\n\n表后说明。" + "另有说明文字。" * 40, name="a.md"), chunk_chars=250, overlap_chars=0)
    holding = [draft for draft in drafts if "号泵" in draft.text]
    assert len(holding) > 3
    assert all("设备 | 保养周期 | 责任班组" in (draft.text + " ".join(draft.heading_path)) for draft in holding)
    assert holding[-1].heading_path[-1] == "设备 | 保养周期 | 责任班组"
    assert drafts[-1].heading_path == ("手册",)
    assert all(draft.text.count("\n") == 0 or draft.text.endswith(("|", "。")) for draft in holding), "cut between rows"


def test_a_line_that_leads_on_stays_with_what_follows() -> None:
    items = "\n".join(f"（{n}）第{n}种情形，须另行报批并登记备查；" for n in "一二三四五六七八九")
    text = "# 规定\n\n" + "一般情形照此办理。" * 26 + "\n有下列情形之一的：\n" + items
    drafts = chunk(parse_text(text, name="a.md"), chunk_chars=250, overlap_chars=0)
    assert any(draft.text.startswith("有下列情形之一的：") or "有下列情形之一的：\n（一）" in draft.text for draft in drafts)
    assert not any(draft.text.endswith("：") for draft in drafts)


def test_each_pair_of_question_and_answer_is_a_chunk() -> None:
    pairs = [f"问：第{n}个问题怎么办？\n答：第{n}种办法。" for n in range(5)]
    text = "说明文字。\n\n" + "\n\n".join(pairs) + "\n\n结束语。"
    blocks = tuple(Block(text.index(pair), text.index(pair) + len(pair), kind="qa") for pair in pairs)
    drafts = chunk(ParsedDocument(text, blocks, "问答", "text/csv"), chunk_chars=250, overlap_chars=50)
    assert [draft.text for draft in drafts] == ["说明文字。", *pairs, "结束语。"]


def test_code_that_fits_is_not_torn() -> None:
    code = "```\n" + "\n".join(f"set parameter_{n} = {n}" for n in range(8)) + "\n```"
    text = "# 配置\n\n" + "说明文字在这里。" * 25 + "\n\n" + code + "\n\n" + "说明文字在这里。" * 25
    drafts = chunk(parse_text(text, name="a.md"), chunk_chars=250, overlap_chars=0)
    assert sum("parameter_" in draft.text for draft in drafts) == 1
