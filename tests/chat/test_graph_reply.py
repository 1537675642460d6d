"""A graph's answer in words: one fact, lists, counts, comparisons, ways, in both languages; marks that stand for citations and for nothing else."""

from __future__ import annotations

import pytest

from qzbrain.chat.graph_reply import MOST_SHOWN, reply
from qzbrain.errors import Lang
from qzbrain.graph.answered import Answered, AnswerStep, in_order
from qzbrain.graph.base import Entity, Triple

IDS: dict[str, int] = {}


def step(head: str, relation: str, tail: str, *, forward: bool = True) -> AnswerStep:
    one, other = (Entity(IDS.setdefault(name, len(IDS)), name, "") for name in (head, tail))
    return AnswerStep(Triple(0, one, relation, other), forward)


def told(kind: str, steps: list[AnswerStep], *values: str, lang: Lang = "zh", question: str = "", truth: bool | None = None, one_source: bool = False) -> str:
    numbers = [1] * len(steps) if one_source else list(range(1, len(steps) + 1))
    return reply(Answered("kb", kind, "", values, tuple(steps), 0, 1.0, truth), numbers, question, lang)


def test_one_fact_in_both_directions_and_with_verbs() -> None:
    assert told("values", [step("红楼梦", "作者", "曹雪芹")], "曹雪芹") == "红楼梦的作者是曹雪芹[1]。"
    assert told("values", [step("红楼梦", "作者", "曹雪芹")], "曹雪芹", question="《红楼梦》谁写的？") == "《红楼梦》的作者是曹雪芹[1]。"
    assert told("values", [step("红楼梦", "作者", "曹雪芹", forward=False)], "红楼梦") == "作者是曹雪芹的有：红楼梦[1]。"
    assert told("values", [step("西湖", "位于", "杭州")], "杭州") == "西湖位于杭州[1]。"
    assert told("values", [step("西湖", "位于", "杭州", forward=False)], "西湖") == "位于杭州的有：西湖[1]。"
    assert told("values", [step("Emma", "author", "Jane Austen")], "Jane Austen", lang="en") == "The author of Emma is Jane Austen[1]."
    assert told("values", [step("iPhone", "made by", "Apple")], "Apple", lang="en") == "iPhone made by Apple[1]."


def test_a_long_list_says_how_long_it_is() -> None:
    steps = [step("某作家", "作品", f"书{n}") for n in range(MOST_SHOWN + 5)]
    said = told("list", steps, *(f"书{n}" for n in range(120)), one_source=True)
    assert said.startswith("某作家的作品是书0、书1、") and said.endswith(f"书{MOST_SHOWN - 1}[1] 等，共 120 项。")
    assert "and others, 120 in all" in told("list", steps, *(f"b{n}" for n in range(120)), lang="en")


def test_counts_use_the_questions_own_word() -> None:
    steps = [step(film, "主演", "梁朝伟", forward=False) for film in ("花样年华", "春光乍泄")]
    assert told("count", steps, "2", question="梁朝伟主演了几部电影？") == "主演是梁朝伟的共有 2 部：花样年华[1]、春光乍泄[2]。"
    assert told("count", steps, "2") == "主演是梁朝伟的共有 2 项：花样年华[1]、春光乍泄[2]。"
    assert told("count", steps, "2", lang="en") == "There are 2 (主演: 梁朝伟): 花样年华[1], 春光乍泄[2]."
    two = [step("无间道", "主演", "梁朝伟"), step("梁朝伟", "妻子", "刘嘉玲")]
    assert told("count", two, "1", question="有几位？") == "1 位。依据：无间道的主演是梁朝伟[1]；梁朝伟的妻子是刘嘉玲[2]。"


def test_comparisons_and_steps_show_what_they_rest_on() -> None:
    heights = [step("甲山", "海拔", "3000米"), step("乙山", "海拔", "2000米")]
    assert told("compare", heights, "甲山") == "甲山。依据：甲山的海拔是3000米[1]；乙山的海拔是2000米[2]。"
    assert told("compare", heights, "甲山", truth=False) == "不是。甲山的海拔是3000米[1]；乙山的海拔是2000米[2]。"
    assert told("values", [heights[0]], "3000米", truth=True, lang="en") == "Yes: the 海拔 of 甲山 is 3000米[1]."
    steps = [step("无间道", "导演", "刘伟强"), step("刘伟强", "出生地", "香港")]
    assert told("two_hop", steps, "香港") == "香港。依据：无间道的导演是刘伟强[1]；刘伟强的出生地是香港[2]。"
    assert told("two_hop", steps, "香港", lang="en").startswith("香港. This follows from: the 导演 of 无间道 is")


def test_a_way_tells_facts_as_they_are() -> None:
    steps = [step("无间道", "主演", "刘德华", forward=False), step("无间道", "主演", "梁朝伟"), step("梁朝伟", "妻子", "刘嘉玲")]
    assert told("path", steps, "刘德华", "无间道", "梁朝伟", "刘嘉玲") == "无间道的主演是刘德华[1]、梁朝伟[2]；梁朝伟的妻子是刘嘉玲[3]。"


def test_steps_come_in_the_order_in_which_one_says_them() -> None:
    steps = [step("丙", "妻子", "丁"), step("甲", "友", "乙"), step("乙", "师", "丙")]
    assert [one.triple.head.name for one in in_order(steps)] == ["甲", "乙", "丙"]
    round_trip = [step("甲", "友", "乙"), step("乙", "友", "甲")]
    assert in_order(round_trip) == round_trip


@pytest.mark.parametrize("name", ["某剧[3]", "某剧【3】", "某剧 [1, 2]"])
def test_a_name_is_never_read_as_a_mark(name: str) -> None:
    assert told("values", [step(name, "导演", f"某人{name[2:]}")], "x").replace(" ", "") == "某剧的导演是某人[1]。"


def test_a_name_of_several_lines_is_one() -> None:
    assert told("values", [step("某\n剧", "导演", " 某\r\n人 ")], "x") == "某 剧的导演是某 人[1]。"
