"""Names in texts: whole words of languages written with blanks, longest first, places in the text as it is."""

from __future__ import annotations

import pytest

from qzbrain.graph.linking import Linker, name_key

NAMES = ("Old Bridge", "Anna Holm", "Ann", "晨光公司", "晨光", "600123", "iPhone 15")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Who is the architect of Old Bridge?", ["Old Bridge"]),
        ("Is the Old Bridge old?", ["Old Bridge"]),
        ("Old Bridge architect Anna Holm", ["Old Bridge", "Anna Holm"]),
        ("the bold bridge, Annabel, unann", []),
        ("Ann and Anna Holm", ["Ann", "Anna Holm"]),
        ("请问晨光公司的 iphone15 多少钱", ["晨光公司", "iphone15"]),
        ("代码 600123 与 6001234", ["600123"]),
        ("代码 1 600123 号", ["600123"]),
    ],
)
def test_names_are_found_as_whole_words(text: str, found: list[str]) -> None:
    linker = Linker((name_key(name), number) for number, name in enumerate(NAMES))
    assert [text[one.start : one.end] for one in linker.mentions(text)] == found
