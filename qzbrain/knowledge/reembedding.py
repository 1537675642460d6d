"""Is a space built anew as good as the one in use? And what do the cosines of an unknown model mean?

Known-item questions: the heading, or else the first sentence, of chunks drawn evenly from the whole knowledge base; a space is right when
one of the first five chunks that it finds is of the same document. No model and no labels are needed, and both spaces answer the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
from sqlalchemy import func, select

from qzbrain.models.base import Embedder
from qzbrain.retrieval.spaces import Space
from qzbrain.retrieval.vectors import StoredVectors, VectorIndex
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks
from qzbrain.text.sentences import sentences

_QUESTIONS = 60
_TOP = 5
_TOLERANCE = 0.005
_QUESTION_CHARS = 60
_QUESTION_S = 10.0
_SAMPLED = 400
_PAGES = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """`figures`: {"questions", "kind", "old", "new"}, recall in the first five."""

    good: bool
    figures: dict[str, Any]


def judge(database: Database, store: VectorIndex, embedder: Embedder, old: Space, new: Space, beat: Callable[[], None]) -> Verdict:
    """Compare two spaces of one knowledge base that the same embedder asks."""
    asked = _known_items(database, new.kb_id)
    right = [0, 0]
    for question, document_id in asked:
        vector = embedder.embed_query(question, timeout_s=_QUESTION_S)
        for side, space in enumerate((old, new)):
            right[side] += any(hit.document_id == document_id for hit in store.search(space.id, vector, top_k=_TOP))
        beat()
    count = max(1, len(asked))
    figures = {"questions": len(asked), "kind": "known items", "old": round(right[0] / count, 4), "new": round(right[1] / count, 4)}
    return Verdict(right[1] / count >= right[0] / count - _TOLERANCE, figures)


def _known_items(database: Database, kb_id: str) -> list[tuple[str, str]]:
    """Questions with the document that they come from."""
    ends_of = select(func.min(chunks.c.id).label("low"), func.max(chunks.c.id).label("high"))
    ends = database.rows(ends_of.where(chunks.c.kb_id == kb_id, chunks.c.disabled == 0))[0]
    low, high = ends.low, ends.high
    found: dict[str, str] = {}
    for step in range(_QUESTIONS) if low is not None else ():
        at = low + (high - low) * step // _QUESTIONS
        query = select(chunks.c.document_id, chunks.c.text, chunks.c.heading_path).where(chunks.c.kb_id == kb_id, chunks.c.id >= at, chunks.c.disabled == 0)
        row = database.rows(query.order_by(chunks.c.id).limit(1))[0]
        headings = orjson.loads(row.heading_path)
        first = next((row.text[start:end] for start, end in sentences(row.text)), row.text)
        question = headings[-1] if headings and len(headings[-1]) >= 6 and step % 2 else first
        found.setdefault(question[:_QUESTION_CHARS], row.document_id)
    return list(found.items())


def estimated_weights(pages: Iterable[StoredVectors]) -> dict[str, float]:
    """Floor and span of the cosine from random pairs: what unrelated passages have means nothing, near identity means certainty."""
    import numpy as np

    vectors = np.concatenate([page.vectors[:_SAMPLED] for page in islice(pages, _PAGES)] or [np.zeros((0, 1))]).astype(np.float32)
    if len(vectors) < 2:
        return {}
    generator = np.random.default_rng(0)
    left, right = generator.integers(0, len(vectors), (2, _SAMPLED))
    apart = left != right
    cosines = np.einsum("ij,ij->i", vectors[left[apart]], vectors[right[apart]])
    floor = float(np.clip(cosines.mean(), 0.0, 0.95))
    return {"cosine_floor": round(floor, 4), "cosine_span": round(max(0.05, (1 - floor) * 0.8), 4)}
