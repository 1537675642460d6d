"""The fields of a chunk in tantivy, and the writing of one. Knows tantivy, not folders or queries."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from typing import Any

from qzbrain.retrieval.base import IndexedChunk
from qzbrain.text.tokenize import TOKENIZER_VERSION, index_tokens

BODY, CONTEXT, TERMS, CHUNK, DOCUMENT, LENGTH, LEVEL, SEQ = "body", "context", "terms", "chunk", "document", "length", "level", "seq"

SCHEMA_HASH = hashlib.sha256(f"tokens {TOKENIZER_VERSION}; fields 5".encode()).hexdigest()[:12]
"""Names what an index was built with; raise the number behind `fields` whenever `schema()` changes."""


@cache
def schema() -> Any:
    """Terms come blank-separated from text.tokenize, so tantivy only splits them; positions are not kept.

    `terms` holds each term of text and context once: one look-up tells whether a chunk covers a term.
    `seq` is the watermark under which a chunk was committed, `length` counts the body's terms, `level` is its document's.
    """
    from tantivy import SchemaBuilder

    fields = SchemaBuilder()
    fields.add_text_field(BODY, tokenizer_name="whitespace", index_option="freq")
    fields.add_text_field(CONTEXT, tokenizer_name="whitespace", index_option="freq")
    fields.add_text_field(TERMS, tokenizer_name="whitespace", index_option="basic")
    fields.add_text_field(DOCUMENT, tokenizer_name="raw", index_option="basic")
    fields.add_unsigned_field(CHUNK, fast=True, indexed=True)
    fields.add_unsigned_field(LENGTH, fast=True)
    fields.add_unsigned_field(LEVEL, fast=True, indexed=True)
    fields.add_unsigned_field(SEQ, fast=True)
    return fields.build()


def chunk_document(chunk: IndexedChunk, level: int, watermark: int) -> Any:
    """The tantivy document of a chunk. Numbers go in by `add_unsigned`: a keyword argument would make a signed one, which kills the writer."""
    document = _document_type()()
    tokens = chunk.tokens or index_tokens(chunk.text)
    document.add_text(BODY, tokens)
    document.add_unsigned(LENGTH, tokens.count(" ") + 1)
    context = chunk.context_tokens or " ".join(map(_heading_tokens, chunk.context.split("\n")))
    document.add_text(CONTEXT, context)
    document.add_text(TERMS, f"{tokens} {context}")  # only whether a term is there is kept of it
    document.add_text(DOCUMENT, chunk.document_id)
    document.add_unsigned(CHUNK, chunk.chunk_id)
    document.add_unsigned(LEVEL, level)
    document.add_unsigned(SEQ, watermark)
    return document


@cache
def _document_type() -> Any:
    """Imported once: 27,000 imports in a function took a tenth of a second."""
    from tantivy import Document

    return Document


@lru_cache(maxsize=4096)
def _heading_tokens(heading: str) -> str:
    """One heading's terms; titles and chapters repeat in every chunk below them."""
    return index_tokens(heading)
