"""The embedded search backend: one tantivy index per knowledge base, so that no statistics mix.

Keeps the promises of `retrieval.base.SearchIndex`. A commit of any process is seen by the next search of every other: each
search compares the stamps of two small files (some 3 µs). The writer lives only inside `apply` and `rebuild`, so an idle
process holds none of its memory, and what it held when it was killed is not in any commit.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qzbrain import logs, metrics
from qzbrain.errors import StorageFull, Unavailable
from qzbrain.retrieval.base import IndexChange, LexicalHit, PutDocument
from qzbrain.retrieval.embedded.folder import IndexFolder, Stamp, read_watermark, stamp, write_watermark
from qzbrain.retrieval.embedded.schema import DOCUMENT, SCHEMA_HASH, chunk_document, schema
from qzbrain.retrieval.embedded.searching import OpenIndex
from qzbrain.settings import Settings

log = logs.get(__name__)

WRITER_HEAP_BYTES = 24_000_000
OPEN_INDEXES = 64
_HIT, _MISS = (metrics.CACHE_LOOKUPS.labels("open_indexes", result) for result in ("hit", "miss"))


def at_home(settings: Settings) -> TantivyIndex:
    """The indexes in the data folder."""
    return TantivyIndex(settings.index_path)


class TantivyIndex:
    """Indexes under `root`, one folder per knowledge base."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._folders: dict[str, IndexFolder] = {}
        self._open: OrderedDict[str, tuple[Stamp | None, Stamp | None, Path, OpenIndex]] = OrderedDict()

    # -- writing

    def apply(self, kb_id: str, changes: Iterable[IndexChange], *, watermark: int) -> None:
        """See `SearchIndex.apply`. Raises StorageFull; Unavailable `index_missing` when there is no usable index to apply them to."""
        folder = self._folder(kb_id)
        with folder.writing():
            generation = folder.current()
            present = self._reader(kb_id)
            if generation is None or present is None:
                raise Unavailable(
                    "index_missing",
                    zh="该知识库的索引不存在或已损坏，需要重建。请运行 qzbrain kb reindex。",
                    en="This knowledge base has no usable index; it must be rebuilt. Run: qzbrain kb reindex.",
                )
            if watermark > _watermark(generation, present):
                _write(generation, changes, watermark=watermark, present=present)

    def rebuild(self, kb_id: str, changes: Iterable[IndexChange], *, watermark: int) -> None:
        """See `SearchIndex.rebuild`. Raises StorageFull; the index in use stays then."""
        folder = self._folder(kb_id)
        with folder.writing():
            folder.sweep()
            generation = folder.new_generation()
            _write(generation, changes, watermark=watermark, present=None)
            folder.use(generation)

    def drop(self, kb_id: str) -> None:
        """See `SearchIndex.drop`."""
        folder = self._folder(kb_id)
        if folder.path.is_dir():
            with folder.writing():
                folder.remove()
        with self._lock:
            self._open.pop(kb_id, None)
            self._folders.pop(kb_id, None)

    # -- reading

    def ready(self) -> None:
        """See `SearchIndex.ready`: files are always there."""

    def watermark(self, kb_id: str) -> int:
        """See `SearchIndex.watermark`; -1 also for an index that cannot be opened."""
        generation, reader = self._folder(kb_id).current(), self._reader(kb_id)
        return -1 if reader is None or generation is None else _watermark(generation, reader)

    def chunk_count(self, kb_id: str) -> int:
        """See `SearchIndex.chunk_count`."""
        reader = self._reader(kb_id)
        return 0 if reader is None else reader.chunk_count

    def deleted_share(self, kb_id: str) -> float:
        """Share of deleted chunks among those in the files, 0..1: they skew idf a little until merged away."""
        reader = self._reader(kb_id)
        return 0.0 if reader is None else reader.deleted_share

    def search(
        self, kb_id: str, query: str, *, top_k: int, document_ids: Sequence[str] | None = None, max_level: int | None = None
    ) -> list[LexicalHit]:
        """See `SearchIndex.search`. An index that breaks while it is read is given up: nothing is found until it is rebuilt."""
        reader = self._reader(kb_id)
        if reader is None or top_k < 1:
            return []
        try:
            return reader.search(query, top_k, document_ids, max_level)
        except BaseException as exc:
            if not _broken(exc):
                raise
            log.exception("index_unreadable", kb_id=kb_id)
            self._folder(kb_id).disown()
            return []

    # -- open indexes

    def _folder(self, kb_id: str) -> IndexFolder:
        folder = self._folders.get(kb_id)
        if folder is None:
            folder = self._folders[kb_id] = IndexFolder(self.root, kb_id, SCHEMA_HASH)
        return folder

    def _reader(self, kb_id: str) -> OpenIndex | None:
        """The newest commit of the generation in use, opened when it is not yet; None when there is none that can be read."""
        with self._lock:
            folder = self._folder(kb_id)
            kept = self._open.get(kb_id)
            if kept is not None and kept[0] is not None and kept[0] == stamp(folder.pointer) and kept[1] == stamp(kept[2]):
                self._open.move_to_end(kb_id)
                _HIT.inc()
                return kept[3]
            _MISS.inc()
            return self._reopen(kb_id, folder)

    def _reopen(self, kb_id: str, folder: IndexFolder) -> OpenIndex | None:
        self._open.pop(kb_id, None)
        for _ in range(3):  # a swap may remove the generation between the look at the pointer and the opening
            pointer, generation = stamp(folder.pointer), folder.current()
            if generation is None:
                return None
            meta = generation / "meta.json"
            seen = stamp(meta)
            try:
                opened = OpenIndex(generation)
            except BaseException as exc:
                if not _broken(exc):
                    raise
                log.warning("index_unreadable", kb_id=kb_id, reason=str(exc))
                if stamp(folder.pointer) == pointer:
                    return None
                continue
            self._open[kb_id] = (pointer, seen, meta, opened)
            while len(self._open) > OPEN_INDEXES:
                self._open.popitem(last=False)
            return opened
        return None


def _broken(exc: BaseException) -> bool:
    """Whether this says that files are missing or damaged: tantivy's errors, and its panics, which Python gets as a BaseException."""
    return isinstance(exc, ValueError | KeyError | OSError) or type(exc).__name__ == "PanicException"


def _watermark(generation: Path, reader: OpenIndex) -> int:
    return max(reader.highest_seq, read_watermark(generation))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, RuntimeError) as exc:
        if "No space left" in str(exc) or "os error 28" in str(exc) or "os error 122" in str(exc):
            raise StorageFull from exc
        raise


def _write(generation: Path, changes: Iterable[IndexChange], *, watermark: int, present: OpenIndex | None) -> None:
    """One commit with all changes. `present`: the index as it is now, None for a new one."""
    from tantivy import Index

    with _translated():
        index = Index(schema(), path=str(generation)) if present is None else Index.open(str(generation))
        writer = index.writer(WRITER_HEAP_BYTES, 1)
        try:
            added = _add(writer, changes, watermark, present)
            writer.commit()
            writer.garbage_collect_files()
        finally:
            writer.wait_merging_threads()
        if not added:
            write_watermark(generation, watermark)


def _add(writer: Any, changes: Iterable[IndexChange], watermark: int, present: OpenIndex | None) -> int:
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
            writer.add_document(chunk_document(chunk, level, watermark))
        added += len(chunks)
    return added
