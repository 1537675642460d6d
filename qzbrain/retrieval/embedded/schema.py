"""The fields of a chunk in tantivy, and the writing of one. Knows tantivy, not folders or queries."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson

from qzbrain.retrieval.base import IndexedChunk
from qzbrain.retrieval.embedded.folder import META
from qzbrain.retrieval.embedded.forward import numbered
from qzbrain.text.tokenize import TOKENIZER_VERSION, index_tokens

BODY, CONTEXT, TERMS, CHUNK, DOCUMENT, LENGTH, LEVEL, SEQ = "body", "context", "terms", "chunk", "document", "length", "level", "seq"

STORED_BLOCK_BYTES = 1024

SCHEMA_HASH = hashlib.sha256(f"tokens {TOKENIZER_VERSION}; fields 6".encode()).hexdigest()[:12]
"""Names what an index was built with; raise the number behind `fields` whenever `schema()` changes."""


@cache
def schema() -> Any:
    """Terms come blank-separated from text.tokenize, so tantivy only splits them; positions are not kept.

    `terms` is the forward index: it is looked up by chunk and not searched.
    `seq` is the watermark under which a chunk was committed, `length` counts the body's terms, `level` is its document's.
    """
    from tantivy import SchemaBuilder

    fields = SchemaBuilder()
    fields.add_text_field(BODY, tokenizer_name="whitespace", index_option="freq")
    fields.add_text_field(CONTEXT, tokenizer_name="whitespace", index_option="freq")
    fields.add_bytes_field(TERMS, stored=True)
    fields.add_text_field(DOCUMENT, tokenizer_name="raw", index_option="basic")
    fields.add_unsigned_field(CHUNK, fast=True)
    fields.add_unsigned_field(LENGTH, fast=True)
    fields.add_unsigned_field(LEVEL, fast=True, indexed=True)
    fields.add_unsigned_field(SEQ, fast=True)
    return fields.build()


def create(folder: Path) -> Any:
    """An empty index in an empty folder.

    What is stored of a chunk, numbers without a pattern, lies in blocks of two or three chunks, not compressed: in blocks of 40, as tantivy makes them,
    reading a hundred chunks took half as long again (2026-11-30). Its Python interface has no such setting, so it is put into tantivy's own list.
    """
    from tantivy import Index

    Index(schema(), path=str(folder))
    listed = orjson.loads((folder / META).read_bytes())
    listed["index_settings"] = {"docstore_compression": "none", "docstore_blocksize": STORED_BLOCK_BYTES}
    (folder / META).write_bytes(orjson.dumps(listed))
    return Index.open(str(folder))


def chunk_document(chunk: IndexedChunk, level: int, watermark: int) -> Any:
    """The tantivy document of a chunk. Numbers go in by `add_unsigned`: a keyword argument would make a signed one, which kills the writer."""
    document = _document_type()()
    tokens = chunk.tokens or index_tokens(chunk.text)
    document.add_text(BODY, tokens)
    document.add_unsigned(LENGTH, tokens.count(" ") + 1)
    context = chunk.context_tokens or " ".join(map(_heading_tokens, chunk.context.split("\n")))
    document.add_text(CONTEXT, context)
    document.add_bytes(TERMS, numbered(f"{tokens} {context}"))
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
