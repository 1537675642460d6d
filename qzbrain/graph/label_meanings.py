"""How near the names of relations are to a question in meaning: each name's vector is made once, in the background, and kept in memory.

A question never waits for it: until the vectors of a graph's names are there, it is answered without. Where the embedding model is away it is tried again
after a while, and nobody is told: cue words serve most questions.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from typing import TYPE_CHECKING, Any

from qzbrain import logs
from qzbrain.errors import BrainError
from qzbrain.models.base import Cancellation, Embedder
from qzbrain.storage.cooperation import beside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logs.get(__name__)

MOST_LABELS = 1500
"""Of one graph, those of most triples. With 384 numbers each that is 2.3 MB."""
OPEN_GRAPHS = 16
NEAREST = 30
"""So many names are told."""
RETRY_S = 60.0
QUESTION_S = 0.03
"""The longest that a question waits for a vector of its own; it takes the built-in model a third of that (2 cores, 2026-11-28)."""
_AT_ONCE = 16
"""Some 0.3 s of the built-in model on two cores; as long a pause follows, so that questions get through."""
_LONGEST_PAUSE_S = 1.0


class LabelVectors:
    """Vectors of relations' names. Thread-safe."""

    def __init__(self, labels: Callable[[str], Sequence[str]], embedder: Embedder, clock: Callable[[], float] = time.monotonic) -> None:
        """`labels`: the names of a knowledge base's relations, as of now."""
        self._labels, self._embedder, self._clock = labels, embedder, clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[tuple[str, ...], NDArray[np.float32]]] = OrderedDict()
        self._making: Future[None] | None = None
        self._not_before = 0.0

    def nearness(self, kb_ids: Sequence[str], vector: Any) -> Mapping[str, float] | None:
        """The cosines of the names nearest to a question's vector, of those that have one by now; None when there are none.

        `vector` None: what is missing is begun, so that it is there when it is wanted.
        """
        found: dict[str, float] = {}
        for kb_id in kb_ids:
            labels = tuple(self._labels(kb_id)[:MOST_LABELS])
            kept = self._of(kb_id, labels)
            if kept is not None and vector is not None:
                found.update(_nearest(*kept, vector))
        return found or None

    def vector(self, question: str) -> Any:
        """A question's vector, where it comes within QUESTION_S; else None. For one that was not searched by meaning."""
        with self._lock:
            if not self._kept or self._clock() < self._not_before:
                return None
        text = question.encode("utf-8", "replace").decode()
        coming = beside(lambda: self._embedder.embed_query(text, timeout_s=1.0))
        try:
            return coming.result(QUESTION_S)
        except TooLate:
            return None
        except BrainError as exc:
            log.info("question_not_embedded", code=exc.code)
            self._not_before = self._clock() + RETRY_S
            return None

    def _of(self, kb_id: str, labels: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.float32]] | None:
        """What is kept; what is new is begun beside, one graph at a time."""
        with self._lock:
            kept = self._kept.get(kb_id)
            if kept is not None:
                self._kept.move_to_end(kb_id)
            if labels and (kept is None or kept[0] != labels) and self._making is None and self._clock() >= self._not_before:
                self._making = beside(lambda: self._make(kb_id, labels, kept))
            return kept

    def wait(self) -> None:
        """Until what was begun has ended. For tests and measuring."""
        while (making := self._making) is not None:
            making.result()

    def _make(self, kb_id: str, labels: tuple[str, ...], before: tuple[tuple[str, ...], NDArray[np.float32]] | None) -> None:
        try:
            made = self._vectors(labels, before)
            with self._lock:
                self._kept[kb_id] = labels, made
                self._kept.move_to_end(kb_id)
                while len(self._kept) > OPEN_GRAPHS:
                    self._kept.popitem(last=False)
        except BrainError as exc:
            log.info("labels_not_embedded", code=exc.code)
            self._not_before = self._clock() + RETRY_S
        except Exception:  # nobody waits for this, so nobody else would tell
            log.exception("labels_not_embedded")
            self._not_before = self._clock() + RETRY_S
        finally:
            with self._lock:
                self._making = None

    def _vectors(self, labels: tuple[str, ...], before: tuple[tuple[str, ...], NDArray[np.float32]] | None) -> NDArray[np.float32]:
        import numpy as np

        known = {} if before is None else dict(zip(before[0], before[1], strict=True))
        new = [label for label in dict.fromkeys(labels) if label not in known]
        for start in range(0, len(new), _AT_ONCE):
            some = new[start : start + _AT_ONCE]
            began = time.monotonic()
            known.update(zip(some, self._embedder.embed_passages(some, Cancellation()).astype(np.float32), strict=True))
            time.sleep(min(time.monotonic() - began, _LONGEST_PAUSE_S))
        return np.stack([known[label] for label in labels])


def _nearest(labels: tuple[str, ...], vectors: NDArray[np.float32], vector: Any) -> dict[str, float]:
    import numpy as np

    if vectors.shape[1] != len(vector):
        return {}
    cosines = vectors @ np.asarray(vector, np.float32)
    best = np.argsort(-cosines, kind="stable")[:NEAREST]
    return {labels[at]: round(float(cosines[at]), 4) for at in best}
