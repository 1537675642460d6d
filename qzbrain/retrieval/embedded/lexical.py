"""The embedded search backend: one tantivy index per knowledge base, so that no statistics mix.

Keeps the promises of `retrieval.base.SearchIndex`. A commit of any process is seen by the next search of every other: each
search compares the stamps of two small files (some 3 µs). The writer lives only inside `apply` and `rebuild`, so an idle
process holds none of its memory, and what it held when it was killed is not in any commit.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from qzbrain import logs, metrics
from qzbrain.errors import Unavailable
from qzbrain.retrieval.base import IndexChange, LexicalHit, NoIndex, Parts
from qzbrain.retrieval.embedded import parts, writing
from qzbrain.retrieval.embedded.folder import META, IndexFolder, Stamp, read_watermark, stamp
from qzbrain.retrieval.embedded.schema import SCHEMA_HASH
from qzbrain.retrieval.embedded.searching import OpenIndex
from qzbrain.settings import Settings

log = logs.get(__name__)

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
                folder.sweep()  # what a killed writer left; and what is being built, which would lack what comes now
                writing.write(generation, changes, watermark=watermark, present=present)

    def rebuild(self, kb_id: str, changes: Iterable[IndexChange], *, watermark: int, chunks: int = 0) -> None:
        """See `SearchIndex.rebuild`. Raises StorageFull; the index in use stays then."""
        folder = self._folder(kb_id)
        with folder.writing():
            folder.sweep()
            with folder.building() as generation:
                writing.build(generation, changes, watermark=watermark, chunks=chunks)
                folder.use(generation)

    def parts(self, kb_id: str) -> Parts | None:
        """See `SearchIndex.parts`."""
        generation = self._folder(kb_id).current()
        return None if generation is None else parts.parts(generation, time.time())

    def gather(
        self, kb_id: str, changes: Iterable[IndexChange], *, chunks: int, turn: AbstractContextManager[Any], goes_on: Callable[[], bool]
    ) -> bool:
        """See `SearchIndex.gather`. Raises StorageFull, also where room might not last: half-way there, others would find the disk full."""
        folder = self._folder(kb_id)
        with ExitStack() as stack:
            with turn:
                watermark = self.watermark(kb_id)
                if watermark < 0:
                    return False
                with folder.writing():
                    folder.sweep()
                    folder.require_room()
                    watermark = self.watermark(kb_id)
                    generation = stack.enter_context(folder.building())
            try:
                writing.build(generation, changes, watermark=watermark, chunks=chunks, goes_on=goes_on)
            except BaseException as exc:
                if isinstance(exc, writing.Ended) or (not generation.is_dir() and (_broken(exc) or isinstance(exc, Exception))):
                    return False
                raise
            with turn:
                return generation.is_dir() and self._put_to_use(folder, generation)

    @staticmethod
    def _put_to_use(folder: IndexFolder, generation: Path) -> bool:
        """Unless somebody has written since it was begun: a writer sweeps away what is not in use."""
        with folder.writing():
            if not generation.is_dir():
                return False
            folder.use(generation)
            return True

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
        """See `SearchIndex.search`. An index that breaks while it is read is given up: there is none until it is rebuilt."""
        reader = self._reader(kb_id)
        if reader is None:
            raise NoIndex(kb_id)
        if top_k < 1:
            return []
        try:
            return reader.search(query, top_k, document_ids, max_level)
        except BaseException as exc:
            if not _broken(exc):
                raise
            log.exception("index_unreadable", kb_id=kb_id)
            self._folder(kb_id).disown()
            raise NoIndex(kb_id) from exc

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
            meta = generation / META
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
