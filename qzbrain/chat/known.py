"""What knowledge graphs know about a question: asked within a time limit, cited, and never the reason for an answer to fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from qzbrain import logs
from qzbrain.chat.graph_sources import FactSources, GraphSources
from qzbrain.domain import GRAPH_PART, Degraded, ReadScope
from qzbrain.errors import BrainError
from qzbrain.graph.answered import Answered
from qzbrain.storage.cooperation import beside
from qzbrain.storage.database import Database

if TYPE_CHECKING:
    from qzbrain.graph.base import GraphAnswers

log = logs.get(__name__)

PATIENCE_S = 2.0
"""How long an answer waits for the graph: one of a third of a million triples is read into memory in one second, once."""
LONGEST_QUESTION = 300
"""A longer text asks for no fact, and names many."""
MOST_BEFORE = 6
"""So many questions asked before may say what this one leaves out."""
ALONE = 0.55
"""Of the sureness asked for, so much will do where documents say nothing: else the question would be refused."""
DOUBTFUL = 0.3
"""Of the sureness asked for, so much makes a vector worth its time (tens of milliseconds of both cores): meaning lifts nobody from nothing."""
_LATE = Degraded(GRAPH_PART, f"the knowledge graph did not answer within {PATIENCE_S:g} s")
_FAILED = Degraded(GRAPH_PART, "the knowledge graph failed; the log says why")


class LabelMeanings(Protocol):
    """How near the names of relations are to a question in meaning."""

    def nearness(self, kb_ids: Sequence[str], vector: Any) -> Mapping[str, float] | None:
        """Cosines by name, of what is known at once; `vector`: the question's, None: only begin to make what is missing."""

    def vector(self, question: str) -> Any:
        """The question's, if it can be had at once."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the graph answers, with its sources. `degraded`: why nobody knows whether it does."""

    answered: Answered = field(default_factory=Answered)
    sources: FactSources = field(default_factory=FactSources)
    degraded: tuple[Degraded, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is an answer."""
        return bool(self.sources.numbers)


class GraphKnowledge:
    """Asks the graphs. Thread-safe."""

    def __init__(self, database: Database, graph: GraphAnswers, labels: LabelMeanings | None, *, least: float) -> None:
        """`least`: so sure a graph must be (QZBRAIN_GRAPH_ANSWER); 0: it is never asked."""
        self._graph, self._labels, self._least = graph, labels, least
        self._sources = GraphSources(database)

    def look(
        self, question: str, before: Sequence[str], scope: ReadScope, names: Mapping[str, str], vector: Any, *, alone: bool = False
    ) -> Known:
        """What is known. `before`: questions asked earlier, oldest first; `names`: of the knowledge bases, by id; `vector`: the question's, or None;
        `alone`: no document answers."""
        if not self._least or not scope.kb_ids or len(question) > LONGEST_QUESTION:
            return Known()
        said = [one for one in before[-MOST_BEFORE:] if len(one) <= LONGEST_QUESTION]
        least = self._least * ALONE if alone else self._least
        asked = beside(lambda: self._look(question, said, scope, names, vector, least))
        try:
            return asked.result(PATIENCE_S)
        except TooLate:
            log.warning("graph_too_slow", patience_s=PATIENCE_S)
            return Known(degraded=(_LATE,))
        except BrainError as exc:
            log.warning("graph_unavailable", code=exc.code)
            return Known(degraded=(Degraded(GRAPH_PART, exc.en),))
        except Exception:  # a graph may be an outside service: whatever it does, the question is answered
            log.exception("graph_failed")
            return Known(degraded=(_FAILED,))

    def _look(self, question: str, before: Sequence[str], scope: ReadScope, names: Mapping[str, str], vector: Any, least: float) -> Known:
        found = self._answer(question, before, scope, vector, least)
        if found.confidence < least or found.kb_id not in scope.kb_ids or found.of_structure:
            return Known()
        if scope.document_ids is not None:
            found = found.within(scope.document_ids)
        sources = self._sources.of(found.steps, names.get(found.kb_id, found.kb_id)) if found.steps else None
        return Known() if sources is None else Known(found, sources)

    def _answer(self, question: str, before: Sequence[str], scope: ReadScope, vector: Any, least: float) -> Answered:
        """By words, and by meaning with the vector that the search has; where it has none, with one made for what words leave open."""
        labels = self._labels
        nearness = None if labels is None else labels.nearness(scope.kb_ids, vector)
        ceilings = dict(scope.max_levels)
        found = self._graph.answer(question, scope.kb_ids, before=before, nearness=nearness, ceilings=ceilings)
        if labels is None or vector is not None or not found.values or found.of_structure or not least * DOUBTFUL <= found.confidence < least:
            return found
        nearness = labels.nearness(scope.kb_ids, labels.vector(question))
        return found if nearness is None else self._graph.answer(question, scope.kb_ids, before=before, nearness=nearness, ceilings=ceilings)
