"""Everything that a document states about itself, from its text and its chunks. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from qzbrain.graph.base import Fact
from qzbrain.graph.outline import BOOK_CHARS, outline
from qzbrain.graph.structure import DocumentPart, structure

RULES = 1
"""Grows when other facts are found in the same text: documents read by older rules are then gone through again, in the background."""


@dataclass(frozen=True, slots=True)
class StatedChunk:
    """A chunk's place in its document. What a disabled one alone says is no fact."""

    id: int
    start: int
    end: int
    path: tuple[str, ...]
    reference: str = ""
    disabled: bool = False


def may_state(chars: int, references: Collection[str]) -> bool:
    """Whether a text of this length with articles of these keys may state anything: for most documents no more needs to be looked at."""
    return chars >= BOOK_CHARS or len({key for key in references if key}) > 1


def statements(document_id: str, title: str, text: str, chunks: Sequence[StatedChunk]) -> list[Fact]:
    """The facts, in the order of the text. `chunks` in order. [] for most documents: only regulations and books say such things."""
    parts = _parts(chunks)
    title = title or (parts[0].path[0] if parts and parts[0].path else "")
    if not title:
        return []
    facts = structure(document_id, title, text, parts) or outline(document_id, title, text, parts)
    off = {chunk.id for chunk in chunks if chunk.disabled}
    return [fact for fact in facts if fact.place.chunk_id not in off] if off else facts


def _parts(chunks: Sequence[StatedChunk]) -> list[DocumentPart]:
    """Chunks that follow each other under one heading path are one part."""
    parts: list[DocumentPart] = []
    some: list[StatedChunk] = []
    for chunk in chunks:
        if some and (chunk.path, chunk.reference) != (some[0].path, some[0].reference):
            parts.append(_part(some))
            some = []
        some.append(chunk)
    if some:
        parts.append(_part(some))
    return parts


def _part(some: Sequence[StatedChunk]) -> DocumentPart:
    return DocumentPart(some[0].start, max(one.end for one in some), some[0].path, some[0].reference, tuple((one.start, one.id) for one in some))
