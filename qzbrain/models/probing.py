"""Does a model work? A real call of the kind it is for: one token, one vector, or an order of two passages.

That an engine listens, or calls itself healthy, says little: weights may be garbage, the chat template missing, a GPU out of memory.
"""

from __future__ import annotations

import math
import time

import orjson

from qzbrain.errors import EngineUnavailable
from qzbrain.models.base import Cancellation, ChatMessage, Generation
from qzbrain.models.calls import EngineCalls
from qzbrain.models.faults import EngineFault
from qzbrain.models.openai_client import OpenAIChatModel
from qzbrain.models.rerankers import HttpReranker
from qzbrain.models.sse import said_by
from qzbrain.settings import ModelSettings

_QUESTION = "你好"
_PASSAGES = ("罚款由行政机关决定。", "The committee meets every quarter.")


def probe(name: str, model: ModelSettings, *, base_url: str, key: str, timeout_s: float) -> float:
    """Ask the engine that listens at `base_url` (it ends in /v1); how long its answer took, in seconds. Raises EngineUnavailable with the reason."""
    at = model.model_copy(
        update={"engine": "external", "base_url": base_url, "api_key": key, "first_token_timeout_s": timeout_s, "total_timeout_s": timeout_s}
    )
    started = time.monotonic()
    if model.kind == "chat":
        said(name, at, _QUESTION, 1)
    elif model.kind == "embedding":
        _embed(name, at, started + timeout_s)
    else:
        HttpReranker(name, at).rerank(_PASSAGES[0], _PASSAGES, timeout_s=timeout_s)
    return time.monotonic() - started


def said(name: str, model: ModelSettings, question: str, most_tokens: int) -> str:
    """What an external chat model answers, which may be blank where its tokens are no text. Raises EngineUnavailable, also when it gives nothing."""
    text, tokens = "", 0
    for piece in OpenAIChatModel(name, model).generate(Generation([ChatMessage("user", question)], {"max_tokens": most_tokens}), Cancellation()):
        text += piece.text
        tokens = max(tokens, piece.usage.completion_tokens if piece.usage is not None else 0)
    if not text and not tokens:
        raise _failed(name, "它接受了请求，却没有给出任何内容", "it took the request and gave nothing")
    return text


def _embed(name: str, model: ModelSettings, deadline: float) -> None:
    body = orjson.dumps({"model": model.model or name, "input": _QUESTION, "encoding_format": "float"})
    try:
        reply = EngineCalls(name, model, None).post("/embeddings", body, Cancellation(), deadline)
    except EngineFault as fault:
        raise _failed(name, fault.zh, fault.en) from fault
    if reply.status != 200:
        said = said_by(reply.body)
        raise _failed(name, f"引擎返回 HTTP {reply.status}：{said}", f"the engine replied HTTP {reply.status}: {said}")
    try:
        vector = [float(one) for one in orjson.loads(reply.body)["data"][0]["embedding"]]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise _failed(name, "回复不是向量", "its reply is no vector") from exc
    if not any(vector) or not all(map(math.isfinite, vector)):
        raise _failed(name, "它给出的向量全为零或不是数", "its vector is all zeros or no numbers")


def _failed(name: str, zh: str, en: str) -> EngineUnavailable:
    return EngineUnavailable(zh=f"模型 {name} 的试用失败：{zh}。", en=f"The trial of the model {name} failed: {en}.", retry_after_s=10)
