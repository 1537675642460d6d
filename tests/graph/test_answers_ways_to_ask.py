"""Words set for relations, nearness of labels, names that several entities bear, and what `POST /chat-process-txt` ranks: the same readings."""

from __future__ import annotations

import time
from random import Random

import numpy as np
import pytest

from qzbrain.graph.qa import Answerer
from qzbrain.graph.view import GraphView
from tests.graph.answering import BOOKS, COMPANIES, ENGLISH, FILMS, answerer, view_of

PLANT = (("一号机", "责任班组", "甲班"), ("一号机", "润滑油品", "L-HM46"), ("二号机", "责任班组", "甲班"), ("二号机", "停机阈值", "95摄氏度"))


def test_set_words_ask_for_their_relation_in_their_direction() -> None:
    asked = ("一号机归谁伺候", "甲班伺候着哪些设备")
    bare = Answerer(view_of(PLANT))
    assert all(bare.answer(one).confidence < 0.5 for one in asked)
    cued = Answerer(view_of(PLANT, cues={"责任班组": (("归谁伺候",), ("伺候着",))}))
    there = cued.answer(asked[0])
    assert (there.values, there.relation) == (("甲班",), "责任班组") and there.confidence >= 0.7
    back = cued.answer(asked[1])
    assert (set(back.values), back.kind) == ({"一号机", "二号机"}, "list") and back.confidence >= 0.6
    assert cued.answer("甲班归谁伺候").confidence < 0.5


def test_set_words_are_compared_as_a_search_sees_them() -> None:
    cued = Answerer(view_of((("Pump A", "owner team", "Blue"),), cues={"owner team": (("Looked After By", "誰負責"), ())}))
    assert cued.answer("who is Pump A looked after by?").values == ("Blue",)
    assert cued.answer("Pump A谁负责").values == ("Blue",)


def test_nearness_finds_a_relation_that_no_word_names() -> None:
    asked = Answerer(view_of(PLANT))
    question = "二号机热到什么程度会自动关掉"
    near = {"责任班组": 0.78, "润滑油品": 0.79, "停机阈值": 0.88}
    without, answer = asked.answer(question), asked.answer(question, nearness=near)
    assert without.confidence < 0.2
    assert answer.values == ("95摄氏度",) and answer.score > without.score and answer.confidence <= 0.5


@pytest.mark.parametrize("seed", range(5))
def test_nearness_does_not_spoil_what_words_say(seed: int) -> None:
    chance = Random(seed)
    for rows, question, values in (
        (BOOKS, "红楼梦的作者是谁？", {"曹雪芹"}),
        (BOOKS, "鲁迅写了什么？", {"呐喊", "彷徨", "朝花夕拾"}),
        (FILMS, "大红灯笼高高挂的导演的配偶是谁", {"陈婷"}),
        (COMPANIES, "晨光科技的总部在哪", {"杭州"}),
        (ENGLISH, "Who founded Acme Corporation?", {"Jane Miller"}),
    ):
        labels = answerer(rows).view.relation_names
        answer = answerer(rows).answer(question, nearness={label: chance.uniform(0.75, 0.95) for label in labels})
        assert set(answer.values) == values and answer.confidence >= 0.6


SAME_NAMES = (
    ("苹果", "创始人", "史蒂夫·乔布斯", "公司", "人物"),
    ("苹果", "总部地点", "库比蒂诺", "公司", "城市"),
    ("苹果", "主要成分", "果糖", "水果", ""),
    ("苹果", "产地", "烟台", "水果", "城市"),
    ("长城", "长度", "21196千米", "建筑", ""),
    ("长城", "产品", "哈弗", "公司", ""),
    ("长城", "官网", "gwm.example", "公司", ""),
)


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("苹果的创始人是谁", "史蒂夫·乔布斯"),
        ("苹果公司的总部在哪", "库比蒂诺"),
        ("苹果这种水果的产地是哪里", "烟台"),
        ("苹果含有哪些主要成分", "果糖"),
        ("长城有多长", "21196千米"),
        ("长城公司生产什么产品", "哈弗"),
    ],
)
def test_of_entities_of_one_name_the_one_that_fits_is_meant(question: str, value: str) -> None:
    assert Answerer(view_of(SAME_NAMES)).answer(question).values == (value,)


def test_other_names_and_single_characters() -> None:
    asked = Answerer(view_of(BOOKS, aliases=(("石头记", "红楼梦"), ("周树人", "鲁迅"))))
    assert asked.answer("《石头记》是谁写的").values == ("曹雪芹",)
    assert asked.answer("周树人的妻子是谁").values == ("朱安", "许广平")
    one = asked.answer("家的作者是谁")
    assert one.values == ("巴金",) and one.confidence <= 0.5, "one character names something by chance"
    assert asked.answer("国家的法律由谁制定").confidence < 0.2


