"""The semantic side of a search: which knowledge bases can be searched by meaning now, the question's vector, the nearest passages.

Everything here may be missing, away or unfit; then a search goes by words, and says so where somebody should know. The question is
embedded once for all knowledge bases, and only when one of them has vectors. That, and the search of the first of them, begin before anything
else of a search does, on a thread of their own; meanwhile words are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from qzbrain import logs
from qzbrain.domain import SEMANTIC_PART, Degraded
from qzbrain.errors import EngineUnavailable, IndexUnavailable
from qzbrain.models.base import Embedder
from qzbrain.retrieval.spaces import Space, Spaces
from qzbrain.retrieval.vectors import DenseHit, Vector, VectorIndex
from qzbrain.stages import stage
from qzbrain.storage.cooperation import beside

log = logs.get(__name__)

QUESTION_S = 1.5
"""Longest wait for a question's vector, from an engine that is awake."""
_NONE = Degraded(SEMANTIC_PART, "no embedding model is configured; searched by words")
_BUILDING = "the vectors of knowledge base {} are still being made; searched by words"
_LOST = "the semantic index of knowledge base {} is missing or being rebuilt; searched by words"
_UNFIT = (
    "the vectors of knowledge base {kb} were made by {then}, and the embedding model is {now}; searched by words. "
    "To make them anew: qzbrain kb reembed {kb}"
)


@dataclass(slots=True)
class Meaning:
    """A question as the semantic side sees it. `spaces`: by knowledge base, those that can be searched; `degraded`: why others cannot.

    `question`: what is to be embedded, '' for nothing. `vector`: of it, once it has come. `begun`: a search that was begun, by what it was asked.
    """

    question: str = ""
    vector: Vector | None = None
    begun: dict[tuple[str, int], Future[list[DenseHit]]] = field(default_factory=dict)
    spaces: dict[str, Space] = field(default_factory=dict)
    degraded: list[Degraded] = field(default_factory=list)


class Dense:
    """Searches by meaning. Thread-safe."""

    def __init__(
        self,
        spaces: Spaces,
        vectors: Callable[[], VectorIndex],
        embedder: Embedder,
        *,
        asked: Callable[[], None] = lambda: None,
        report_missing: Callable[[str], None] = lambda _kb_id: None,
    ) -> None:
        """`vectors` is asked for when the first search needs it: it brings numpy. `asked` is told of each question, `report_missing` of each
        knowledge base whose store is lost.
        """
        self._spaces, self._vectors, self._embedder = spaces, vectors, embedder
        self._asked, self._report_missing = asked, report_missing

    def meaning(self, question: str, kb_ids: Sequence[str], *, asked_for: bool) -> Meaning:
        """What can be done for this question. `asked_for`: the caller wants meaning, so vectors that are not there yet are worth a word."""
        self._asked()
        found = Meaning()
        text = question.encode("utf-8", "replace").decode()
        if not any(map(str.isalnum, text)):
            return found  # nothing that could mean something
        for kb_id in kb_ids:
            space = self._spaces.active(kb_id)
            if space is None:
                if asked_for:
                    found.degraded.append(Degraded(SEMANTIC_PART, _BUILDING.format(kb_id)))
            elif space.refused or space.embedder != self._embedder.name:
                reason = _UNFIT.format(kb=kb_id, then=space.embedder, now=self._embedder.name)
                found.degraded.append(Degraded(SEMANTIC_PART, reason))
            else:
                found.spaces[kb_id] = space
        if found.spaces:
            found.question = text
        return found

    def begin(self, meaning: Meaning, kb_id: str, *, top_k: int, document_ids: Sequence[str] | None, max_level: int | None = None) -> None:
        """Begin what `search` will be asked next, the question's vector included, and go on at once. One at a time for a question."""
        meaning.begun[kb_id, top_k] = beside(lambda: self._found(meaning, kb_id, top_k, document_ids, max_level))

    def _vector(self, meaning: Meaning) -> Vector | None:
        """The question's vector; None, with the reason told once, when there is none to be had."""
        if meaning.vector is not None or not meaning.question:
            return meaning.vector
        try:
            with stage("embed"):
                meaning.vector = self._embedder.embed_query(meaning.question, timeout_s=QUESTION_S)
            return meaning.vector
        except EngineUnavailable as exc:
            log.warning("question_not_embedded", code=exc.code, reason=exc.en)
            meaning.degraded.append(Degraded(SEMANTIC_PART, exc.en))
            meaning.question = ""
            meaning.spaces.clear()
            return None

    def search(self, meaning: Meaning, kb_id: str, *, top_k: int, document_ids: Sequence[str] | None, max_level: int | None = None) -> list[DenseHit]:
        """The nearest of one knowledge base; [] where it cannot be searched by meaning, with the reason in `meaning.degraded`."""
        begun = meaning.begun.pop((kb_id, top_k), None)
        return begun.result() if begun is not None else self._found(meaning, kb_id, top_k, document_ids, max_level)

    def _found(self, meaning: Meaning, kb_id: str, top_k: int, document_ids: Sequence[str] | None, max_level: int | None) -> list[DenseHit]:
        space, vector = meaning.spaces.get(kb_id), self._vector(meaning)
        if space is None or vector is None:
            return []
        try:
            with stage("vectors"):
                store = self._vectors()
                found = store.search(space.id, vector, top_k=top_k, document_ids=document_ids, max_level=max_level)
            if found or store.upto(space.id) >= 0:
                return found
            reason = _LOST.format(kb_id)
            self._report_missing(kb_id)
        except IndexUnavailable as exc:
            reason = exc.en
        self._give_up(meaning, kb_id, reason)
        return []

    def cosines(self, meaning: Meaning, kb_id: str, chunk_ids: Sequence[int], *, max_level: int | None = None) -> dict[int, float]:
        """Of these chunks. One that has no vector is left out: the store is asked, because the database's mark runs ahead of it, and passes
        over what no vector could be made of.
        """
        space, vector = meaning.spaces.get(kb_id), self._vector(meaning)
        if space is None or vector is None:
            return {}
        try:
            return self._vectors().cosines(space.id, vector, sorted(chunk_ids), max_level=max_level)
        except IndexUnavailable as exc:
            self._give_up(meaning, kb_id, exc.en)
            return {}

    def _give_up(self, meaning: Meaning, kb_id: str, reason: str) -> None:
        meaning.degraded.append(Degraded(SEMANTIC_PART, reason))
        meaning.spaces.pop(kb_id)  # last: whoever sees it gone finds the reason


def without_embedder(*, asked_for: bool) -> Meaning:
    """There is nothing to search by meaning with."""
    return Meaning(degraded=[_NONE] if asked_for else [])
