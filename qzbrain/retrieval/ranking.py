"""How lexical candidates are ordered and how much is believed of them: the arithmetic that every backend shares. Pure.

BM25 over text and context, of all but common terms, chooses candidates; the share of the question's weight that a chunk covers, and its length, order them. The
weight of a term is its inverse document frequency, so both backends rank alike wherever their counts of documents agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qzbrain.retrieval.base import LexicalHit

CONTEXT_BOOST = 0.4
COVERAGE_POWER = 0.7
LENGTH_POWER = 0.2
"""Rounded, and chosen on one half of the development questions and confirmed on the other (docs/benchmarks.md)."""
SHORTEST, TYPICAL = 40, 200
"""Terms: a chunk shorter than this gains nothing more (a bare heading answers nothing); the length at which nothing changes."""
BACKGROUND = 1000
ENOUGH_TERMS = 10
"""Confidence is the share of the question's weight that a chunk covers, but no question weighs more than this many absent terms: nobody
expects one passage to cover a told case of ten sentences."""
CANDIDATES = 60
"""By BM25, for the second order. With 100 no figure of the development sets is better, and a search takes a sixth longer (2026-11-28)."""
TIES = 16
MOST_TERMS = 256
COMMON_IDF = 1.8
"""A term that tells less, one of every sixth chunk or more, ranks only where the others find fewer chunks than are wanted. Two fifths of the work in a large
index would be for such terms. With 2.0 words and meaning together lost three of 231 told cases (docs/benchmarks.md). They count in what a chunk covers."""
SCORE_DIGITS = 4
"""Scores are sums of floats whose order depends on how chunks lie in segments; beyond this many decimals they mean nothing."""


def wanted_candidates(top_k: int) -> int:
    """How many of the best by BM25 are looked at for the `top_k` best in the end."""
    return max(CANDIDATES, top_k + TIES)


def inverse_document_frequency(frequency: int, chunks: int) -> float:
    """How much a term tells: BM25's idf, as if BACKGROUND more chunks without it stood around these.

    Without them, in a knowledge base of three chunks a word that stands in two would tell nothing.
    """
    others = max(0, chunks - frequency) + BACKGROUND
    return math.log(1 + (others + 0.5) / (frequency + 0.5))


@dataclass(frozen=True, slots=True)
class Question:
    """A question's terms, weighed by an index's statistics.

    `present`: weight of each term that the index holds; `ranking`: of those that are not common; `telling`: of each of the former, weight times idf;
    `share`: how much of the question they are, 0..1 (or more, where the question is long: see ENOUGH_TERMS).
    """

    present: dict[str, float]
    ranking: dict[str, float]
    telling: dict[str, float]
    share: float

    @property
    def mass(self) -> float:
        """What all terms that the index holds tell together."""
        return sum(self.telling.values())


def weigh(weights: Mapping[str, float], idfs: Mapping[str, float], absent: float) -> Question:
    """`absent`: the idf of a term that stands nowhere."""
    present = {term: weight for term, weight in weights.items() if idfs[term] < absent}
    telling = {term: weight * idfs[term] for term, weight in present.items()}
    whole = min(sum(weight * idfs[term] for term, weight in weights.items()), ENOUGH_TERMS * absent)
    ranking = {term: weight for term, weight in present.items() if idfs[term] >= COMMON_IDF} or present
    return Question(present, ranking, telling, sum(telling.values()) / whole if whole else 0.0)


def heaviest(weights: Mapping[str, float], idfs: Mapping[str, float], absent: float) -> dict[str, float]:
    """At most MOST_TERMS terms, those that tell most, in their order: a pasted page must not cost seconds."""
    if len(weights) <= MOST_TERMS:
        return dict(weights)
    kept = set(sorted(weights, key=lambda term: -weights[term] * idfs[term] * (idfs[term] < absent))[:MOST_TERMS])
    return {term: weight for term, weight in weights.items() if term in kept}


def ranked(asked: Question, ids: Sequence[int], bm25: Sequence[float], held: Sequence[float], lengths: Sequence[int], top_k: int) -> list[LexicalHit]:
    """The best of these candidates, ties by chunk id. `held`: what of `mass` a chunk covers; `lengths` in terms.

    BM25 is damped where little of the question is covered, and a little more than BM25 does it itself where the chunk is long.
    """
    import numpy as np  # who never searches does without

    numbers, coverage = np.array(ids, np.int64), np.minimum(1.0, np.array(held) / asked.mass)
    damping = coverage**COVERAGE_POWER * (np.maximum(lengths, SHORTEST) / TYPICAL) ** -LENGTH_POWER
    scores = (np.array(bm25) * damping).round(SCORE_DIGITS)
    best = np.lexsort((numbers, -scores))[:top_k]
    confidence = np.minimum(1.0, (coverage[best] * asked.share).round(4))
    return list(map(LexicalHit, numbers[best].tolist(), scores[best].tolist(), confidence.tolist()))
