"""How good retrieval is on a set of questions: recall@k, MRR, nDCG by document. The measures are pure; `evaluate` runs a Retriever."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from qzbrain.domain import Hit, ReadScope
from qzbrain.errors import InvalidRequest
from qzbrain.retrieval.hybrid import Retriever, SearchQuery


@dataclass(frozen=True, slots=True)
class Question:
    """A question with the external ids of the documents that answer it (any of them is right), and answers as they may be worded."""

    id: str
    text: str
    relevant: frozenset[str]
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures over all questions. `recall` and `ndcg` by k; times are of the search alone. `answered`: share whose answer text holds a gold answer."""

    questions: int
    recall: dict[int, float]
    ndcg: dict[int, float]
    mrr: float
    p50_ms: float
    p95_ms: float
    answered: float | None = None
    missed: tuple[str, ...] = field(default=())


def recall_at(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """1.0 when any relevant document stands among the first k, else 0.0: each question has one answer, wherever it is kept."""
    return float(any(one in relevant for one in ranking[:k]))


def reciprocal_rank(ranking: Sequence[str], relevant: Collection[str]) -> float:
    """1 / rank of the first relevant document, from 1; 0.0 when there is none."""
    return next((1 / rank for rank, one in enumerate(ranking, 1) if one in relevant), 0.0)


def ndcg_at(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Normalised discounted cumulative gain with gains 0 and 1 (Järvelin, Kekäläinen, TOIS 2002); 0.0 when nothing is relevant."""
    gain = sum(1 / math.log2(rank + 1) for rank, one in enumerate(ranking[:k], 1) if one in relevant)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))
    return gain / ideal if ideal else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0..1) of the values lie; 0.0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def documents_in_order(hits: Iterable[Hit]) -> list[str]:
    """Each document once, where its best passage stands: by external id, else by name."""
    return list(dict.fromkeys(hit.external_id or hit.document for hit in hits))


def read_questions(rows: Iterable[dict[str, Any]]) -> list[Question]:
    """Lines `{"id","question","doc_id"|"doc_ids","answers"?}`. Raises InvalidRequest with the number of a line that lacks something."""
    questions = []
    for number, row in enumerate(rows, 1):
        relevant = frozenset(str(one) for one in [row.get("doc_id"), *(row.get("doc_ids") or ())] if one)
        text = row.get("question")
        if not isinstance(text, str) or not text.strip() or not relevant:
            raise InvalidRequest(
                zh=f"第 {number} 行缺少 question，或者缺少 doc_id / doc_ids。请补全后重试。",
                en=f"Line {number} lacks question, or doc_id / doc_ids. Complete it and try again.",
                param="questions",
            )
        questions.append(Question(str(row.get("id", number)), text, relevant, tuple(map(str, row.get("answers") or ()))))
    return questions


def evaluate(
    retriever: Retriever,
    scope: ReadScope,
    questions: Sequence[Question],
    *,
    ks: Sequence[int] = (1, 5, 10),
    top_k: int = 20,
    answer: Callable[[str], str] | None = None,
) -> Evaluation:
    """Ask all questions. `answer` gives the sentences shown for a question; without it, or without gold answers, `answered` is None."""
    rankings: list[list[str]] = []
    times: list[float] = []
    for question in questions:
        started = time.perf_counter()
        hits = retriever.search(SearchQuery(question.text, top_k=max(top_k, *ks)), scope).hits
        times.append((time.perf_counter() - started) * 1e3)
        rankings.append(documents_in_order(hits))
    pairs = [(ranking, question.relevant) for ranking, question in zip(rankings, questions, strict=True)]
    return Evaluation(
        questions=len(questions),
        recall={k: _mean([recall_at(ranking, relevant, k) for ranking, relevant in pairs]) for k in ks},
        ndcg={k: _mean([ndcg_at(ranking, relevant, k) for ranking, relevant in pairs]) for k in ks},
        mrr=_mean([reciprocal_rank(ranking, relevant) for ranking, relevant in pairs]),
        p50_ms=percentile(times, 0.5),
        p95_ms=percentile(times, 0.95),
        answered=_answered(questions, answer) if answer is not None else None,
        missed=tuple(q.id for q, (ranking, relevant) in zip(questions, pairs, strict=True) if not recall_at(ranking, relevant, max(ks))),
    )


def _answered(questions: Sequence[Question], answer: Callable[[str], str]) -> float | None:
    asked = [question for question in questions if question.answers]
    shown = [answer(question.text) for question in asked]
    return _mean([float(any(one in text for one in q.answers)) for q, text in zip(asked, shown, strict=True)]) if asked else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
