"""How long the stages of a piece of work took: into the metrics, into the trace, and into the notes of whoever wants to say it.

    with noting(took), stage("words"):          # took == {"words": 0.8} afterwards, milliseconds
        ...

Notes belong to the context, as the current span does: work that goes on beside, on a thread that was handed the context, is in them too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from qzbrain import metrics, tracing

SEARCH_STAGES = ("references", "words", "facts", "embed", "vectors", "graph", "fill", "rerank")
INGEST_STAGES = ("read", "store", "index", "embed")
_SEARCH = {name: metrics.SEARCH_STAGE_SECONDS.labels(name) for name in SEARCH_STAGES}
_INGEST = {name: metrics.INGEST_STAGE_SECONDS.labels(name) for name in INGEST_STAGES}
_notes: ContextVar[dict[str, float] | None] = ContextVar("qzbrain_stages", default=None)


class stage:  # noqa: N801  it reads as the statement that it is
    """One stage of a search."""

    __slots__ = ("_began", "_name", "_observed", "_span")

    def __init__(self, name: str, observed: Any = None, *, spanned: bool = True) -> None:
        self._name, self._observed = name, observed or _SEARCH[name]
        self._span = tracing.span(name) if spanned and tracing.on() else None

    def __enter__(self) -> None:
        if self._span is not None:
            self._span.enter()
        self._began = time.perf_counter()

    def __exit__(self, *exc: Any) -> None:
        took = time.perf_counter() - self._began
        if self._span is not None:
            self._span.__exit__(*exc)
        self._observed.observe(took)
        notes = _notes.get()
        if notes is not None:
            notes[self._name] = notes.get(self._name, 0.0) + took * 1e3


def ingest_stage(name: str, *, spanned: bool = True) -> stage:
    """One stage of ingestion. `spanned`: false for what comes up so often that it would fill a trace."""
    return stage(name, _INGEST[name], spanned=spanned)


@contextmanager
def noting(notes: dict[str, float]) -> Iterator[None]:
    """Note stages there, by name in milliseconds."""
    before = _notes.get()
    _notes.set(notes)
    try:
        yield
    finally:
        _notes.set(before)
