"""What a new model says to a first question: some words of a chat model, the width of an embedder, the order of a reranker."""

from __future__ import annotations

import orjson

from qzbrain.models.embedders import HttpEmbedder
from qzbrain.models.probing import said
from qzbrain.models.rerankers import HttpReranker
from qzbrain.settings import ModelSettings

_QUESTION = "用一句话介绍你自己。"
_PASSAGES = ("猫在屋顶上晒太阳。", "采购金额超过五十万元的，须经董事会批准。")
_ABOUT = "采购审批的金额是多少？"
_TOKENS, _SHOWN = 48, 200
_TIMEOUT_S = 120.0


def try_out(name: str, model: ModelSettings, *, base_url: str, key: str) -> str:
    """Ask the engine at `base_url`; what it gave, as one line to show. Raises EngineUnavailable."""
    at = model.model_copy(update={"engine": "external", "base_url": base_url, "api_key": key, "first_token_timeout_s": _TIMEOUT_S})
    if model.kind == "chat":
        return " ".join(said(name, at, _QUESTION, _TOKENS).split())[:_SHOWN]
    if model.kind == "embedding":
        return f"{HttpEmbedder(name, at).profile().width} dimensions"
    scores = HttpReranker(name, at).rerank(_ABOUT, _PASSAGES, timeout_s=_TIMEOUT_S)
    return orjson.dumps([round(one, 3) for one in scores]).decode()
