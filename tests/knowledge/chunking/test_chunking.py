"""Chunks of ordinary texts: sizes, borders, overlap, headings, and that no text is lost."""

from __future__ import annotations

import random
import re
import time
from itertools import pairwise

import pytest

from qzbrain.domain import Block, ChunkDraft, ParsedDocument
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.parsers import parse_text
from qzbrain.text.sentences import sentences


def cut(text: str, *, chunk_chars: int = 250, overlap_chars: int = 50, title: str = "") -> list[ChunkDraft]:
    return chunk(parse_text(text, name="文档.md", title=title), chunk_chars=chunk_chars, overlap_chars=overlap_chars)


PROSE = "".join(f"这是第{number}句话，讲的是同一件事情的另一个方面。" for number in range(60))


def test_prose_is_packed_into_windows_of_whole_sentences_that_overlap() -> None:
    drafts = cut(PROSE)
    edges = {edge for span in sentences(PROSE) for edge in span}
    assert [draft.ordinal for draft in drafts] == list(range(len(drafts)))
    assert all(150 < len(draft.text) <= 250 for draft in drafts[:-1])
    assert all(draft.start in edges and draft.end in edges for draft in drafts)
    for before, after in pairwise(drafts):
        assert 0 < before.end - after.start <= 50


def test_no_overlap_when_none_is_wanted() -> None:
    assert all(before.end <= after.start for before, after in pairwise(cut(PROSE, overlap_chars=0)))


def test_short_text_is_one_chunk() -> None:
    draft, = cut("  一句话。\n", title="题")
    assert (draft.text, draft.start, draft.heading_path, draft.page, draft.reference) == ("一句话。", 2, ("题",), None, "")


def test_long_sentence_is_cut_at_commas_then_hard() -> None:
    with_commas = "，".join(["很长的一个分句没有句号"] * 40)
    assert all(draft.text.endswith("，") for draft in cut(with_commas, chunk_chars=100, overlap_chars=0)[:-1])
    hard = cut("字" * 1000, chunk_chars=100, overlap_chars=0)
    assert [len(draft.text) for draft in hard] == [100] * 10


def test_headings_make_paths_and_stay_with_their_text() -> None:
    drafts = cut("# 手册\n\n引言。\n\n## 安装\n\n### 准备\n\n先准备。\n\n### 运行\n\n再运行。\n\n## 卸载\n\n删除即可。\n")
    assert [(draft.heading_path, draft.text) for draft in drafts] == [
        (("手册",), "# 手册\n\n引言。"),
        (("手册", "安装", "准备"), "## 安装\n\n### 准备\n\n先准备。"),
        (("手册", "安装", "运行"), "### 运行\n\n再运行。"),
        (("手册", "卸载"), "## 卸载\n\n删除即可。"),
    ]


def test_numbered_headings_in_plain_text_but_not_lists() -> None:
    text = "年度总结\n一、工作回顾\n本年度完成了三项任务。\n二、存在问题\n人手不足，经费有限。\n三、下步打算\n一、甲\n二、乙\n三、丙\n"
    paths = [draft.heading_path for draft in cut(text)]
    assert ("年度总结", "一、工作回顾") in paths
    assert ("年度总结", "二、存在问题") in paths
    assert not any(path[-1] in ("一、甲", "二、乙", "三、丙") for path in paths)


def test_table_rows_stay_whole() -> None:
    rows = [f"| 第{number}项 | 数量 {number} | 这是第{number}项的说明。还有第二句。 |" for number in range(40)]
    text = "# 表\n\n" + "\n".join(rows)
    for draft in cut(text, chunk_chars=200):
        assert all(line in rows or line.startswith("#") for line in draft.text.split("\n") if line)


def test_pages_come_from_the_block_where_a_chunk_begins() -> None:
    text = "第一页的话。\n\n第二页的话。"
    parsed = ParsedDocument(text, (Block(0, 6, page=1), Block(8, 14, page=2)), "题", "application/pdf", 2)
    assert [draft.page for draft in chunk(parsed, chunk_chars=8, overlap_chars=0)] == [1, 2]


def test_no_chunk_is_punctuation_only() -> None:
    text = "开头。\n\n---\n\n" + "正文一句话。" * 60 + "\n\n***\n\n结尾。\n\n" + "-" * 600 + "\n\n最后。"
    drafts = cut(text)
    assert all(re.search(r"[^\W_]", draft.text) for draft in drafts)
    assert drafts[-1].text.endswith("最后。")


ALPHABETS = (
    "甲乙丙丁。，！？\n\n \u3000", "abc ABC. , ! ?\n12", "# *-|`>_~=\n甲a。 ", "第一二三十条章节编之附则目录 \u3000\n**##甲。", "字\u0301😀\r\n\t\x0b。\u2028a",
)


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize(("chunk_chars", "overlap_chars"), [(250, 50), (40, 10), (20, 19), (50, 0)])
def test_every_character_is_covered_and_every_promise_kept(alphabet: str, chunk_chars: int, overlap_chars: int) -> None:
    rng = random.Random(f"{alphabet}{chunk_chars}")
    for _ in range(60):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 600))) + "甲"
        drafts = cut(text, chunk_chars=chunk_chars, overlap_chars=overlap_chars)
        covered = bytearray(len(text))
        for ordinal, draft in enumerate(drafts):
            assert draft.text == text[draft.start:draft.end] == draft.text.strip()
            assert draft.ordinal == ordinal
            assert 0 < len(draft.text) <= chunk_chars
            assert re.search(r"[^\W_]", draft.text)
            covered[draft.start:draft.end] = b"\1" * (draft.end - draft.start)
        assert [draft.start for draft in drafts] == sorted(draft.start for draft in drafts)
        lost = "".join(char for char, seen in zip(text, covered, strict=True) if not seen and not char.isspace())
        assert not re.search(r"[^\W_]", lost)
        if chunk_chars >= 50 and not set("#-") & set(alphabet):
            assert not lost, text


@pytest.mark.parametrize("piece", [
    "甲。", "a b ", "# 题\n", "**第一条**　甲。\n", "第一章 甲\n", "第一条", "| a | b |\n", "#", "-", "，", "附件\n", "1.1 甲\n", "\"", "（", "\n \n",
])
def test_time_grows_with_the_length_not_its_square(piece: str) -> None:
    def seconds(times: int) -> float:
        text = "甲" + piece * times
        started = time.process_time()
        cut(text)
        return time.process_time() - started

    for _ in range(8):  # what others on the machine take makes it grow, never shrink: a square would be seen each time
        small, large = min(seconds(4_000) for _ in range(3)), min(seconds(32_000) for _ in range(2))
        if large < max(small, 0.01) * 40:
            break
    assert large < max(small, 0.01) * 40
