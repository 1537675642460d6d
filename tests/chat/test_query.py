"""Follow-ups: which questions lean on what was said before, and what they become. A small set written for this test."""

from __future__ import annotations

import pytest

from qzbrain.chat.query import Earlier, full_question, is_follow_up

CITED = (("行政处罚法", "第二章 行政处罚的种类和设定", "第九条"),)
BEFORE = [Earlier("行政处罚的种类有哪些？", CITED)]
LEANING = [
    "由谁决定？", "那第三款呢？", "它的期限是多久？", "还有别的吗？", "为什么？", "需要什么条件？", "这个规定什么时候施行？", "该机关有哪些职责？",
    "第二项具体指什么？",
    "多少钱？", "怎么申请？", "其中最重的是哪一种？", "第十条呢？", "第十条怎么规定的？", "上述情形的例外有哪些？", "期限呢？", "能不能延长？", "谁负责？",
    "What about its period?", "And who decides?", "Why?", "How long does it take?",
]  # fmt: skip
STANDING = [
    "行政处罚的种类有哪些？", "劳动合同的试用期最长是多久？", "民法典第一千零四十二条", "行政处罚法第九条规定了什么？", "《劳动合同法》第三款是什么？",
    "公司解散的条件是什么？",
    "谁有权批准五十万元以上的采购？", "什么是行政处罚？", "怎么申请低保？", "如何办理护照？", "多少钱可以立案？",
    "未成年人驾驶摩托车怎么处罚？", "食品安全事故由谁调查处理？", "多少岁可以办理身份证？",
    "When was the Old Bridge built?", "Who designed the Sydney Opera House?", "How many people live in Chengdu?",
]  # fmt: skip


@pytest.mark.parametrize("question", LEANING)
def test_a_question_that_leans_on_the_one_before(question: str) -> None:
    assert is_follow_up(question)
    assert full_question(question, BEFORE) != question


@pytest.mark.parametrize("question", STANDING)
def test_a_question_that_stands_alone_is_left_alone(question: str) -> None:
    assert not is_follow_up(question)
    assert full_question(question, BEFORE) == question


def test_the_subject_comes_from_the_last_full_question() -> None:
    assert full_question("由谁决定？", BEFORE) == "行政处罚的种类 由谁决定？"
    assert full_question("多久？", [*BEFORE, Earlier("由谁决定？")]) == "行政处罚的种类 多久？"
    assert full_question("多久？", [*BEFORE, Earlier("劳动合同的试用期有多长？")]).startswith("劳动合同的试用期")


def test_a_clause_is_one_of_the_article_last_cited() -> None:
    assert full_question("那第三款呢？", BEFORE) == "行政处罚法 第九条 那第三款呢？"
    assert full_question("第十条呢？", BEFORE) == "行政处罚法 第十条呢？"


def test_the_first_question_is_never_changed() -> None:
    assert full_question("由谁决定？", []) == "由谁决定？"
