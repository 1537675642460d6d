"""What a search finds on the second shelf of a knowledge base, the facts of its graph, and how that stands beside what it finds of texts.

Raw scores of two indexes do not compare, confidence does: facts keep their order, and their scores are scaled so that the best of them stands to
the best text as their confidences do. Texts keep their scores and their order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import bindparam, select

from qzbrain.retrieval.base import LexicalHit, NoIndex, SearchIndex
from qzbrain.retrieval.fusion import SCORE_DIGITS, FusedHit
from qzbrain.retrieval.shelves import FACTS, facts_shelf
from qzbrain.storage.database import Database
from qzbrain.storage.tables import documents

MOST_BESIDE = 3
"""Beside texts so many facts are shown: what one entity is told in."""
LEAST_BESIDE = 0.6
"""Of the confidence of the best text, what a fact must have to stand beside texts. Without it two of five hits for questions about paragraphs were facts
about other things; at .6 it is one of seventy, and of 2,000 questions about facts 3 lose theirs (bench/facts.py, 2026-11-28)."""
WEIGHT = 0.85
"""Of a fact beside a text of the same confidence: where both cover the question, the text says it at length. At 1 facts about the same subjects took the
first place from 5% of the right paragraphs, at .85 from 0.5%; of 2,000 questions about facts 38 lose the first place to a paragraph, 4 the first five."""
_ANY = select(documents.c.id).where(documents.c.kb_id == bindparam("kb"), documents.c.kind == FACTS).limit(1)


class Facts:
    """Searches facts. Thread-safe."""

    def __init__(self, database: Database, index: SearchIndex, report_missing: Callable[[str], None]) -> None:
        self._index, self._report_missing = index, report_missing
        self._any = database.prepared(_ANY)

    def search(self, kb_id: str, question: str, *, top_k: int, document_ids: Sequence[str] | None, max_level: int | None) -> list[LexicalHit]:
        """Best first; nothing, and without a look at the index, where a knowledge base has no facts. Raises IndexUnavailable."""
        if not self._any(kb=kb_id):
            return []
        try:
            return self._index.search(facts_shelf(kb_id), question, top_k=top_k, document_ids=document_ids, max_level=max_level)
        except NoIndex:
            self._report_missing(kb_id)
            return []


def beside_texts(texts: Sequence[FusedHit], facts: Sequence[LexicalHit]) -> list[FusedHit]:
    """Texts and facts in one order, best first."""
    if not facts:
        return list(texts)
    scale, some = 1.0, facts
    if texts:
        sure = max(hit.confidence for hit in texts)
        some = [hit for hit in facts if hit.confidence >= LEAST_BESIDE * sure][:MOST_BESIDE]
        scale = WEIGHT * texts[0].score / facts[0].score * facts[0].confidence / sure if sure and facts[0].score else WEIGHT
    told = [
        FusedHit(hit.chunk_id, round(hit.score * scale, SCORE_DIGITS), hit.confidence, (rank, hit.score), None, of_facts=True)
        for rank, hit in enumerate(some, 1)
    ]
    return sorted([*texts, *told], key=lambda hit: (-hit.score, hit.of_facts))
