"""Whether one question asks what another does."""

from __future__ import annotations

import pytest

from qzbrain.retrieval.entry_matching import best_match, match
from qzbrain.settings import Settings

SURE = Settings().entry_direct_confidence


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("年假可以休几天？", "请问年假可以休几天"), ("年假可以休几天？", "年假 可以休几天呢？"), ("合同何時生效？", "合同何时生效"),
        ("ＡＢＣ是什么？", "abc是什么"),
        ("公司法第十二条规定了什么？", "公司法第12条规定了什么"), ("采购金额超过五十万元由谁批准？", "采购金额超过五十万元的由哪位批准？"),
        ("What is the capital of France?", "what is the capital of france"),
    ],
)  # fmt: skip
def test_the_same_said_otherwise(one: str, other: str) -> None:
    assert match(one, other) >= SURE and match(other, one) == match(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("年假可以休几天？", "病假可以休几天？"), ("年假能休吗？", "年假不能休吗？"), ("2023年的预算是多少？", "2024年的预算是多少？"),
        ("公司法第十二条规定了什么？", "公司法第十三条规定了什么？"), ("合同何时签订？", "合同由谁签订？"), ("合同在哪里签订？", "合同何时签订？"),
        ("CX-300B怎么开机？", "CX-300C怎么开机？"), ("工龄满十年的员工年假可以休几天？", "年假可以休几天？"), ("该公司的特色是什么？", "该公司在哪里？"),
        ("Who wrote it?", "When was it written?"), ("", "年假？"), ("？？", "？？"),
    ],
)  # fmt: skip
def test_another_question(one: str, other: str) -> None:
    assert match(one, other) < SURE


def test_a_question_that_is_not_answered_takes_its_like_away() -> None:
    assert best_match("实习生年假几天？", ["年假几天？"], ["实习生年假几天？"]) == 0
    assert best_match("年假几天？", ["年假几天？"], ["实习生年假几天？"]) == 1
    assert best_match("年假几天？", []) == 0
