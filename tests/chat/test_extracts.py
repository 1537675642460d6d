"""Which stretches an extractive answer shows, and the passages that they come from."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from qzbrain.brain import Brain
from qzbrain.chat.context import Passage, passages, to_citations
from qzbrain.chat.extracts import extracts, readable
from qzbrain.domain import Caller, Hit, SourceScore
from qzbrain.storage.tables import chunks, documents

LIST = "申请材料如下：\n（一）身份证；\n（二）户口簿；\n（三）照片两张。\n办理时间为五个工作日。"


def passage(text: str, *, article: bool = False, path: tuple[str, ...] = (), named: bool = False, weight: float = 1.0) -> Passage:
    sources = {"reference": SourceScore(1, 1.0)} if named else {}
    hit = Hit(1, "d", None, "a.md", "A", "k", "kb", path, 0, text, 0, len(text), None, weight, 0.9, sources)
    return Passage(hit, 0, len(text), text, weight, article)


def shown(question: str, *found: Passage) -> list[str]:
    return [found[x.passage].text[x.start : x.end] for x in extracts(question, found)]


def test_a_sentence_that_announces_a_list_brings_its_items() -> None:
    assert shown("申请材料有什么？", passage(LIST))[0].startswith("申请材料如下：\n（一）身份证；\n（二）户口簿；\n（三）照片两张。")


def test_a_short_article_is_shown_whole_and_only_once() -> None:
    text = "第三条 罚款由公安机关决定。罚款应当缴入国库。罚款不得截留。"
    assert shown("罚款由谁决定？", passage(text, article=True, path=("第三条",))) == [text]


def test_of_a_long_article_only_sentences_unless_a_list_is_asked_for() -> None:
    text = "第三条 罚款由公安机关决定。" + "其他事项另行规定，" * 60 + "完毕。"
    long = passage(text, article=True, path=("第三条",))
    assert shown("罚款由谁决定？", long)[0] == "第三条 罚款由公安机关决定。"
    assert shown("罚款的条件有哪些？", long) == [text]


def test_articles_that_the_question_names_are_shown_alone() -> None:
    named, other = passage("第三条 罚款。", named=True), passage("罚款由公安机关决定。罚款很多。")
    assert shown("第三条的罚款", named, other) == ["第三条 罚款。"]


def test_extracts_of_one_passage_stand_in_reading_order() -> None:
    text = "公园建于1950年。园内无关紧要的话。公园门票十元。"
    picked = shown("公园门票多少？公园何时建？", passage(text))
    assert [text.index(x) for x in picked] == sorted(text.index(x) for x in picked)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("## 第二章\n\n**第九条**\u3000种类：\n\n（一）警告；\n", "第九条\u3000种类：\n（一）警告；"), ("普通的一句。", "普通的一句。"),
        ("# 只有标题", "# 只有标题"),
        ("2 ** 3 ** 2", "2 ** 3 ** 2"), ("上\n---\n下", "上\n下"),
    ],
)  # fmt: skip
def test_markdown_is_not_shown(text: str, clean: str) -> None:
    assert readable(text) == clean


def test_passages_are_literal_stretches_within_the_budget(knowing: Brain, me: Caller) -> None:
    hits = _hits(knowing, me, "劳动合同期限与试用期的规定")
    found = passages(knowing.db, hits, limit_chars=600, most=8)
    assert 1 <= len(found) <= 8
    assert sum(len(x.text) for x in found[1:]) <= 600
    for one in to_citations(found):
        assert knowing.knowledge.content(me, one.document_id)[one.start : one.end] == one.quote
        assert one.url == f"/documents/{one.document_id}?start={one.start}&end={one.end}"


def test_neighbours_of_one_section_become_one_passage(knowing: Brain, me: Caller) -> None:
    hits = [hit for hit in _hits(knowing, me, "行政处罚的种类") if hit.heading_path][:1]
    first = hits[0]
    middle = len(first.text) // 2
    left = _part(first, first.start, first.start + middle)
    right = _part(first, first.start + middle, first.end)
    found = passages(knowing.db, [left, right], limit_chars=6000, most=5)
    assert len(found) == 1
    assert found[0].start <= first.start and found[0].end >= first.end
    assert knowing.knowledge.content(me, first.document_id)[found[0].start : found[0].end] == found[0].text


def test_a_torn_article_is_made_whole(knowing: Brain, me: Caller) -> None:
    torn = (
        select(chunks.c.heading_path, func.min(chunks.c.start), func.max(chunks.c.end), func.min(chunks.c.text))
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(chunks.c.reference != "")
        .group_by(chunks.c.document_id, chunks.c.heading_path)
        .having(func.count() == 2)
    )
    start, end = next((row[1], row[2]) for row in knowing.db.rows(torn) if row[2] - row[1] < 700)
    text = next(row[3] for row in knowing.db.rows(torn) if (row[1], row[2]) == (start, end))
    hit = next(hit for hit in _hits(knowing, me, text[:200]) if start <= hit.start and hit.end <= end)
    found = passages(knowing.db, [hit], limit_chars=6000, most=5)[0]
    assert found.article and (found.start, found.end) == (start, end)
    assert knowing.knowledge.content(me, hit.document_id)[start:end] == found.text


def _hits(brain: Brain, me: Caller, question: str) -> list[Hit]:
    from qzbrain.retrieval.hybrid import SearchQuery

    return list(brain.retriever.search(SearchQuery(question), brain.access.scope(me, [kb.id for kb in brain.access.resolve(me, ["laws"])])).hits)


def _part(hit: Hit, start: int, end: int) -> Hit:
    from dataclasses import replace

    return replace(hit, start=start, end=end, text=hit.text[start - hit.start : end - hit.start])


def test_a_question_brings_its_answer() -> None:
    pairs = "问：几点上班？\n答：九点。\n\n问：高血压患者能吃党参吗？\n答：可以。" + "党参有降血脂的作用，" * 60 + "完毕。"
    [first, *_] = shown("高血压患者能不能吃党参？", passage(pairs))
    assert first.startswith("问：高血压患者能吃党参吗？\n答：可以。")
    assert shown("几点上班？", passage(pairs))[0] == "问：几点上班？\n答：九点。"


def test_a_row_of_a_table_is_shown_whole() -> None:
    rows = "姓名：张三\n电话：6601\n\n姓名：李四\n电话：6602"
    assert shown("李四的电话是多少？", passage(rows))[0] == "姓名：李四\n电话：6602"
