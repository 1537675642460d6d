"""How what words found and what meaning found become one order: the arithmetic alone. Pure.

A convex combination of scores, each scaled by the best and the worst of its side's list (Bruch, Gai, Ingber, TOIS 2023), with a weight that
belongs to the embedding model. Fusing by ranks was worse on every development set, and wrecked questions that name an article by its number
(docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qzbrain.retrieval.base import LexicalHit
from qzbrain.retrieval.vectors import DenseHit

DEPTH = 100
"""Of each side so many are fused; with 60 the right article is a little less often among the first five (2026-11-28)."""
NOTHING = 0.28
"""Coverage and meaning of a passage that happens to be there, together: what a question without an answer finds."""
SCORE_DIGITS = 6


@dataclass(frozen=True, slots=True)
class FusedHit:
    """A chunk that one side or both found: `score` 0..1; ranks from 1, None where the side did not find it."""

    chunk_id: int
    document_id: str
    score: float
    confidence: float
    lexical: tuple[int, float] | None
    semantic: tuple[int, float] | None


@dataclass(frozen=True, slots=True)
class Certainty:
    """What of a cosine counts: nothing at `floor`, all of it at `floor + span`."""

    floor: float
    span: float

    def of(self, cosine: float) -> float:
        """0..1."""
        return min(1.0, max(0.0, (cosine - self.floor) / self.span))


def fused(
    lexical: Sequence[LexicalHit], dense: Sequence[DenseHit], *, weight: float, certainty: Certainty, known: Mapping[int, float]
) -> list[FusedHit]:
    """Best first, ties by chunk id. Both lists are best first. `weight`: the share of meaning, 0..1.

    `known`: the cosines of what words found and meaning did not. What a side did not find counts as its worst, its confidence by its true
    cosine. But a chunk that has no vector does not lose for lack of one: its share of meaning is taken to be what its words are worth.
    """
    words = dict(zip((hit.chunk_id for hit in lexical), _scaled([hit.score for hit in lexical]), strict=True))
    meanings = dict(zip((hit.chunk_id for hit in dense), _scaled([hit.cosine for hit in dense]), strict=True))
    by_words = {hit.chunk_id: (rank, hit) for rank, hit in enumerate(lexical, 1)}
    by_meaning = {hit.chunk_id: (rank, hit) for rank, hit in enumerate(dense, 1)}
    found: list[FusedHit] = []
    for chunk_id in {**by_words, **by_meaning}:
        word_rank, word = by_words.get(chunk_id, (0, None))
        near_rank, near = by_meaning.get(chunk_id, (0, None))
        told = words.get(chunk_id, 0.0)
        cosine = near.cosine if near else known.get(chunk_id)
        score = told if cosine is None else (1 - weight) * told + weight * meanings.get(chunk_id, 0.0)
        coverage = word.confidence if word else 0.0
        found.append(
            FusedHit(
                chunk_id,
                (word or dense[near_rank - 1]).document_id,
                round(score, SCORE_DIGITS),
                coverage if cosine is None else combined(coverage, certainty.of(cosine)),
                (word_rank, word.score) if word else None,
                (near_rank, near.cosine) if near else None,
            )
        )
    return sorted(found, key=lambda one: (-one.score, one.chunk_id))


def combined(coverage: float, meaning: float) -> float:
    """Confidence, 0..1, of a passage that covers this share of the question's terms and means it this much.

    Linear, and such that ANSWER_THRESHOLD keeps its meaning: at .35 no more answerable questions are refused than by coverage alone
    (docs/retrieval.md).
    """
    return round(max(0.0, coverage + meaning - NOTHING) / (2 - NOTHING), 4)


def _scaled(scores: Sequence[float]) -> list[float]:
    """Each as its place between the worst, 0, and the best, 1; all 1 where they do not differ."""
    if not scores:
        return []
    best, worst = max(scores), min(scores)
    return [(score - worst) / (best - worst) for score in scores] if best > worst else [1.0] * len(scores)
