"""Rerankers over `/v1/rerank`, in the shape of Jina and Cohere that llama.cpp, vLLM and others speak.

Engines differ in what a score is: llama.cpp gives raw logits, others 0..1. Here it is 0..1 always, by the logistic function where any score
lies outside. A reply with too few scores, or one that is no number, is no reply: whoever asked keeps the order that there was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import orjson

from qzbrain.errors import EngineUnavailable
from qzbrain.models.base import Cancellation, EngineAddresses
from qzbrain.models.calls import EngineCalls
from qzbrain.models.faults import EngineFault
from qzbrain.models.sse import said_by
from qzbrain.settings import ModelSettings

_RESERVED_TOKENS = 16
"""Of the context: what an engine puts round question and passage."""
_LEAST_CHARS = 32


class HttpReranker:
    """One reranking model; see `models.base.Reranker`."""

    def __init__(self, name: str, settings: ModelSettings, addresses: EngineAddresses | None = None) -> None:
        self.name = name
        self._settings = settings
        self._calls = EngineCalls(name, settings, addresses)

    def rerank(self, query: str, passages: Sequence[str], *, timeout_s: float) -> list[float]:
        """Relevance 0..1 of each passage, in the order given. Texts are cut to the model's context, a character for a token, the passage first."""
        if not passages:
            return []
        room = max(2 * _LEAST_CHARS, self._settings.context - _RESERVED_TOKENS)
        asked = query[: max(_LEAST_CHARS, room // 2)]
        cut = [one[: max(_LEAST_CHARS, room - len(asked))] for one in passages]
        body = orjson.dumps({"model": self._settings.model or self.name, "query": asked, "documents": cut, "top_n": len(cut)})
        try:
            reply = self._calls.post("/rerank", body, Cancellation(), time.monotonic() + timeout_s)
            if reply.status != 200:
                said = said_by(reply.body)
                raise EngineFault(f"引擎返回 HTTP {reply.status}：{said}", f"the engine replied HTTP {reply.status}: {said}", status=reply.status)
            return _relevance(_scores(reply.body, len(cut)))
        except EngineFault as fault:
            raise EngineUnavailable(
                zh=f"重排模型 {self.name} 不可用：{fault.zh}。",
                en=f"The reranker {self.name} is not available: {fault.en}.",
                retry_after_s=10,
            ) from fault


def _scores(body: bytes, count: int) -> list[float]:
    """One for each passage, in their order. Raises EngineFault."""
    found: dict[int, float] = {}
    try:
        for one in _results(orjson.loads(body)):
            found[int(one["index"])] = float(one["relevance_score"] if "relevance_score" in one else one["score"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as exc:
        raise EngineFault("回复不是重排结果", "its reply is no reranking") from exc
    if sorted(found) != list(range(count)) or not all(map(math.isfinite, found.values())):
        raise EngineFault(f"回复缺少分数（{len(found)}/{count}）", f"its reply lacks scores ({len(found)} of {count})")
    return [found[n] for n in range(count)]


def _results(body: Any) -> Sequence[Any]:
    """Under `results`, or (some servers) a bare list."""
    found = body.get("results", body.get("data")) if isinstance(body, dict) else body
    if not isinstance(found, list):
        raise TypeError("no list of results")
    return found


def _relevance(scores: Sequence[float]) -> list[float]:
    if all(0 <= one <= 1 for one in scores):
        return list(scores)
    return [1 / (1 + math.exp(-max(-60.0, min(60.0, one)))) for one in scores]
