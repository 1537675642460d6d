"""Writing into a generation of an index: changes into one that is there, or a new one from its beginning. Knows no readers and no locks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qzbrain.errors import StorageFull
from qzbrain.retrieval.base import IndexChange, PutDocument
from qzbrain.retrieval.embedded import parts
from qzbrain.retrieval.embedded.folder import write_watermark
from qzbrain.retrieval.embedded.schema import DOCUMENT, chunk_document, create
from qzbrain.retrieval.embedded.searching import OpenIndex

WRITER_HEAP_BYTES = 24_000_000
BUILDING_HEAP_BYTES = 120_000_000
"""At most, and only as far as chunks fill it. A commit that does not fit becomes two segments."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, RuntimeError) as exc:
        if "No space left" in str(exc) or "os error 28" in str(exc) or "os error 122" in str(exc):
            raise StorageFull from exc
        raise


def write(generation: Path, changes: Iterable[IndexChange], *, watermark: int, present: OpenIndex) -> None:
    """One commit with all changes. `present`: the index as it is now."""
    from tantivy import Index

    with _translated():
        writer = Index.open(str(generation)).writer(WRITER_HEAP_BYTES, 1)
        try:
            added = _add(writer, changes, watermark, present)
            writer.commit()
            writer.garbage_collect_files()
        finally:
            writer.wait_merging_threads()
        if not added:
            write_watermark(generation, watermark)


def build(
    generation: Path, changes: Iterable[IndexChange], *, watermark: int, chunks: int, goes_on: Callable[[], bool] = lambda: True
) -> None:
    """An index in an empty folder, of one segment where `chunks` tells how many come. `goes_on`: asked before every chunk. Raises Ended."""
    with _translated():
        writer = create(generation).writer(BUILDING_HEAP_BYTES if chunks else WRITER_HEAP_BYTES, 1)
        try:
            built = _add(writer, changes, watermark, None, _Commits(writer, parts.commits(chunks), goes_on))
            writer.commit()
            writer.garbage_collect_files()
        finally:
            writer.wait_merging_threads()
        if not built:
            write_watermark(generation, watermark)
        parts.note_built(generation, built)


class Ended(Exception):
    """A build was told not to go on."""


class _Commits:
    """Called before every chunk of a build: makes the commits that were planned."""

    def __init__(self, writer: Any, planned: Sequence[int], goes_on: Callable[[], bool]) -> None:
        self._writer, self._planned, self._goes_on = writer, list(reversed(planned)), goes_on
        self._chunks = 0

    def __call__(self) -> None:
        """Raises Ended."""
        if not self._goes_on():
            raise Ended
        if self._planned and self._chunks == self._planned[-1]:
            self._planned.pop()
            self._writer.commit()
        self._chunks += 1


def _add(
    writer: Any, changes: Iterable[IndexChange], watermark: int, present: OpenIndex | None, before_each: Callable[[], None] = lambda: None
) -> int:
    """Write the changes in order; returns the number of chunks added, which carry the watermark.

    A document that the index does not hold is not deleted first, and one that it holds with the same chunks and the same level is left
    alone (chunk ids are never used twice): deleted chunks would count in the statistics until they are merged away.
    """
    added = 0
    touched: set[str] = set()
    for change in changes:
        fresh = change.document_id not in touched
        held = present.chunks_of(change.document_id) if present is not None and fresh else dict[int, int]()
        touched.add(change.document_id)
        chunks, level = (change.chunks, change.level) if isinstance(change, PutDocument) else ((), 0)
        if fresh and held and held == {chunk.chunk_id: level for chunk in chunks}:
            continue
        if held or not fresh:
            writer.delete_documents_by_term(DOCUMENT, change.document_id)
            added = 0  # what carried the watermark may be gone with it
        for chunk in chunks:
            before_each()
            writer.add_document(chunk_document(chunk, level, watermark))
        added += len(chunks)
    return added