def test_values_of_the_named_type_alone_are_given() -> None:
    rows = (("鲁迅", "代表作品", "呐喊", "人物", "小说集"), ("鲁迅", "代表作品", "野草", "人物", "散文诗集"), ("鲁迅", "代表作品", "彷徨", "人物", "小说集"))
    asked = Answerer(view_of(rows))
    assert asked.answer("鲁迅的代表作品有哪些").values == ("呐喊", "野草", "彷徨")
    some = asked.answer("鲁迅的代表作品中有哪些小说集")
    assert some.values == ("呐喊", "彷徨") and len(some.steps) == 2
    assert asked.answer("鲁迅的代表作品有几部小说集").values == ("2",)


# -- ranking


@pytest.mark.parametrize(
    ("rows", "question"),
    [
        (BOOKS, "红楼梦的作者的出生地是哪里？"), (BOOKS, "鲁迅写了什么？"), (FILMS, "张国荣和张艺谋有什么联系"), (FILMS, "巩俐和葛优谁更高？"),
        (COMPANIES, "总部在上海的公司有哪些"), (ENGLISH, "Where was the author of Hamlet born?"),
    ],
)  # fmt: skip
def test_what_answers_is_ranked_first(rows: tuple[tuple[str, ...], ...], question: str) -> None:
    asked = answerer(rows)
    answer = asked.answer(question)
    _, ranked = asked.ranked(question, top_k=10, hops=3)
    assert [edge.triple for _, edge, _ in ranked][: len(answer.steps)] == [edge.triple for edge in answer.steps]
    assert [score for score, _, _ in ranked] == sorted((score for score, _, _ in ranked), reverse=True)
    assert len({edge.triple for _, edge, _ in ranked}) == len(ranked) <= 10
    _, only = asked.ranked(question, top_k=10, hops=3, mode="answer")
    assert [edge for _, edge, _ in only] == list(answer.steps)


def test_hops_bound_how_far_a_reading_goes() -> None:
    asked, question = answerer(BOOKS), "呐喊的作者的母亲的出生地"

    def told(hops: int) -> set[str]:
        _, ranked = asked.ranked(question, top_k=20, hops=hops, mode="answer")
        return {asked.view.names[edge.other] for _, edge, _ in ranked}

    assert told(1) == {"鲁迅"} and told(3) == {"鲁迅", "鲁瑞", "安桥头"}
    assert len(told(2)) == 2 and "安桥头" not in told(2)


def test_around_gives_what_the_named_have_whatever_is_asked() -> None:
    _, ranked = answerer(BOOKS).ranked("围城的价格是多少", top_k=10, mode="around")
    assert {answerer(BOOKS).view.names[edge.other] for _, edge, _ in ranked} == {"钱钟书", "讽刺小说"}
    assert answerer(BOOKS).ranked("围城的价格是多少", top_k=10, mode="answer")[1] == []


# -- cost


def test_what_an_answer_costs_does_not_grow_with_a_hub() -> None:
    """A million triples end in one entity, and each question has a bound; a table of 500 labels that are nearly the same is no way round it."""
    size = 1_000_000
    names = ["总中心", *(f"分支{n}号" for n in range(2000))]
    heads, tails = (np.arange(size, dtype=np.int32) % 2000) + 1, np.zeros(size, np.int32)
    kinds = ((np.arange(size) // 2000) % 500).astype(np.int32)
    view = GraphView(1, np.arange(1, 2002), names, [""] * 2001, [], [f"第{n}类归属" for n in range(500)], np.arange(1, size + 1), heads, kinds, tails)
    asked = Answerer(view)
    asked.answer("总中心")
    questions = (
        "第7类归属是总中心的有哪些？",
        "分支8号的第3类归属的第7类归属是什么",
        "总中心和分支8号有什么关系",
        "分支8号和分支9号有什么关系",
        "分支7号和分支9号谁更早",
        "总中心有多少个第7类归属",
    )
    for question in questions:
        begun = time.process_time()
        asked.answer(question, before=questions)
        assert time.process_time() - begun < 1.0, question
    assert asked.answer("第7类归属是总中心的有多少个？").values == ("2000",)


@pytest.mark.parametrize("seed", range(20))
def test_any_text_is_taken(seed: int) -> None:
    """Whatever is asked gives an answer of the promised form."""
    chance = Random(seed)
    pieces = [
        *"的是谁在和与有哪些多少几个吗？?，. 《》'\"",
        "鲁迅",
        "红楼梦",
        "作者",
        "妻子",
        "写了",
        "他",
        "比",
        "更早",
        "关系",
        "Hamlet",
        "of",
        " is ",
        "\ufffc",
        "\x00",
        "\ud800",
        "㍿",
        "ﬁ",
        "İ",
        "𠮷",
        "家",
        "呢",
    ]
    asked = Answerer(view_of((*BOOKS, ("Hamlet", "author", "鲁迅"), ("", "", ""))))
    for _ in range(60):
        question, earlier = ("".join(chance.choices(pieces, k=chance.randrange(14))) for _ in range(2))
        answer = asked.answer(question, before=(earlier,))
        assert 0.0 <= answer.confidence <= 1.0 and answer.kind in ("", "values", "list", "count", "compare", "two_hop", "path")
        assert bool(answer.kind) == bool(answer.values) == (answer.score > 0)
        assert not answer.values or answer.steps
        asked.ranked(question, top_k=5, hops=3, mode=chance.choice(("auto", "answer", "around")))
