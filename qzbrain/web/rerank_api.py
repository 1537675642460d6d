"""POST /v1/rerank: the brain's rerankers in the shape of Jina and Cohere, for whoever else has passages to judge."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.errors import InvalidRequest
from qzbrain.web import replies, schemas
from qzbrain.web.responses import reply
from qzbrain.web.validation import validated

_LONGEST_CHARS = 100_000
_ANSWER_S = 120.0


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("rerank", __name__, url_prefix="/v1", abp_tags=[Tag(name="openai")])

    @api.post("/rerank", responses={"200": replies.RerankReply, "503": replies.ErrorReply})
    @validated
    def rerank(body: schemas.RerankBody) -> Response:
        """Judge texts by a question, best first."""
        texts = _texts(body.documents)
        reranker = brain.reranker_of(body.model)
        scores = reranker.rerank(body.query, texts, timeout_s=_ANSWER_S)
        order = sorted(range(len(texts)), key=lambda n: -scores[n])[: body.top_n or len(texts)]
        results: list[dict[str, Any]] = [{"index": n, "relevance_score": scores[n]} for n in order]
        if body.return_documents:
            results = [{**one, "document": {"text": texts[one["index"]]}} for one in results]
        tokens = sum(len(text) for text in (body.query, *texts))
        return reply({"model": reranker.name, "results": results, "usage": {"total_tokens": tokens}})

    return api


def _texts(documents: list[str | dict[str, Any]]) -> list[str]:
    """Raises InvalidRequest with the document's number."""
    texts: list[str] = []
    for number, one in enumerate(documents):
        text = one.get("text") if isinstance(one, dict) else one
        if not isinstance(text, str) or not text or len(text) > _LONGEST_CHARS:
            raise InvalidRequest(
                zh=f'documents 的第 {number + 1} 项须是 1 到 {_LONGEST_CHARS} 个字符的文本，或含有这样的 "text" 的对象。',
                en=f'Item {number + 1} of documents must be a text of 1 to {_LONGEST_CHARS} characters, or an object with such a "text".',
                param=f"documents.{number}",
            )
        texts.append(text)
    return texts
