"""Articles named in questions: which are found, and which must not be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from knowledge_rows import Writer

from qzbrain.brain import Brain
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.retrieval.references import References


def found(brain: Brain, writer: Writer, question: str, **scope: object) -> list[tuple[str, str]]:
    """(law, first six characters of the text) of each referenced hit, in order."""
    hits = brain.retriever.search(SearchQuery(question), writer.scope("laws", **scope)).hits  # type: ignore[arg-type]
    named = [hit for hit in hits if "reference" in hit.sources]
    assert list(hits[: len(named)]) == named, "named articles come first"
    return [(hit.title.removeprefix("中华人民共和国"), hit.text[:6]) for hit in named]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("民法典第一千零四十二条", [("民法典", "第一千零四十"), ("民法典", "禁止家庭暴力")]),
        ("《民法典》第1042条是什么？", [("民法典", "第一千零四十"), ("民法典", "禁止家庭暴力")]),
        ("中华人民共和国民法典第１０４２条", [("民法典", "第一千零四十"), ("民法典", "禁止家庭暴力")]),
        ("民法典第一千零四十二條的內容", [("民法典", "第一千零四十"), ("民法典", "禁止家庭暴力")]),
        ("刑法第120条之一", [("刑法", "第一百二十条")]),
        ("刑法第一百二十条之一和第十二条", [("刑法", "第一百二十条"), ("刑法", "第十二条 本")]),
        ("根据民诉法第92条，受送达人是军人的怎么办", [("民事诉讼法", "第九十二条 ")]),
        ("劳动合同法第12条", [("劳动合同法", "第十二条 劳")]),
        ("合同法第十二条", [("合同法（1999年）", "第十二条 合")]),
        ("《员工手册》第12条", [("员工手册", "第十二条 年")]),
        ("刑法第12条和民法典第12条", [("刑法", "第十二条 本"), ("民法典", "第十二条 中")]),
        ("民法典第十条至第十二条", [("民法典", "第十条 处理"), ("民法典", "第十一条 其"), ("民法典", "第十二条 中")]),
        ("第三十条", [("员工手册", "第三十条 报")]),
        ("年假有几天，见第12条", [("员工手册", "第十二条 年")]),
    ],
)
def test_named_articles_come_first(brain: Brain, laws: Callable[[], Writer], question: str, expected: list[tuple[str, str]]) -> None:
    assert found(brain, laws(), question) == expected


@pytest.mark.parametrize(
    "question",
    ["第十二条", "劳动合同法实施条例第十二条", "海商法第十二条", "劳动合同法第九千条", "第一条件是什么", "禁止家庭暴力", "第9999999条", "第条", ""],
)
def test_what_is_not_clear_is_left_to_the_words(brain: Brain, laws: Callable[[], Writer], question: str) -> None:
    assert found(brain, laws(), question) == []


def test_the_scope_is_respected(brain: Brain, laws: Callable[[], Writer]) -> None:
    writer = laws()
    other = writer.put("other", "中华人民共和国刑法", [("12", "第十二条 另一个知识库。")])
    writer.catch_up("other")
    assert [law for law, _ in found(brain, writer, "刑法第十二条")] == ["刑法"]
    assert found(brain, writer, "刑法第十二条", document_ids=[]) == []
    references = References(brain.db, brain.index)
    assert [hit.document_id for hit in references.find("刑法第十二条", writer.scope("other"))] == [other]
    assert references.find("刑法第十二条", writer.scope()) == []


def test_one_law_alone_needs_no_name(brain: Brain, laws: Callable[[], Writer], write: Writer) -> None:
    laws()
    only = write.put("one", "考勤制度", [("12", "第十二条 迟到三次记一次警告。")])
    write.catch_up("one")
    result = brain.retriever.search(SearchQuery("第十二条规定了什么"), write.scope("one"))
    assert [(hit.document_id, next(iter(hit.sources))) for hit in result.hits] == [(only, "reference")]
