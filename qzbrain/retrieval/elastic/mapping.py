"""The fields of a chunk on the search server, and the writing of one. Knows what is stored, not how it is sent or found.

Terms come blank-separated from text.tokenize, so the server only splits them at blanks: both backends search the same terms. No text is
stored, only its terms: passages are read from SQL.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from qzbrain.retrieval.base import IndexedChunk
from qzbrain.text.tokenize import TOKENIZER_VERSION, index_tokens

BODY, CONTEXT, CHUNK, DOCUMENT, LENGTH, LEVEL = "body", "context", "chunk", "document", "length", "level"
K1, B = 1.2, 0.75
"""As tantivy has them, which knows no others."""

SCHEMA_HASH = hashlib.sha256(f"tokens {TOKENIZER_VERSION}; server fields 2".encode()).hexdigest()[:12]
"""Names what an index was built with; raise the number behind `server fields` whenever `index_body()` changes."""

_TERMS = {"type": "text", "analyzer": "whitespace", "index_options": "freqs", "norms": True, "similarity": "terms"}


def index_body(watermark: int) -> dict[str, Any]:
    """A new index that holds what the outbox told until `watermark`.

    One shard, so that the statistics are those of the whole knowledge base; a copy where there is a second node. Refreshed by its writer
    alone: readers see all of a batch or nothing.
    """
    return {
        "settings": {
            "number_of_shards": 1,
            "auto_expand_replicas": "0-1",
            "refresh_interval": "-1",
            "similarity": {"terms": {"type": "BM25", "k1": K1, "b": B}},
        },
        "mappings": {
            "_meta": {"schema": SCHEMA_HASH, "watermark": watermark},
            "_source": {"enabled": False},
            "dynamic": False,
            "properties": {
                BODY: _TERMS,
                CONTEXT: _TERMS,
                CHUNK: {"type": "long"},
                DOCUMENT: {"type": "keyword"},
                LENGTH: {"type": "integer", "index": False},
                LEVEL: {"type": "integer"},
            },
        },
    }


def source(chunk: IndexedChunk, level: int) -> dict[str, Any]:
    """What is sent of a chunk; `length` counts the body's terms, `level` is its document's."""
    tokens = chunk.tokens or index_tokens(chunk.text)
    context = chunk.context_tokens or " ".join(map(_heading_tokens, chunk.context.split("\n")))
    words = {BODY: tokens, CONTEXT: context, LENGTH: tokens.count(" ") + 1}
    return {**words, CHUNK: chunk.chunk_id, DOCUMENT: chunk.document_id, LEVEL: level}


def up_to(max_level: int) -> dict[str, Any]:
    """A filter that leaves what is of at most this level."""
    return {"range": {LEVEL: {"lte": max_level}}}


@lru_cache(maxsize=4096)
def _heading_tokens(heading: str) -> str:
    """One heading's terms; titles and chapters repeat in every chunk below them."""
    return index_tokens(heading)
