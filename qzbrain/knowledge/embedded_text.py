"""What of a passage is turned into a vector: its text, and before it the title of its document where that helps. Pure."""

from __future__ import annotations

import re

_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_MOST_HAN = 0.2
_LONGEST_TITLE = 120


def embedded_text(text: str, title: str) -> str:
    """`TITLE\\nTEXT` for texts that are written with blanks and do not begin with the title, else the text alone.

    With multilingual-e5-small, R@5 of English questions rises from .977 to .993; on Chinese regulations nothing is gained (scenario questions, R@5 +.009,
    R@10 -.017) and a text takes a fifth longer (2026-11-28).
    """
    title = title.strip()
    if not title or len(title) > _LONGEST_TITLE or title in text[: 2 * len(title) + 20] or len(_HAN.findall(text)) > _MOST_HAN * len(text):
        return text
    return f"{title}\n{text}"
