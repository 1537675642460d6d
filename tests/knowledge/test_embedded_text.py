"""When a document's title goes before a passage's text."""

from __future__ import annotations

import pytest

from qzbrain.knowledge.embedded_text import embedded_text

ENGLISH = "The first prize was awarded in 1901 to Wilhelm Conrad Röntgen, of Germany."


@pytest.mark.parametrize(
    ("text", "title", "expected"),
    [
        (ENGLISH, "List of Nobel laureates", f"List of Nobel laureates\n{ENGLISH}"),
        (ENGLISH, " List of Nobel laureates\n", f"List of Nobel laureates\n{ENGLISH}"),
        (f"List of Nobel laureates\n\n{ENGLISH}", "List of Nobel laureates", f"List of Nobel laureates\n\n{ENGLISH}"),
        (ENGLISH, "", ENGLISH),
        (ENGLISH, "x" * 200, ENGLISH),
        ("第一条　为了规范行政处罚的设定和实施，制定本法。", "行政处罚法", "第一条　为了规范行政处罚的设定和实施，制定本法。"),
        ("Röntgen 获得 1901 年的诺贝尔物理学奖，是第一位得主。", "诺贝尔奖", "Röntgen 获得 1901 年的诺贝尔物理学奖，是第一位得主。"),
        ("", "title", "title\n"),
    ],
)
def test_a_title_goes_before_texts_written_with_blanks(text: str, title: str, expected: str) -> None:
    assert embedded_text(text, title) == expected
