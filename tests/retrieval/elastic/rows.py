"""Chunks for tests of the search server."""

from __future__ import annotations

from qzbrain.retrieval.base import IndexedChunk, PutDocument


def put(document_id: str, text: str, *, first: int, chunks: int = 1) -> PutDocument:
    """A document of chunks with the same text; their ids count from `first`."""
    return PutDocument(document_id, [IndexedChunk(first + n, document_id, text, "") for n in range(chunks)])
