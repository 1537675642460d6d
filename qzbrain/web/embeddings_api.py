"""POST /v1/embeddings: the brain's embedding models by OpenAI's protocol, for whoever else needs vectors."""

from __future__ import annotations

import base64
from typing import Any

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.errors import InvalidRequest
from qzbrain.models.base import Cancellation
from qzbrain.models.embedders import HttpEmbedder
from qzbrain.web import replies, schemas
from qzbrain.web.responses import reply
from qzbrain.web.validation import validated

_MOST_TEXTS = 256
_LONGEST_CHARS = 100_000
_QUERY_S = 60.0


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("embeddings", __name__, url_prefix="/v1", abp_tags=[Tag(name="openai")])

    @api.post("/embeddings", responses={"200": replies.EmbeddingsReply, "503": replies.ErrorReply})
    @validated
    def create_embeddings(body: schemas.EmbeddingsBody) -> Response:
        """Vectors of unit length, in the order of the texts. A text over the model's limit is cut."""
        texts = _texts(body.input)
        embedder = brain.embedder_of(body.model)
        if body.dimensions is not None and body.dimensions != (width := embedder.profile().width):
            raise InvalidRequest(
                "dimensions_not_supported",
                zh=f"模型 {embedder.name} 的向量固定为 {width} 维。请去掉 dimensions，或设为 {width}。",
                en=f"The vectors of {embedder.name} are always {width} wide. Leave dimensions out, or set it to {width}.",
                param="dimensions",
            )
        vectors = _embedded(embedder, texts, body.input_type)
        tokens = embedder.tokens_of(texts)
        data = [{"object": "embedding", "index": index, "embedding": _shown(row, body.encoding_format)} for index, row in enumerate(vectors)]
        return reply({"object": "list", "model": embedder.name, "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})

    return api


def _embedded(embedder: HttpEmbedder, texts: list[str], kind: str) -> Any:
    if kind == "query":
        return [embedder.embed_query(text, timeout_s=_QUERY_S) for text in texts]
    vectors = embedder.embed_passages(texts, Cancellation())
    for index, row in enumerate(vectors):
        if not row.any():
            raise InvalidRequest(
                "text_refused",
                zh=f"模型 {embedder.name} 无法处理第 {index + 1} 条文本。请检查其内容。",
                en=f"The model {embedder.name} makes no vector of text {index + 1}. Check what it holds.",
                param=f"input.{index}",
            )
    return vectors


def _texts(given: str | list[Any]) -> list[str]:
    """Raises InvalidRequest for tokens, nothing, too much or too long."""
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequest(
            "tokens_not_supported",
            zh="input 须是字符串或字符串数组；不接受词元编号，各模型的编号互不相同。",
            en="input is a string or a list of strings; token numbers are not taken, because each model numbers its own.",
            param="input",
        )
    if not 1 <= len(texts) <= _MOST_TEXTS or not all(texts):
        raise InvalidRequest(
            zh=f"input 须有 1 到 {_MOST_TEXTS} 条非空文本。", en=f"input holds 1 to {_MOST_TEXTS} texts, none of them empty.", param="input"
        )
    if any(len(text) > _LONGEST_CHARS for text in texts):
        raise InvalidRequest(
            zh=f"每条文本不得超过 {_LONGEST_CHARS} 个字符。", en=f"A text has at most {_LONGEST_CHARS} characters.", param="input"
        )
    return texts


def _shown(row: Any, encoding: str) -> str | list[float]:
    return base64.b64encode(row.astype("<f4").tobytes()).decode() if encoding == "base64" else row.tolist()
