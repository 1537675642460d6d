"""At rest, indexes that have grown part by part are written anew in one, on a thread that gives way to everybody else.

Searches are quicker then. Of a lexical index all is tokenised again, so it waits until the index has not changed for as long as that takes, and longer.
Vectors are put together as they are.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from sqlalchemy import select

from qzbrain import logs
from qzbrain.errors import BrainError
from qzbrain.knowledge import heap
from qzbrain.retrieval.base import Parts
from qzbrain.retrieval.feeder import Feeder
from qzbrain.retrieval.shelves import shelves
from qzbrain.storage.database import Database
from qzbrain.storage.tables import knowledge_bases

log = logs.get(__name__)
AFTER_S = 3.0
"""Of rest: who adds documents one after the other is not disturbed."""
LOOK_EVERY_S = 30.0
SETTLED_S = 10.0
SETTLED_S_PER_CHUNK = 0.0003
"""Without a change an index must have been for so long: 40 s with 100,000 chunks, which take some 30 s to write, and five minutes with a million."""
GIVE_UP_S = 10.0
"""Of work, for which it has waited: memory is not held longer."""
_SILENT_S = 1.0
"""A worker at rest tells of it some times a second."""
_WAIT_S = 0.05
_MOST_PATIENCE = 6
_END_S = 10.0
_LAST_IN_LINE = 19
"""The thread's niceness, and that of the threads which tantivy begins on it."""


class Gathering:
    """Looks at all indexes now and then while there is nothing to do. `clock`: seconds, of no particular origin."""

    def __init__(self, database: Database, feeder: Callable[[], Feeder], clock: Callable[[], float] = time.monotonic) -> None:
        self._db, self._feeder, self._clock = database, feeder, clock
        self._heard, self._since_s, self._next_look = clock(), 0.0, clock()
        self._failed: dict[str, tuple[int, float]] = {}
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether it is at work."""
        return self._thread is not None and self._thread.is_alive()

    def rest(self, since_s: float) -> None:
        """There has been nothing to do for so many seconds. Called all the time while that is so; silence is work, too."""
        now = self._clock()
        self._heard, self._since_s = now, since_s
        if since_s >= AFTER_S and now >= self._next_look and not self.busy:
            self._next_look, self._ending = now + LOOK_EVERY_S, threading.Event()
            self._thread = threading.Thread(target=self._look, args=(self._ending,), name="segments", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Leave off. What is being merged is waited for a little while; after that nobody misses it."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    # -- on the thread

    def _look(self, ending: threading.Event) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LAST_IN_LINE)
        gathered = False
        try:
            for (kb_id,) in self._db.rows(select(knowledge_bases.c.id)):
                for index, found, gather in self._scattered(kb_id):
                    if not self._goes_on(ending):
                        return
                    if found is not None and self._is_settled(index, found):
                        gathered = True
                        self._gather(index, found, partial(gather, index, lambda: self._goes_on(ending)))
        except Exception as exc:
            log.error("segments_not_looked_at", exc_info=exc)
        finally:
            if gathered:
                heap.give_back()

    def _scattered(self, kb_id: str) -> Iterator[tuple[str, Parts | None, Callable[[str, Callable[[], bool]], bool]]]:
        """Its indexes: what each is called, what is to be gained, and how."""
        feeder = self._feeder()
        for shelf in shelves(kb_id):
            yield shelf, feeder.parts(shelf), feeder.gather
        for space_id, found in feeder.vector_parts(kb_id).items():
            yield space_id, found, feeder.gather_vectors

    def _is_settled(self, index: str, found: Parts) -> bool:
        times, at = self._failed.get(index, (0, -1e9))
        wanted_s = SETTLED_S + SETTLED_S_PER_CHUNK * found.chunks
        return found.unchanged_s >= wanted_s and self._clock() - at >= wanted_s * 2 ** min(times, _MOST_PATIENCE)

    def _gather(self, index: str, found: Parts, gather: Callable[[], bool]) -> None:
        """What was left off, or failed, is not tried again soon, each time later."""
        begun = self._clock()
        try:
            done, reason = gather(), "left off"
        except BrainError as exc:
            done, reason = False, exc.code
        except Exception as exc:
            log.error("segments_not_gathered", index=index, exc_info=exc)
            done, reason = False, type(exc).__name__
        took_s = round(self._clock() - begun, 1)
        if done:
            self._failed.pop(index, None)
            log.info("segments_gathered", index=index, chunks=found.chunks, segments=found.count, took_s=took_s)
        else:
            self._failed[index] = (self._failed.get(index, (0, 0.0))[0] + 1, self._clock())
            log.info("segments_not_gathered", index=index, reason=reason, took_s=took_s)

    def _goes_on(self, ending: threading.Event) -> bool:
        """Waits while the worker works, up to GIVE_UP_S; False when it went on longer, or the worker ends."""
        waited_from = self._clock()
        while not ending.is_set():
            if self._since_s >= AFTER_S and self._clock() - self._heard <= _SILENT_S:
                return True
            if self._clock() - waited_from >= GIVE_UP_S:
                return False
            ending.wait(_WAIT_S)
        return False
