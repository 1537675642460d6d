"""Citation marks: cleaned in any cutting of the stream, and each sentence held against its passages."""

from __future__ import annotations

import random

import pytest

from qzbrain.chat.citations import MarkFilter, check, marks, support
from qzbrain.domain import Citation

ARTICLE = "第十四条 公民有下列情形之一的，给予警告、罚款。罚款的数额为五百元以上一千元以下，由县级公安机关决定。"
ENGLISH = "The Old Bridge was built in 1742 by the engineer Anna Holm. It crosses the river Vell near the market."


def citation(index: int, quote: str) -> Citation:
    return Citation(index, "d", None, "a.md", "A", ("第十四条",), None, 0, len(quote), quote, "", False, None)


def filtered(pieces: list[str], count: int) -> str:
    marks_filter = MarkFilter(count)
    return "".join([marks_filter.push(piece) for piece in pieces] + [marks_filter.finish()])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("一[1]。二[3]。", "一[1]。二[3]。"), ("一【1】二［2］", "一[1]二[2]"), ("一[1, 2]二[1，3]三[2、2]", "一[1][2]二[1][3]三[2]"),
        ("没有[4]出处[0]", "没有出处"), ("部分[1,9]", "部分[1]"), ("〔2021〕5号", "〔2021〕5号"), ("[2021]年", "[2021]年"), ("【注】一[", "【注】一["),
        ("[x](http://a)", "[x](http://a)"), ("[[1]]", "[[1]]"), ("[ 2 ]", "[2]"), ("末[1", "末[1"),
    ],
)  # fmt: skip
def test_marks_are_cleaned_however_the_stream_is_cut(text: str, shown: str) -> None:
    rnd = random.Random(7)
    assert filtered([text], 3) == shown
    assert filtered(list(text), 3) == shown
    for _ in range(50):
        cuts = sorted(rnd.randrange(len(text) + 1) for _ in range(3))
        assert filtered([text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)], 3) == shown


def test_text_without_brackets_is_never_held_back() -> None:
    assert MarkFilter(3).push("普通文本") == "普通文本"


def test_marks_are_found_with_their_places() -> None:
    answer = "甲[1]乙[12]丙[3]"
    assert [(m.index, answer[m.start : m.end]) for m in marks(answer, 3)] == [(1, "[1]"), (3, "[3]")]


def test_a_true_sentence_stands_and_a_false_one_is_marked() -> None:
    answer = "罚款的数额为五百元以上一千元以下[1]。桥由安娜·霍尔姆设计并于冬季完工通车[1]。The Old Bridge was built in 1742 [2]."
    checked = check(answer, [citation(1, ARTICLE), citation(2, ENGLISH), citation(3, "无关")])
    assert [answer[a:b] for a, b in checked.unsupported] == ["桥由安娜·霍尔姆设计并于冬季完工通车[1]。"]
    assert [(c.cited, c.supported) for c in checked.citations] == [(True, False), (True, True), (False, None)]


def test_marks_after_the_full_stop_belong_to_the_sentence_before() -> None:
    answer = "罚款由县级公安机关决定。[1] 没有标注的一句。"
    checked = check(answer, [citation(1, ARTICLE)])
    assert (checked.unsupported, checked.citations[0].supported) == ((), True)


@pytest.mark.parametrize("number", ["5. ", "5.", "5、", "5）", "（5）", "5) ", "- 5. ", "**5.** ", "  12. "])
def test_the_number_of_a_list_item_needs_no_passage(number: str) -> None:
    answer = f"包括以下各项：\n{number}罚款的数额为五百元以上一千元以下。[1]"
    checked = check(answer, [citation(1, ARTICLE)])
    assert (checked.unsupported, checked.citations[0].supported) == ((), True)


@pytest.mark.parametrize("statement", ["5.2万元为罚款的数额。", "5000元以上为罚款的数额。", "罚款的数额分为 5、罚款。", "5 罚款的数额为五百元以上一千元以下。"])
def test_a_number_that_says_something_is_still_held_against_the_passage(statement: str) -> None:
    checked = check(f"{statement}[1]", [citation(1, ARTICLE)])
    assert checked.citations[0].supported is False


def test_two_passages_may_bear_out_one_sentence_together() -> None:
    answer = "罚款由公安机关决定，The Old Bridge was built in 1742[1][2]。"
    assert check(answer, [citation(1, ARTICLE), citation(2, ENGLISH)]).unsupported == ()


def test_a_wrong_number_is_not_borne_out() -> None:
    assert support("The Old Bridge was built in 1742.", ENGLISH.lower()) > 0.9
    assert support("The Old Bridge was built in 1743.", ENGLISH.lower()) == 0.0
    assert support("In 1743 the Old Bridge was built near the market.", ENGLISH.lower(), question="what of 1743?") > 0.5


def test_traditional_script_is_borne_out_by_simplified() -> None:
    assert support("罰款的數額為五百元以上", ARTICLE) > 0.7


def test_without_marks_nothing_is_cited() -> None:
    checked = check("一句话。", [citation(1, ARTICLE)])
    assert (checked.citations[0].cited, checked.citations[0].supported, checked.unsupported) == (False, None, ())
