"""The graph service: questions to the graphs of some knowledge bases. Holds each graph in memory, as of its last change."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qzbrain import metrics
from qzbrain.errors import InvalidRequest
from qzbrain.graph import ceilings as ceilings_of
from qzbrain.graph.answered import Answered, answered
from qzbrain.graph.base import NO_CEILINGS, Cues, Entity, GraphStore, Stats, Triple, relation_not_found
from qzbrain.graph.linking import name_key
from qzbrain.graph.merging import entity_not_found

if TYPE_CHECKING:
    from qzbrain.graph.overview import Overview
    from qzbrain.graph.qa import Answerer, GraphAnswer
    from qzbrain.graph.view import GraphView
    from qzbrain.graph.walks import Step

OPEN_GRAPHS = 16
CONTEXT_CHARS = 2000


@dataclass(frozen=True, slots=True)
class NamedEntity:
    """An entity that a text names, at `start:end`."""

    entity: Entity
    mention: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ScoredTriple:
    """A triple and how well it speaks to the question."""

    triple: Triple
    score: float


@dataclass(frozen=True, slots=True)
class Processed:
    """What the graphs have to say to a text. `context`: the triples as sentences, for a prompt. `version`: of all graphs asked, together."""

    entities: tuple[NamedEntity, ...]
    triples: tuple[ScoredTriple, ...]
    context: str
    took_ms: float
    version: int


@dataclass(frozen=True, slots=True)
class RelationCount:
    """How many triples of a relation an entity has; `forward`: as their head."""

    relation: str
    forward: bool
    triples: int


@dataclass(frozen=True, slots=True)
class CuedRelation:
    """A relation with the number of its triples and the words set for it."""

    relation: str
    triples: int
    cues: Cues


class GraphService:
    """Answers from graphs. Thread-safe."""

    def __init__(self, store: GraphStore) -> None:
        self._store = store
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._open: OrderedDict[tuple[str, int | None], Answerer] = OrderedDict()

    def process(
        self, text: str, kb_ids: Sequence[str], *, top_k: int = 10, hops: int = 2, mode: str = "auto", ceilings: Mapping[str, int] = NO_CEILINGS
    ) -> Processed:
        """What the graphs of these knowledge bases know about what the text names, best first. `hops`, `mode`: see `Answerer.ranked`."""
        begun = time.perf_counter()
        named: list[NamedEntity] = []
        scored: list[ScoredTriple] = []
        version = 0
        for kb_id in kb_ids:
            ceiling = ceilings.get(kb_id)
            answerer = self._answerer(kb_id, ceiling=ceiling)
            view = answerer.view
            version += view.version
            mentions, ranked = answerer.ranked(text, top_k=top_k, hops=hops, mode=mode)
            named += [
                NamedEntity(Entity(int(view.ids[one]), view.names[one], view.types[one], (), view.degree(one)), text[m.start : m.end], m.start, m.end)
                for m in mentions for one in m.entity_ids
            ]  # fmt: skip
            triples = {one.id: one for one in self._triples(kb_id, [int(view.triple_ids[edge.triple]) for _, edge, _ in ranked], ceiling)}
            for score, edge, _ in ranked:
                triple = triples.get(int(view.triple_ids[edge.triple]))
                if triple is not None:
                    scored.append(ScoredTriple(triple, round(score, 4)))
        scored = sorted(scored, key=lambda one: -one.score)[:top_k]
        return Processed(tuple(named), tuple(scored), context([one.triple for one in scored]), (time.perf_counter() - begun) * 1e3, version)

    def answer(
        self,
        text: str,
        kb_ids: Sequence[str],
        *,
        before: Sequence[str] = (),
        nearness: Mapping[str, float] | None = None,
        ceilings: Mapping[str, int] = NO_CEILINGS,
    ) -> Answered:
        """The answer of the graph that is surest of its own; an empty one where none has any.

        `before`: questions asked earlier, the last one last, for what the text leaves unsaid. `nearness`: of relations' names to the text in meaning.
        """
        best: tuple[float, str, GraphAnswer, GraphView] | None = None
        for kb_id in kb_ids:
            version = self._store.version(kb_id)
            if not version:
                continue
            answerer = self._answerer(kb_id, version, ceiling=ceilings.get(kb_id))
            found = answerer.answer(text, before=before, nearness=nearness)
            if found.values and found.steps and (best is None or found.confidence > best[0]):
                best = found.confidence, kb_id, found, answerer.view
        if best is None:
            return Answered()
        _, kb_id, said, view = best
        return answered(kb_id, said, view, lambda ids: self._triples(kb_id, ids, ceilings.get(kb_id)))

    def labels(self, kb_id: str) -> Sequence[str]:
        """Names of a graph's relations, those of most triples first; () where there is no graph."""
        version = self._store.version(kb_id)
        return self._answerer(kb_id, version).view.labels if version else ()

    def neighbors(self, kb_id: str, entity_id: int, *, depth: int, relation: str | None, limit: int, ceiling: int | None = None) -> list[Triple]:
        """Triples around an entity, nearest first. Raises NotFound."""
        from qzbrain.graph.walks import neighbors

        view = self.view(kb_id, ceiling=ceiling)
        kind: int | None = None
        if relation is not None:
            if relation not in view.relation_names:
                raise relation_not_found(relation)
            kind = list(view.relation_names).index(relation)
        return self._told(kb_id, view, neighbors(view, _number(view, entity_id), depth=depth, relation=kind, most=limit), ceiling)

    def path(self, kb_id: str, start: int, goal: int, *, max_hops: int, ceiling: int | None = None) -> list[Triple] | None:
        """The triples of a shortest way between two entities; None when there is none. Raises NotFound."""
        from qzbrain.graph.walks import path

        view = self.view(kb_id, ceiling=ceiling)
        found = path(view, _number(view, start), _number(view, goal), max_hops=max_hops)
        return None if found is None else self._told(kb_id, view, found, ceiling)

    def entity(self, kb_id: str, entity_id: int, *, ceiling: int | None = None) -> Entity:
        """One entity; for one without a type the typed one that it must be. Raises NotFound."""
        if ceiling is not None:
            view = self.view(kb_id, ceiling=ceiling)
            return ceilings_of.entity(view, _number(view, entity_id))
        found = self._store.entity(kb_id, entity_id)
        if found is None:
            raise entity_not_found(entity_id)
        return self._typed(kb_id, self._answerer(kb_id).view, found)

    def search(self, kb_id: str, text: str, *, limit: int, ceiling: int | None = None) -> list[Entity]:
        """As `GraphStore.search`, each thing once."""
        if ceiling is not None:
            return ceilings_of.found(self.view(kb_id, ceiling=ceiling), text, limit=limit)
        found = self._store.search(kb_id, text, limit=limit)
        if not found:
            return []
        view = self._answerer(kb_id).view
        return list({one.id: one for one in (self._typed(kb_id, view, entity) for entity in found)}.values())

    def relations_of(self, kb_id: str, entity_id: int, *, ceiling: int | None = None) -> list[RelationCount]:
        """How many triples an entity has of each relation and direction, most first; `forward`: it is their head. Raises NotFound."""
        view = self.view(kb_id, ceiling=ceiling)
        found = [RelationCount(view.relation_names[kind], forward, count) for kind, forward, count in view.relations_of(_number(view, entity_id))]
        return sorted(found, key=lambda one: (-one.triples, one.relation, not one.forward))

    def relations(self, kb_id: str, *, ceiling: int | None = None) -> list[CuedRelation]:
        """All relations with the number of their triples, most first, and the words set for them."""
        import numpy as np

        view = self.view(kb_id, ceiling=ceiling)
        counts = np.bincount(view.relations, minlength=len(view.relation_names)).tolist()
        words = [Cues(tuple(forward), tuple(backward)) for forward, backward in view.cues] or [Cues()] * len(counts)
        found = [CuedRelation(name, count, cues) for name, count, cues in zip(view.relation_names, counts, words, strict=True)]
        return sorted(found, key=lambda one: (-one.triples, one.relation))

    def relation(self, kb_id: str, relation: str, *, ceiling: int | None = None) -> CuedRelation:
        """One of them, by its label. Raises NotFound."""
        found = next((one for one in self.relations(kb_id, ceiling=ceiling) if name_key(one.relation) == name_key(relation)), None)
        if found is None:
            raise relation_not_found(relation)
        return found

    def overview(self, kb_id: str, *, limit: int, ceiling: int | None = None) -> Overview:
        """What there is: types and relations with their counts, most first, and the entities that most triples name."""
        from qzbrain.graph.overview import overview

        return overview(self.view(kb_id, ceiling=ceiling), limit=limit)

    def stats(self, kb_id: str, *, ceiling: int | None = None) -> Stats:
        """Counts."""
        if ceiling is None:
            return self._store.stats(kb_id)
        view = self.view(kb_id, ceiling=ceiling)
        return Stats(len(view.ids), len(view.relation_names), len(view.triple_ids), self._store.mentions_seen(kb_id, ceiling), view.version)

    def view(self, kb_id: str, *, ceiling: int | None = None) -> GraphView:
        """The graph as it is now."""
        return self._answerer(kb_id, ceiling=ceiling).view

    def _triples(self, kb_id: str, triple_ids: Sequence[int], ceiling: int | None) -> list[Triple]:
        return self._store.triples(kb_id, triple_ids) if ceiling is None else self._store.triples_seen(kb_id, triple_ids, ceiling)

    def _told(self, kb_id: str, view: GraphView, steps: Sequence[Step], ceiling: int | None) -> list[Triple]:
        triples = self._triples(kb_id, [int(view.triple_ids[step.edge.triple]) for step in steps], ceiling)
        return self._with_types(kb_id, view, triples, ceiling)

    def _with_types(self, kb_id: str, view: GraphView, triples: Sequence[Triple], ceiling: int | None) -> list[Triple]:
        """The triples with their ends' counts, an end without a type given as the typed entity that it must be: else one thing would be shown as two."""
        known = {end.id: end for triple in triples for end in (triple.head, triple.tail)}
        typed = {one: self._typed(kb_id, view, entity, ceiling) for one, entity in known.items()}
        return [replace(one, head=typed[one.head.id], tail=typed[one.tail.id]) for one in triples]

    def _typed(self, kb_id: str, view: GraphView, entity: Entity, ceiling: int | None = None) -> Entity:
        """The entity that this one is for answers, with all its triples counted."""
        import numpy as np

        at = int(np.searchsorted(view.ids, entity.id))
        if at >= len(view.ids) or int(view.ids[at]) != entity.id:
            return entity  # newer than this view
        one = view.same.get(at, at)
        if ceiling is not None:
            return ceilings_of.entity(view, one)
        found = entity if one == at else self._store.entity(kb_id, int(view.ids[one]))
        return replace(found or entity, degree=view.degree(one))

    def _answerer(self, kb_id: str, version: int | None = None, *, ceiling: int | None = None) -> Answerer:
        """The graph as it is now: read anew when its version has changed, which one look-up tells; by one at a time, however many ask."""
        version = self._store.version(kb_id) if version is None else version
        kept = self._kept((kb_id, ceiling), version)
        metrics.CACHE_LOOKUPS.labels("graphs", "miss" if kept is None else "hit").inc()
        if kept is not None:
            return kept
        from qzbrain.graph.qa import Answerer  # brings numpy: only who answers pays for it

        with self._reading:
            kept = self._kept((kb_id, ceiling), version)
            if kept is not None:
                return kept
            made = Answerer(self._store.view(kb_id) if ceiling is None else self._store.view_below(kb_id, ceiling))
            _ = made.view.linker
            with self._lock:
                self._open[kb_id, ceiling] = made
                while len(self._open) > OPEN_GRAPHS:
                    self._open.popitem(last=False)
        return made

    def _kept(self, key: tuple[str, int | None], version: int) -> Answerer | None:
        """The graph as it was last read, if that was no earlier than at this version; another's reading may have been later."""
        with self._lock:
            kept = self._open.get(key)
            if kept is None or kept.view.version < version:
                return None
            self._open.move_to_end(key)
            return kept


def context(triples: Sequence[Triple]) -> str:
    """Triples as lines for a prompt, those of one head and relation together; at most CONTEXT_CHARS characters."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for one in triples:
        some = grouped.setdefault((one.head.name, one.relation), [])
        if one.tail.name not in some:
            some.append(one.tail.name)
    lines, room = [], CONTEXT_CHARS
    for (head, relation), tails in grouped.items():
        line = f"{head} 的 {relation}：{'、'.join(tails)}"
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    return "\n".join(lines)


def entity_number(text: str) -> int:
    """An entity's id as it stands in an address. Raises InvalidRequest."""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    raise InvalidRequest(zh="实体编号须为整数。", en="An entity's id is a whole number.", param="id")


def _number(view: GraphView, entity_id: int) -> int:
    import numpy as np

    at = int(np.searchsorted(view.ids, entity_id))
    if at >= len(view.ids) or int(view.ids[at]) != entity_id:
        raise entity_not_found(entity_id)
    return view.same.get(at, at)
