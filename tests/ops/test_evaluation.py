"""Figures of `qzbrain eval`: what they count, and what a bad question file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from qzbrain.domain import Answer, Usage
from qzbrain.errors import InvalidRequest
from qzbrain.ops.evaluation import read_questions, shows


def answer(text: str) -> Answer:
    return Answer("m", "c", "extractive", text, "extractive", "", 1.0, (), (), Usage(), {})


def test_an_answer_is_shown_whatever_its_blanks() -> None:
    assert shows(answer("共有 六 种。"), ["六种"])
    assert not shows(answer("共有七种。"), ["六种"])
    assert not shows(None, ["六种"])


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
