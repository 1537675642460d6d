"""The form in which texts and questions are compared. For searching only: what is stored and shown is never changed.

Traditional characters become simplified ones with OpenCC's `t2s` tables, so that a question in either script finds a text in the other.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any


@cache
def _converter() -> Any:
    """OpenCC, loaded at the first text that is not plain ASCII (some 6 ms)."""
    import opencc

    return opencc.OpenCC("t2s")


_FULL_WIDTH = (("，", ","), ("：", ":"), ("；", ";"), ("（", "("), ("）", ")"), ("？", "?"), ("！", "!"), ("\u3000", " "))
"""What keeps most Chinese texts from being in NFKC."""


def searchable(text: str) -> str:
    """NFKC, simplified characters, 著 as 着, lower case. The length may change; idempotent."""
    if text.isascii():
        return text.lower()
    folded = _composed(text)
    try:
        simplified: str = _converter().convert(folded)
    except UnicodeEncodeError:  # a lone surrogate, as a broken JSON escape gives it
        simplified = _converter().convert(folded.encode("utf-8", "replace").decode("utf-8"))
    return simplified.replace("著", "着").lower()


def _composed(text: str) -> str:
    """NFKC. To see that nothing is left to do takes a tenth of the time of doing it (2026-11-28), and for most texts these few characters are all."""
    for wide, narrow in _FULL_WIDTH:
        text = text.replace(wide, narrow)
    return text if unicodedata.is_normalized("NFKC", text) else unicodedata.normalize("NFKC", text)
