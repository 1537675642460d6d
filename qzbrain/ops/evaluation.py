"""Recall, rank and answers of a knowledge base over questions with known documents, through the product's own search and answer paths."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qzbrain.chat.service import Ask
from qzbrain.domain import Answer, Caller, Done
from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.retrieval.evaluate import documents_in_order, first_rank, mean_reciprocal_rank, percentile, recall_at
from qzbrain.retrieval.hybrid import Mode, SearchQuery
from qzbrain.retrieval.space_rows import SpaceRows

if TYPE_CHECKING:
    from qzbrain.brain import Brain

_WEIGHTS = tuple(n / 10 for n in range(11))
_LEAST_HITS = 20
"""Hits asked for at least: several chunks of one document count once."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question; any of `doc_ids` (external ids) is right. `answers`: strings of which one should be shown."""

    text: str
    doc_ids: frozenset[str]
    answers: tuple[str, ...]


def read_questions(path: Path) -> list[Question]:
    """Questions from JSON lines. Raises InvalidRequest with the line's number."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidRequest("questions_unreadable", zh=f"无法读取 {path}：{exc}", en=f"{path} cannot be read: {exc}", param="questions") from exc
    questions = [_question(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise InvalidRequest("no_questions", zh=f"{path} 中没有问题。", en=f"{path} holds no question.", param="questions")
    return questions


def _question(path: Path, number: int, line: str) -> Question:
    try:
        row = json.loads(line)
        doc_ids = row.get("doc_ids") or [row["doc_id"]]
        return Question(str(row["question"]), frozenset(map(str, doc_ids)), tuple(map(str, row.get("answers") or ())))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise InvalidRequest(
            "bad_question",
            zh=f'{path} 第 {number} 行不是 {{"question", "doc_id"}} 形式的 JSON。',
            en=f'Line {number} of {path} is not JSON with "question" and "doc_id".',
            param="questions",
        ) from exc


def evaluate(
    brain: Brain,
    caller: Caller,
    kb: str,
    questions: Sequence[Question],
    *,
    cuts: Sequence[int],
    on_progress: Callable[[int, int], None],
    mode: Mode = "auto",
) -> dict[str, Any]:
    """The figures as `qzbrain eval` prints them; `answer_in_shown_sentences` is None when no question names its answers, or `mode` is not auto.

    `degraded`: how many searches went without a part that was asked for, by part.
    """
    scope = brain.access.scope(caller, [brain.access.resolve(caller, [kb])[0].id])
    ranks, took_ms, shown = list[int | None](), list[float](), list[bool]()
    degraded = Counter[str]()
    for done, question in enumerate(questions, 1):
        started = time.perf_counter()
        found = brain.retriever.search(SearchQuery(question.text, top_k=max(_LEAST_HITS, *cuts), mode=mode), scope)
        took_ms.append((time.perf_counter() - started) * 1000)
        ranks.append(first_rank(documents_in_order(found.hits), question.doc_ids))
        degraded.update({one.part for one in found.degraded})
        if question.answers and mode == "auto":
            shown.append(shows(_answered(brain, caller, kb, question), question.answers))
        on_progress(done, len(questions))
    return {
        "questions": len(questions),
        "recall": {str(cut): round(recall_at(ranks, cut), 4) for cut in cuts},
        "mrr": round(mean_reciprocal_rank(ranks), 4),
        "answer_in_shown_sentences": round(sum(shown) / len(shown), 4) if shown else None,
        "p50_ms": round(percentile(took_ms, 0.5), 2),
        "p95_ms": round(percentile(took_ms, 0.95), 2),
        "mode": mode,
        "degraded": dict(degraded),
    }


def fit(brain: Brain, caller: Caller, kb: str, questions: Sequence[Question], *, on_progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Find the weight of meaning that serves these questions best, by recall@5, then by mean reciprocal rank, and put it into the manifest.

    0 is words alone and 1 meaning alone, so the choice is never worse than either on these questions. Raises Conflict when the knowledge
    base cannot be searched by meaning now, PermissionRefused.
    """
    kb_id = brain.access.resolve(caller, [kb])[0].id
    brain.access.require(caller, "manage", kb_id)
    scope, space = brain.access.scope(caller, [kb_id]), brain.spaces.active(kb_id)
    found = brain.retriever.search(SearchQuery(questions[0].text, mode="hybrid"), scope)
    if space is None or found.degraded:
        reason = "; ".join(one.reason for one in found.degraded)
        raise Conflict(
            "not_semantic",
            zh=f"知识库 {kb} 目前不能按语义检索，无法确定权重：{reason}",
            en=f"The knowledge base {kb} cannot be searched by meaning now, so there is no weight to find: {reason}",
        )
    ranks: dict[float, list[int | None]] = {weight: [] for weight in _WEIGHTS}
    for done, question in enumerate(questions, 1):
        for weight, so_far in ranks.items():
            hits = brain.retriever.search(SearchQuery(question.text, top_k=_LEAST_HITS, mode="hybrid", weight=weight), scope).hits
            so_far.append(first_rank(documents_in_order(hits), question.doc_ids))
        on_progress(done, len(questions))
    tried = {weight: (round(recall_at(one, 5), 4), round(mean_reciprocal_rank(one), 4)) for weight, one in ranks.items()}
    best = max(tried, key=lambda weight: (*tried[weight], -abs(weight - space.manifest.weight)))
    SpaceRows(brain.db).set_weight(space, best)
    shown = [{"weight": weight, "recall@5": recall, "mrr": mrr} for weight, (recall, mrr) in tried.items()]
    return {"questions": len(questions), "weight_before": space.manifest.weight, "weight": best, "tried": shown}


def shows(answer: Answer | None, answers: Sequence[str]) -> bool:
    """Whether one of the answers stands in the reply or in one quote, blanks apart."""
    if answer is None:
        return False
    texts = ["".join(text.split()) for text in (answer.answer, *(x.quote for x in answer.citations))]
    return any("".join(one.split()) in text for one in answers for text in texts)


def _answered(brain: Brain, caller: Caller, kb: str, question: Question) -> Answer | None:
    """The extractive answer; its conversation is not kept, an evaluation is no history."""
    turn = brain.chat.begin(caller, Ask(message=question.text, model="extractive", knowledge_bases=[kb], origin="api"), limited=False)
    answer = next((event.answer for event in brain.chat.answer(turn) if isinstance(event, Done)), None)
    brain.chat.conversations.delete(caller, turn.conversation_id)
    return answer
