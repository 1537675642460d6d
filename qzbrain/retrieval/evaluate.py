"""Measures of retrieval over questions with known documents: recall@k, MRR, nDCG, and AUROC for answerable-or-not. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence

from qzbrain.domain import Hit


def documents_in_order(hits: Iterable[Hit]) -> list[str]:
    """Each document once, where its best passage stands: by external id, else by name."""
    return list(dict.fromkeys(hit.external_id or hit.document for hit in hits))


def first_rank(ranking: Sequence[str], right: Collection[str]) -> int | None:
    """Rank, from 1, of the first right document; None when none is there."""
    return next((rank for rank, one in enumerate(ranking, 1) if one in right), None)


def recall_at(ranks: Sequence[int | None], k: int) -> float:
    """Share of questions whose first right document stands among the first k; 0.0 for no questions."""
    return sum(rank is not None and rank <= k for rank in ranks) / len(ranks) if ranks else 0.0


def mean_reciprocal_rank(ranks: Sequence[int | None]) -> float:
    """Mean of 1 / rank, 0 where nothing right was found; 0.0 for no questions."""
    return sum(1 / rank for rank in ranks if rank is not None) / len(ranks) if ranks else 0.0


def ndcg_at(ranking: Sequence[str], right: Collection[str], k: int) -> float:
    """Normalised discounted cumulative gain with gains 0 and 1 (Järvelin, Kekäläinen, TOIS 2002); 0.0 when nothing is right."""
    gain = sum(1 / math.log2(rank + 1) for rank, one in enumerate(ranking[:k], 1) if one in right)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(right)) + 1))
    return gain / ideal if ideal else 0.0


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive scores above a negative, ties count half; 0.5 when either side is empty."""
    if not positive or not negative:
        return 0.5
    ordered = sorted(negative)
    return sum((bisect_left(ordered, one) + bisect_right(ordered, one)) / 2 for one in positive) / (len(positive) * len(negative))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0..1) of the values lie, by nearest rank; 0.0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
