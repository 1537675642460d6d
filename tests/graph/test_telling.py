"""Facts as texts: every one is said, in lines that stand alone, in pieces that a search can take."""

from __future__ import annotations

import random

import pytest

from qzbrain.graph.telling import CHUNK_CHARS, Head, line_of, told


def test_a_head_is_told_by_relation() -> None:
    head = Head(1, "晨光公司", "公司", ("晨光",), (("董事长", "李明"), ("高管", "王芳"), ("行业", "造纸"), ("高管", "赵刚"), ("高管", "王芳")))
    text = told(head)
    assert text.text.split("\n\n") == [
        "晨光公司，类型：公司；又称：晨光。", "晨光公司的董事长：李明。", "晨光公司的高管：王芳、赵刚。", "晨光公司的行业：造纸。"
    ]  # fmt: skip
    assert text.pieces == ((0, len(text.text)),)


def test_english_is_told_in_english() -> None:
    text = told(Head(1, "Acme", "company", ("Acme Inc.",), (("CEO", "Ann"), ("CEO", "Bob")))).text
    assert text == "Acme, type: company; also known as Acme Inc.\n\nAcme, CEO: Ann; Bob."


def test_a_long_list_goes_on_in_lines_that_name_the_entity() -> None:
    text = told(Head(1, "甲", "", (), tuple(("子公司", f"第{n}分公司") for n in range(300)), left_out=7))
    lines = text.text.split("\n\n")
    assert len(lines) > 5 and all(line.startswith("甲的子公司：") and len(line) <= CHUNK_CHARS + 1 for line in lines[:-1])
    assert lines[-1] == "甲：另有 7 条事实，见知识图谱。"


SIGNS = "甲乙丙丁戊，。；：、！？ \n\t\u3000“”()[]ab Z09.;:,!?-\U0001f600é"


@pytest.mark.parametrize("seed", range(200))
def test_whatever_is_told(seed: int) -> None:
    chance = random.Random(seed)

    def name() -> str:
        return chance.choice("甲乙丙ab1") + "".join(chance.choices(SIGNS, k=chance.choice((0, 1, 3, 12, 40, 300))))

    facts = [(name(), name()) for _ in range(chance.randint(1, 60))]
    head = Head(1, name(), chance.choice(("", "公司")), tuple(name() for _ in range(chance.randint(0, 30))), tuple(facts))
    text = told(head)
    assert told(head) == text
    squeezed = " ".join(text.text.split())
    assert all(" ".join(tail.split()) in squeezed for _, tail in facts)
    assert all(0 <= start < end <= len(text.text) for start, end in text.pieces)
    for relation, tail in facts:
        line = line_of(text.text, head.name, relation, tail)
        assert line is not None and " ".join(tail.split()) in text.text[line[0] : line[1]]
    assert line_of(text.text, head.name, facts[0][0] if facts else "x", "谁也没说过") is None
    between = [text.text[end:start] for (_, end), (start, _) in zip(text.pieces, text.pieces[1:], strict=False)]
    assert set(between) <= {"\n\n"} and text.pieces[0][0] == 0 and text.pieces[-1][1] == len(text.text)
    for start, end in text.pieces:
        assert end - start <= CHUNK_CHARS or "\n\n" not in text.text[start:end]


@pytest.mark.parametrize("tail", ["很长" * 1000, "甲\n乙\t丙", "“引号”；、。"])
def test_odd_tails(tail: str) -> None:
    text = told(Head(1, "甲", "", (), (("值", tail), ("值", "乙"))))
    assert " ".join(tail.split()) in text.text and len(text.pieces) >= 1
