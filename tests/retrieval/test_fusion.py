"""The arithmetic of fusing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest

from qzbrain.retrieval.base import LexicalHit
from qzbrain.retrieval.fusion import NOTHING, Certainty, combined, fused
from qzbrain.retrieval.vectors import DenseHit

CERTAINTY = Certainty(0.75, 0.2)


def among(cosines: dict[int, float]) -> Callable[[Sequence[int]], dict[int, float]]:
    return lambda chunk_ids: {one: cosines[one] for one in chunk_ids if one in cosines}


def words(*scores: float, first: int = 1) -> list[LexicalHit]:
    return [LexicalHit(first + n, score, 0.5) for n, score in enumerate(scores)]


def order(lexical: list[LexicalHit], dense: list[DenseHit], weight: float, vectors: bool = True) -> list[int]:
    known = {hit.chunk_id: 0.7 for hit in lexical} if vectors else {}
    return [hit.chunk_id for hit in fused(lexical, dense, weight=weight, certainty=CERTAINTY, cosines=among(known))]


def test_the_weight_decides_between_words_and_meaning() -> None:
    lexical, dense = words(9, 5, 1), [DenseHit(3, "d", 0.95), DenseHit(2, "d", 0.93), DenseHit(4, "d", 0.85)]
    assert order(lexical, dense, 0.0)[0] == 1
    assert order(lexical, dense, 1.0)[:2] == [3, 2]
    assert order(lexical, dense, 0.5)[0] == 2, "good on both sides beats best on one"


def test_both_sides_are_shown_with_rank_and_raw_score() -> None:
    dense = [DenseHit(2, "d", 0.9), DenseHit(7, "e", 0.8)]
    hits = {hit.chunk_id: hit for hit in fused(words(9, 5), dense, weight=0.6, certainty=CERTAINTY, cosines=among({1: 0.7}))}
    assert (hits[1].lexical, hits[1].semantic) == ((1, 9), None)
    assert (hits[2].lexical, hits[2].semantic) == ((2, 5), (1, 0.9))
    assert (hits[7].lexical, hits[7].semantic) == (None, (2, 0.8))
    assert all(0 <= hit.score <= 1 and 0 <= hit.confidence <= 1 for hit in hits.values())


def test_ties_go_by_chunk_id() -> None:
    assert order(words(5, 5, 5), [], 0.0) == [1, 2, 3]
    assert order([], [DenseHit(5, "d", 0.9), DenseHit(2, "d", 0.9)], 0.6) == [2, 5]


def test_a_chunk_without_a_vector_does_not_lose_for_lack_of_one() -> None:
    lexical, dense = words(9, 8, 1), [DenseHit(2, "d", 0.9), DenseHit(3, "d", 0.8)]
    assert order(lexical, dense, 0.6)[0] == 2
    assert order(lexical, dense, 0.6, vectors=False)[0] == 1
    blank = fused(lexical, dense, weight=0.6, certainty=CERTAINTY, cosines=among({3: 0.8}))[0]
    assert (blank.chunk_id, blank.confidence) == (1, 0.5), "and what is believed of it is what its words are worth"


def test_what_words_found_is_believed_by_its_true_cosine() -> None:
    dense = [DenseHit(2, "d", 0.95), DenseHit(3, "d", 0.9)]
    far, near = (fused(words(9), dense, weight=0.6, certainty=CERTAINTY, cosines=among({1: cosine})) for cosine in (0.7, 0.85))
    assert [hit.chunk_id for hit in far] == [hit.chunk_id for hit in near] == [2, 1, 3], "the order is by what each side's list says"
    believed = [next(hit.confidence for hit in one if hit.chunk_id == 1) for one in (far, near)]
    assert believed == [combined(0.5, 0), combined(0.5, 0.5)]


@pytest.mark.parametrize("most", [1, 3, 10, 40])
def test_the_first_of_some_are_the_first_of_all(most: int) -> None:
    """And no more is asked of the store than may count among them."""
    for seed in range(50):
        random = Random(seed)
        lexical = [LexicalHit(one, score, 0.5) for one, score in enumerate(sorted((random.random() for _ in range(30)), reverse=True))]
        near = random.sample(range(60), 30)
        dense = [DenseHit(one, "d", cosine) for one, cosine in zip(near, sorted((random.random() for _ in range(30)), reverse=True), strict=True)]
        held = {one: random.random() for one in range(30) if random.random() < 0.8}
        asked: list[int] = []

        def cosines(chunk_ids: Sequence[int], held: dict[int, float] = held, asked: list[int] = asked) -> dict[int, float]:
            asked.extend(chunk_ids)
            return among(held)(chunk_ids)

        every = fused(lexical, dense, weight=0.6, certainty=CERTAINTY, cosines=among(held))
        assert fused(lexical, dense, weight=0.6, certainty=CERTAINTY, cosines=cosines, most=most) == every[:most]
        assert not set(asked) & set(near)


def test_nothing_gives_nothing() -> None:
    assert fused([], [], weight=0.6, certainty=CERTAINTY, cosines=among({})) == []
    assert order(words(3), [], 0.6) == [1]


@pytest.mark.parametrize(("cosine", "certain"), [(0.5, 0.0), (0.75, 0.0), (0.85, 0.5), (0.95, 1.0), (1.0, 1.0)])
def test_what_a_cosine_counts(cosine: float, certain: float) -> None:
    assert CERTAINTY.of(cosine) == pytest.approx(certain)


def test_confidence_grows_with_either_and_stays_within_its_bounds() -> None:
    assert combined(0, 0) == combined(NOTHING, 0) == 0
    assert combined(1, 1) == 1
    assert combined(0.5, 0.5) == combined(0.2, 0.8) < combined(0.6, 0.5) < combined(0.6, 0.6)
