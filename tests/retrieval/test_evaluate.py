"""The measures, against figures worked out by hand."""

import math

import pytest

from qzbrain.domain import Hit
from qzbrain.retrieval.evaluate import auroc, documents_in_order, first_rank, mean_reciprocal_rank, ndcg_at, percentile, recall_at
from qzbrain.retrieval.question import ASKING, asked_terms


def test_measures_by_hand() -> None:
    ranks = [first_rank(["a", "b", "c"], right) for right in ({"a"}, {"c", "x"}, {"x"})]
    assert ranks == [1, 3, None]
    assert (recall_at(ranks, 1), recall_at(ranks, 3)) == (1 / 3, 2 / 3)
    assert mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 3) / 3)
    assert ndcg_at(["x", "a", "b"], {"a", "b"}, 3) == pytest.approx((1 / math.log2(3) + 1 / 2) / (1 + 1 / math.log2(3)))
    assert ndcg_at(["a"], set(), 3) == recall_at([], 1) == mean_reciprocal_rank([]) == 0.0


def hit(external_id: str | None, name: str = "file.md") -> Hit:
    return Hit(
        chunk_id=1, document_id="d", external_id=external_id, document=name, title="", kb_id="k", knowledge_base="kb", heading_path=(),
        ordinal=0, text="", start=0, end=0, page=None, score=1.0, confidence=1.0,
    )  # fmt: skip


def test_chunks_of_one_document_count_once_where_the_best_stands() -> None:
    assert documents_in_order([hit("a"), hit("a"), hit("b"), hit("a"), hit(None, "law.md")]) == ["a", "b", "law.md"]


def test_auroc_counts_ties_half() -> None:
    assert auroc([0.9, 0.5], [0.5, 0.1]) == (1 + 1 + 0.5 + 1) / 4
    assert auroc([], [0.1]) == 0.5


def test_percentile_is_by_nearest_rank() -> None:
    assert [percentile([3, 1, 2], share) for share in (0.0, 0.5, 0.95)] == [1, 2, 3]
    assert percentile([], 0.5) == 0.0


def test_the_last_of_several_sentences_asks() -> None:
    weights = asked_terms("小王购买了商品。商家拒绝退货，应当承担什么责任？")
    assert weights["退货"] == weights["责任"] == ASKING
    assert weights["购买"] == 1.0
    assert set(asked_terms("商家拒绝退货，应当承担什么责任？").values()) == {1.0}
    assert asked_terms("是什么？") == {}
