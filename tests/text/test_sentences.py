"""Sentences: what ends one, what does not, and that nothing is lost."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest

from qzbrain.text.sentences import sentence_around, sentences


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(("text", "expected"), [
    ("第一句。第二句！第三句？", ["第一句。", "第二句！", "第三句？"]),
    ("他说：“你好。”然后走了。", ["他说：“你好。”", "然后走了。"]),
    ("（见附件。）下一句", ["（见附件。）", "下一句"]),
    ("真的？！是的……然后", ["真的？！", "是的……然后"]),
    ("圆周率是3.14。版本 2.0.1 已发布。", ["圆周率是3.14。", "版本 2.0.1 已发布。"]),
    ("中文句号.下一句", ["中文句号.", "下一句"]),
    ("Mr. Smith paid $3.50, e.g. in cash. He left.", ["Mr. Smith paid $3.50, e.g. in cash.", "He left."]),
    ("J. K. Rowling wrote it. Read it at www.example.com/a?b=1 today.", ["J. K. Rowling wrote it.", "Read it at www.example.com/a?b=1 today."]),
    ('She said "Go." "No," he said.', ['She said "Go."', '"No," he said.']),
    ("See No. 5 and Fig. 3, p. 5. Then Gen. Lee came.", ["See No. 5 and Fig. 3, p. 5.", "Then Gen. Lee came."]),
    ("He left the U.S. He likes it. The U.S. Army came at 5 p.m. The end.", [
        "He left the U.S.", "He likes it.", "The U.S. Army came at 5 p.m.", "The end.",
    ]),
    ("She said no. Then, e.g. China agreed.", ["She said no.", "Then, e.g. China agreed."]),
    ('"Yes!" she cried. “Go home.” They went.', ['"Yes!" she cried.', "“Go home.”", "They went."]),
    ("It ended.[1][23] Another began. 见 GB/T 1234-2020. 下一句。", ["It ended.[1][23]", "Another began.", "见 GB/T 1234-2020.", "下一句。"]),
    ("标题\n正文。\n\n另一段", ["标题", "正文。", "另一段"]),
    ("a sentence that was\nwrapped here. Next.", ["a sentence that was\nwrapped here.", "Next."]),
    ("1. 项目一\n2. 项目二", ["1. 项目一", "2. 项目二"]),
    ("", []),
    (" \n\u3000\n", []),
])
def test_ends(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_spans_cover_every_character_that_is_no_blank_in_order() -> None:
    rng = random.Random(7)
    for _ in range(300):
        text = "".join(rng.choice("甲乙。！?.\n \u3000\"”）(aB1,;…\r\t") for _ in range(rng.randrange(60)))
        spans = sentences(text)
        covered = "".join(text[start:end] for start, end in spans)
        assert "".join(covered.split()) == "".join(text.split())
        assert all(start < end and text[start:end] == text[start:end].strip() for start, end in spans)
        assert all(first[1] <= second[0] for first, second in pairwise(spans))


def test_sentence_around_finds_the_span_of_an_offset() -> None:
    text = "甲甲。 乙乙。"
    spans = sentences(text)
    assert [sentence_around(spans, offset) for offset in (0, 2, 3, 4, 6, 7)] == [0, 0, 1, 1, 1, 2]


def test_time_grows_with_the_length_not_its_square() -> None:
    def seconds(text: str) -> float:
        started = time.thread_time()
        sentences(text)
        return time.thread_time() - started

    for piece in ("。", ". ", "\n", "a.b", '"', "字", "1."):
        small, large = min(seconds(piece * 20_000) for _ in range(3)), min(seconds(piece * 160_000) for _ in range(2))
        assert large < max(small, 0.002) * 30, piece
