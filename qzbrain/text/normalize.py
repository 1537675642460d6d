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


def searchable(text: str) -> str:
    """NFKC, simplified characters, 著 as 着, lower case. The length may change; idempotent."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text)
    try:
        simplified: str = _converter().convert(folded)
    except UnicodeEncodeError:  # a lone surrogate, as a broken JSON escape gives it
        simplified = _converter().convert(folded.encode("utf-8", "replace").decode("utf-8"))
    return simplified.replace("著", "着").lower()
