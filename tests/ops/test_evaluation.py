"""Figures of `qzbrain eval`: what they count, and what a bad question file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from qzbrain.domain import Answer, Hit, Usage
from qzbrain.errors import InvalidRequest
from qzbrain.ops.evaluation import percentile, rank_of, read_questions, shows


def hit(external_id: str | None, name: str = "file.md") -> Hit:
    return Hit(
        chunk_id=1, document_id="d", external_id=external_id, document=name, title="", kb_id="k", knowledge_base="kb", heading_path=(),
        ordinal=0, text="", start=0, end=0, page=None, score=1.0, confidence=1.0,
    )  # fmt: skip


def answer(text: str) -> Answer:
    return Answer("m", "c", "extractive", text, "extractive", "", 1.0, (), (), Usage(), {})


def test_chunks_of_one_document_count_once() -> None:
    hits = [hit("a"), hit("a"), hit("b"), hit("c")]
    assert rank_of(hits, frozenset({"b"})) == 2
    assert rank_of(hits, frozenset({"c", "a"})) == 1
    assert rank_of(hits, frozenset({"z"})) is None
    assert rank_of([hit(None, "law.md")], frozenset({"law.md"})) == 1


def test_an_answer_is_shown_whatever_its_blanks() -> None:
    assert shows(answer("共有 六 种。"), ["六种"])
    assert not shows(answer("共有七种。"), ["六种"])
    assert not shows(None, ["六种"])


def test_percentile_is_by_nearest_rank() -> None:
    assert percentile([5, 1, 4, 2, 3], 0.5) == 3
    assert percentile([1.0], 0.95) == 1.0


def test_questions_are_read_in_both_forms(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question":"a","doc_id":1,"answers":["x"]}\n\n{"question":"b","doc_ids":["2","3"]}\n', encoding="utf-8-sig")
    first, second = read_questions(path)
    assert (first.text, first.doc_ids, first.answers) == ("a", {"1"}, ("x",))
    assert second.doc_ids == {"2", "3"}


@pytest.mark.parametrize(("text", "code"), [("", "no_questions"), ('{"question":"a"}', "bad_question"), ("[1]", "bad_question"), ("nonsense", "bad_question")])
def test_a_bad_file_is_refused_with_its_line(text: str, code: str, tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidRequest) as refused:
        read_questions(path)
    assert refused.value.code == code
    assert code == "no_questions" or "1" in refused.value.zh


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        read_questions(tmp_path / "none")
