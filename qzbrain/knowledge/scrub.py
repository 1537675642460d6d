"""Takes a deleted document's words out of a stored answer: its quotes, its name, and the sentences that the answer copied from it. Pure."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Any

from qzbrain.text.sentences import sentences

REMOVED = "〔原文已删除〕"
_MARK = re.compile(r"\[\d+\]")
_LEAST_CHARS = 4
_WORDS_OF_IT = ("quote", "document", "title", "external_id", "url")


def cited_documents(details: dict[str, Any]) -> set[str]:
    """Ids of the documents whose words a message still holds."""
    return {x["document_id"] for x in _citations(details) if x.get("quote") and isinstance(x.get("document_id"), str)}


def scrubbed(content: str, details: dict[str, Any], gone: Set[str]) -> tuple[str, dict[str, Any]]:
    """Content and details without the words of the documents in `gone`. Citations keep their number, so that marks still fit."""
    quotes = [x["quote"] for x in _citations(details) if x.get("document_id") in gone]
    cleaned = [_without_words(x) if x.get("document_id") in gone else x for x in _citations(details)]
    return _without_copies(content, quotes), {**details, "citations": cleaned}


def _citations(details: dict[str, Any]) -> list[dict[str, Any]]:
    found = details.get("citations") if isinstance(details, dict) else None
    return [x for x in found if isinstance(x, dict)] if isinstance(found, list) else []


def _without_words(citation: dict[str, Any]) -> dict[str, Any]:
    return {**citation, **dict.fromkeys(_WORDS_OF_IT, ""), "heading_path": [], "deleted": True}


def _without_copies(content: str, quotes: list[str]) -> str:
    """Replace each sentence of the answer that stands in one of the quotes; its marks stay."""
    pieces, last = [], 0
    for start, end in sentences(content):
        sentence = _MARK.sub("", content[start:end]).strip()
        bare = sentence.strip("….。 \n“”\"'")
        if len(bare) >= _LEAST_CHARS and any(bare in quote for quote in quotes):
            pieces += [content[last:start], REMOVED, *_MARK.findall(content[start:end])]
            last = end
    return "".join([*pieces, content[last:]])
