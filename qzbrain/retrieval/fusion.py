"""How what words found and what meaning found become one order: the arithmetic alone. Pure.

A convex combination of scores, each scaled by the best and the worst of its side's list (Bruch, Gai, Ingber, TOIS 2023), with a weight that
belongs to the embedding model. Fusing by ranks was worse on every development set, and wrecked questions that name an article by its number
(docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from qzbrain.retrieval.base import LexicalHit
from qzbrain.retrieval.vectors import DenseHit

DEPTH = 100
"""Of each side so many are fused; with 60 the right article is a little less often among the first five (2026-11-28)."""
NOTHING = 0.28
"""Coverage and meaning of a passage that happens to be there, together: what a question without an answer finds."""
SCORE_DIGITS = 6


class FusedHit(NamedTuple):
    """A chunk that one side or both found: `score` 0..1; ranks from 1, None where the side did not find it. `of_facts`: on the shelf of facts."""

    chunk_id: int
    score: float
    confidence: float
    lexical: tuple[int, float] | None
    semantic: tuple[int, float] | None
    of_facts: bool = False


@dataclass(frozen=True, slots=True)
class Certainty:
    """What of a cosine counts: nothing at `floor`, all of it at `floor + span`."""

    floor: float
    span: float

    def of(self, cosine: float) -> float:
        """0..1."""
        return min(1.0, max(0.0, (cosine - self.floor) / self.span))


def fused(
    lexical: Sequence[LexicalHit],
    dense: Sequence[DenseHit],
    *,
    weight: float,
    certainty: Certainty,
    cosines: Callable[[Sequence[int]], Mapping[int, float]],
    most: int | None = None,
) -> list[FusedHit]:
    """Best first, ties by chunk id, at most `most`. Both lists are best first. `weight`: the share of meaning, 0..1.

    `cosines`: those of chunks that words found and meaning did not, asked for where they may count. What a side did not find counts as its
    worst, its confidence by its true cosine. But a chunk that has no vector does not lose for lack of one: its share of meaning is taken to be
    what its words are worth.
    """
    import numpy as np  # who never searches does without

    if not lexical and not dense:
        return []
    ids = np.unique([hit.chunk_id for hit in lexical] + [hit.chunk_id for hit in dense])
    told, told_at = np.zeros(len(ids)), ids.searchsorted([hit.chunk_id for hit in lexical])
    meant, meant_at = np.zeros(len(ids)), ids.searchsorted([hit.chunk_id for hit in dense])
    told[told_at], meant[meant_at] = _scaled([hit.score for hit in lexical]), _scaled([hit.cosine for hit in dense])
    scores = ((1 - weight) * told + weight * meant).round(SCORE_DIGITS)
    by_words, by_meaning = np.full(len(ids), -1), np.full(len(ids), -1)
    by_words[told_at], by_meaning[meant_at] = np.arange(len(lexical)), np.arange(len(dense))
    least = np.partition(scores, -most)[-most] if most is not None and len(scores) > most else 0.0
    unseen = np.flatnonzero((by_meaning < 0) & (told >= least))
    known = cosines(ids[unseen].tolist()) if len(unseen) else {}
    blank = unseen[[chunk_id not in known for chunk_id in ids[unseen].tolist()]]
    scores[blank] = told[blank].round(SCORE_DIGITS)
    best = np.lexsort((ids, -scores))[:most]
    places = zip(ids[best].tolist(), scores[best].tolist(), by_words[best].tolist(), by_meaning[best].tolist(), strict=True)
    return [
        _hit(one, score, (n + 1, lexical[n]) if n >= 0 else None, (m + 1, dense[m]) if m >= 0 else None, known.get(one), certainty)
        for one, score, n, m in places
    ]


def _hit(
    chunk_id: int, score: float, told: tuple[int, LexicalHit] | None, meant: tuple[int, DenseHit] | None, known: float | None, certainty: Certainty
) -> FusedHit:
    cosine = meant[1].cosine if meant else known
    coverage = told[1].confidence if told else 0.0
    confidence = coverage if cosine is None else combined(coverage, certainty.of(cosine))
    return FusedHit(chunk_id, score, confidence, (told[0], told[1].score) if told else None, (meant[0], meant[1].cosine) if meant else None)


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
