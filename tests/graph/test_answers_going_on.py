"""Questions that go on from earlier ones."""

from __future__ import annotations

import pytest

from tests.graph.answering import BOOKS, COMPANIES, ENGLISH, FILMS, HOSPITAL, answerer

Rows = tuple[tuple[str, ...], ...]

GOING_ON: tuple[tuple[Rows, tuple[str, ...], str, set[str]], ...] = (
    (BOOKS, ("鲁迅是哪里人？",), "那他的妻子呢", {"朱安", "许广平"}),
    (BOOKS, ("鲁迅是哪里人？",), "他毕业于哪所学校", {"仙台医学专门学校"}),
    (BOOKS, ("红楼梦的作者是谁？",), "他的出生地在哪？", {"南京"}),
    (BOOKS, ("红楼梦的作者是谁？",), "那他是哪年出生的", {"1715年"}),
    (BOOKS, ("红楼梦的作者是谁？",), "它的成书时间是什么时候", {"1784年"}),
    (BOOKS, ("呐喊的作者是谁？",), "出版社呢", {"新潮社"}),
    (BOOKS, ("呐喊的作者是谁？", "他的母亲是谁"), "她的出生地是哪里", {"安桥头"}),
    (BOOKS, ("鲁迅写了哪些书？", "今天天气怎么样"), "他的妻子是谁", {"朱安", "许广平"}),
    (BOOKS, ("鲁迅出生在哪里？",), "那曹雪芹呢？", {"南京"}),
    (BOOKS, ("红楼梦是谁写的",), "围城呢", {"钱钟书"}),
    (BOOKS, ("红楼梦是谁写的", "围城呢"), "那彷徨呢", {"鲁迅"}),
    (COMPANIES, ("晨光科技的创始人是谁",), "它在哪", {"杭州"}),
    (COMPANIES, ("晨光科技的创始人是谁",), "这家公司是什么时候成立的", {"2003年5月"}),
    (COMPANIES, ("晨光科技的创始人是谁",), "他的妻子叫什么", {"陈洁"}),
    (COMPANIES, ("远海集团的董事长是谁",), "总部地点呢？", {"上海"}),
    (FILMS, ("霸王别姬的导演是谁",), "有哪些主演", {"张国荣", "巩俐"}),
    (HOSPITAL, ("偏头痛有哪些典型症状",), "应该挂什么科", {"神经内科"}),
    (ENGLISH, ("Who wrote Hamlet?",), "Where was he born?", {"Stratford-upon-Avon"}),
    (ENGLISH, ("Where is Acme Corporation headquartered?",), "Who founded it?", {"Jane Miller"}),
    (ENGLISH, ("When was Acme Corporation founded?",), "And Globex?", {"1991"}),
    (ENGLISH, ("What is the capital of France?",), "What is its population?", {"2.1 million"}),
)  # fmt: skip


@pytest.mark.parametrize(("rows", "before", "question", "values"), GOING_ON, ids=[f"{one[1][-1]} {one[2]}" for one in GOING_ON])
def test_a_question_goes_on_from_those_before(rows: Rows, before: tuple[str, ...], question: str, values: set[str]) -> None:
    answer = answerer(rows).answer(question, before=before)
    assert set(answer.values) == values and answer.steps and answer.confidence >= 0.6
    assert answer.mentions


@pytest.mark.parametrize(("rows", "before", "question", "values"), GOING_ON, ids=[f"{one[1][-1]} {one[2]}" for one in GOING_ON])
def test_without_them_it_is_not_answered(rows: Rows, before: tuple[str, ...], question: str, values: set[str]) -> None:
    answer = answerer(rows).answer(question)
    assert set(answer.values) != values and answer.confidence < 0.5


@pytest.mark.parametrize(
    ("before", "question"),
    [
        (("鲁迅的妻子是谁？",), "其他员工的年假怎么算"),
        (("鲁迅的妻子是谁？",), "公司的差旅报销流程具体是怎样的，需要提交哪些材料才能通过财务审核？"),
        (("今天天气怎么样",), "他的妻子是谁"),
        (("鲁迅的妻子是谁？",), "他养过什么宠物"),
        (("鲁迅的妻子是谁？",), "谢谢"),
    ],
)
def test_what_does_not_go_on_is_left_alone(before: tuple[str, ...], question: str) -> None:
    assert answerer(BOOKS).answer(question, before=before).confidence < 0.5


def test_a_question_of_its_own_is_answered_as_without_earlier_ones() -> None:
    asked = answerer(BOOKS)
    assert asked.answer("红楼梦的作者是谁？", before=("鲁迅的妻子是谁？", "她的丈夫是谁")) == asked.answer("红楼梦的作者是谁？")


def test_a_name_stands_where_the_word_for_it_stands() -> None:
    (mention,) = answerer(BOOKS).answer("那他的妻子呢", before=("鲁迅是哪里人？",)).mentions
    assert (mention.start, mention.end, mention.key) == (1, 2, "鲁迅")
