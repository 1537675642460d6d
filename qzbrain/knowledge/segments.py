"""At rest, the lexical indexes are brought into few segments, on a thread that gives way to everybody else: searches are quicker then."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import select

from qzbrain import logs
from qzbrain.errors import BrainError
from qzbrain.knowledge import heap
from qzbrain.retrieval.base import SearchIndex
from qzbrain.retrieval.shelves import shelves
from qzbrain.storage.database import Database
from qzbrain.storage.tables import knowledge_bases

log = logs.get(__name__)
AFTER_S = 3.0
"""Of rest: who adds documents one after the other is not disturbed."""
_END_S = 10.0
_LAST_IN_LINE = 19
"""The thread's niceness, and that of the threads which tantivy begins on it."""


class SegmentMerging:
    """Once in every rest it looks at all indexes."""

    def __init__(self, database: Database, index: Callable[[], SearchIndex]) -> None:
        self._db, self._index = database, index
        self._done = False
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether it is at work."""
        return self._thread is not None and self._thread.is_alive()

    def rest(self, since_s: float) -> None:
        """There has been nothing to do for so many seconds."""
        if since_s < AFTER_S:
            self._done = False
        elif not self._done and not self.busy:
            self._done, self._ending = True, threading.Event()
            self._thread = threading.Thread(target=self._merge, args=(self._ending,), name="segments", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Begin no other index. What is being written is waited for a little while; after that nobody misses it."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    def _merge(self, ending: threading.Event) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LAST_IN_LINE)
        merged = 0
        try:
            for (kb_id,) in self._db.rows(select(knowledge_bases.c.id)):
                for shelf in shelves(kb_id):
                    if not ending.is_set():
                        merged += self._index().merge_segments(shelf)
        except BrainError as exc:
            log.warning("segments_not_merged", code=exc.code)
        except Exception as exc:
            log.error("segments_not_merged", exc_info=exc)
        if merged:
            heap.give_back()
