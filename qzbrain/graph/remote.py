"""The graph asked of another process: the service that GRAPH_URL names, in place of `service.GraphService` and `passages.PassageGraphs`.

It reads the same database, so ids mean the same on both sides; whatever changes a graph still goes to the database, not to it. A service of another make that
has `POST /chat-process-txt` alone is asked by that; for the rest the graph is read here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from qzbrain.errors import GraphUnavailable, NotFound
from qzbrain.graph import remote_replies as replies
from qzbrain.graph.answered import Answered
from qzbrain.graph.base import NO_CEILINGS, Entity, Place, Triple, relation_not_found
from qzbrain.graph.breaker import GraphFault
from qzbrain.graph.calls import GraphCalls, RouteLacking, SaysNotFound
from qzbrain.graph.linking import name_key
from qzbrain.graph.merging import entity_not_found
from qzbrain.graph.service import CuedRelation, NamedEntity, Processed, RelationCount, ScoredTriple, context

if TYPE_CHECKING:
    from qzbrain.graph.overview import Overview
    from qzbrain.graph.passages import NearPassage, PassageGraphs
    from qzbrain.graph.service import GraphService

Found = TypeVar("Found")

_NUMBERS = re.compile(r"\d+")
MOST_BASES = 100
"""Knowledge bases that one call may name."""
MOST_CHARS, MOST_CHUNKS, MOST_BEFORE = 20_000, 1000, 20
"""Of a question, passages that it names, and questions before it, in one call; what is beyond them is left out."""
LACKING_S = 60.0
"""So long a route that the service lacks is not asked for again."""


class RemoteRoutes:
    """Which routes the service lacks, and what is done instead. Thread-safe."""

    def __init__(self, calls: GraphCalls) -> None:
        self.calls = calls
        self._lacking: dict[str, float] = {}

    def ask(self, route: str, asking: Callable[[], Found], here: Callable[[], Found]) -> Found:
        """`asking`, or `here` where the service lacks the route, or lacked it before it went away. Raises GraphUnavailable, SaysNotFound."""
        until = self._lacking.get(route)
        if until is not None and until > time.monotonic():
            return here()
        try:
            found = asking()
        except RouteLacking:
            self._lacking[route] = time.monotonic() + LACKING_S
            return here()
        except GraphUnavailable:
            if until is None:
                raise
            return here()
        self._lacking.pop(route, None)
        return found


class RemoteGraph:
    """As `base.GraphAnswers`. Raises GraphUnavailable besides. Thread-safe."""

    def __init__(self, routes: RemoteRoutes, version: Callable[[str], int], local: Callable[[], GraphService]) -> None:
        """`version`: of a knowledge base's graph, 0 where there is none. `local`: the graph read in this process, for what the service lacks."""
        self._routes, self._calls, self._version, self._local = routes, routes.calls, version, local
        self._labels: dict[str, tuple[int, Sequence[str]]] = {}

    def process(
        self, text: str, kb_ids: Sequence[str], *, top_k: int = 10, hops: int = 2, mode: str = "auto", ceilings: Mapping[str, int] = NO_CEILINGS
    ) -> Processed:
        """As `GraphService.process`; triples have no ids here. Services of others are told of `hops` and `mode` only where they are not the usual ones."""
        if ceilings:
            return self._local().process(text, kb_ids, top_k=top_k, hops=hops, mode=mode, ceilings=ceilings)
        more = ({} if hops == 2 else {"hops": hops}) | ({} if mode == "auto" else {"mode": mode})
        if len(kb_ids) <= MOST_BASES:
            return self._process(text, kb_ids, top_k, more) if kb_ids else Processed((), (), "", 0.0, 0)
        parts = [self._process(text, kb_ids[at : at + MOST_BASES], top_k, more) for at in range(0, len(kb_ids), MOST_BASES)]
        scored = sorted((one for part in parts for one in part.triples), key=lambda one: -one.score)[:top_k]
        return Processed(
            tuple(one for part in parts for one in part.entities), tuple(scored), context([one.triple for one in scored]),
            sum(part.took_ms for part in parts), sum(part.version for part in parts),
        )  # fmt: skip

    def _process(self, text: str, kb_ids: Sequence[str], top_k: int, more: Mapping[str, object]) -> Processed:
        begun = time.perf_counter()

        def reading(body: bytes) -> Processed:
            told = replies.read(replies.ProcessedShape, body)
            if told.code not in (0, 200):
                raise GraphFault(f"它报告错误代码 {told.code}", f"it reports the code {told.code}")
            scored = tuple(_scored(one) for one in told.triples[:top_k])
            entities = tuple(_named(one, text) for one in told.entities)
            said = context([one.triple for one in scored]) if told.context is None else told.context
            return Processed(entities, scored, said, (time.perf_counter() - begun) * 1e3, told.version or 0)

        return self._calls.process({"text": text, "kb_ids": list(kb_ids), "top_k": top_k, **more}, reading)

    def answer(
        self,
        text: str,
        kb_ids: Sequence[str],
        *,
        before: Sequence[str] = (),
        nearness: Mapping[str, float] | None = None,
        ceilings: Mapping[str, int] = NO_CEILINGS,
    ) -> Answered:
        """As `GraphService.answer`. Only of knowledge bases that have a graph, and of the first MOST_BASES of them."""
        if ceilings:
            return self._local().answer(text, kb_ids, before=before, nearness=nearness, ceilings=ceilings)
        asked = [kb_id for kb_id in kb_ids if self._version(kb_id)][:MOST_BASES]
        if not asked:
            return Answered()
        earlier = [one[:MOST_CHARS] for one in before[-MOST_BEFORE:]]
        payload = {"text": text[:MOST_CHARS], "kb_ids": asked, "before": earlier, "nearness": None if nearness is None else dict(nearness)}
        try:
            return self._routes.ask(
                "answer",
                lambda: self._calls.ask("POST", "/api/graph/answer", lambda body: replies.read(replies.AnsweredShape, body).answered(), payload=payload),
                lambda: self._local().answer(text, kb_ids, before=before, nearness=nearness),
            )
        except SaysNotFound:
            return Answered()

    def labels(self, kb_id: str) -> Sequence[str]:
        """As `GraphService.labels`, from memory while the graph does not change."""
        version = self._version(kb_id)
        kept = self._labels.get(kb_id, (0, ()))
        if not version or kept[0] == version:
            return kept[1] if version else ()
        found = tuple(one.relation for one in self.relations(kb_id) if one.triples)
        self._labels[kb_id] = version, found
        return found

    def relations(self, kb_id: str, *, ceiling: int | None = None) -> list[CuedRelation]:
        """As `GraphService.relations`."""
        if ceiling is not None:
            return self._local().relations(kb_id, ceiling=ceiling)

        def reading(body: bytes) -> list[CuedRelation]:
            return [one.cued() for one in replies.read(replies.CuedRelationsShape, body).data]

        return self._here_or_there(kb_id, "relations", {}, reading, lambda: self._local().relations(kb_id))

    def relation(self, kb_id: str, relation: str, *, ceiling: int | None = None) -> CuedRelation:
        """As `GraphService.relation`; read here while the service is away: who has set its words is told what came of it."""
        if ceiling is not None:
            return self._local().relation(kb_id, relation, ceiling=ceiling)
        try:
            found = self.relations(kb_id)
        except GraphUnavailable:
            return self._local().relation(kb_id, relation)
        one = next((one for one in found if name_key(one.relation) == name_key(relation)), None)
        if one is None:
            raise relation_not_found(relation)
        return one

    def neighbors(self, kb_id: str, entity_id: int, *, depth: int, relation: str | None, limit: int, ceiling: int | None = None) -> list[Triple]:
        """As `GraphService.neighbors`."""
        if ceiling is not None:
            return self._local().neighbors(kb_id, entity_id, depth=depth, relation=relation, limit=limit, ceiling=ceiling)
        query = {"id": entity_id, "depth": depth, "relation": relation, "limit": limit}
        return self._here_or_there(
            kb_id, "neighbors", query,
            lambda body: [one.triple() for one in replies.read(replies.TriplesShape, body).data],
            lambda: self._local().neighbors(kb_id, entity_id, depth=depth, relation=relation, limit=limit),
            entity_ids=(entity_id,), relation=relation,
        )  # fmt: skip

    def path(self, kb_id: str, start: int, goal: int, *, max_hops: int, ceiling: int | None = None) -> list[Triple] | None:
        """As `GraphService.path`."""
        if ceiling is not None:
            return self._local().path(kb_id, start, goal, max_hops=max_hops, ceiling=ceiling)

        def reading(body: bytes) -> list[Triple] | None:
            told = replies.read(replies.WayShape, body)
            return [one.triple() for one in told.data] if told.found else None

        return self._here_or_there(
            kb_id, "path", {"from": start, "to": goal, "max_hops": max_hops}, reading,
            lambda: self._local().path(kb_id, start, goal, max_hops=max_hops), entity_ids=(start, goal),
        )  # fmt: skip

    def entity(self, kb_id: str, entity_id: int, *, ceiling: int | None = None) -> Entity:
        """As `GraphService.entity`."""
        if ceiling is not None:
            return self._local().entity(kb_id, entity_id, ceiling=ceiling)
        return self._here_or_there(
            kb_id, f"entities/{entity_id}", {}, lambda body: replies.read(replies.DetailShape, body).entity(),
            lambda: self._local().entity(kb_id, entity_id), entity_ids=(entity_id,), route="entities",
        )  # fmt: skip

    def relations_of(self, kb_id: str, entity_id: int, *, ceiling: int | None = None) -> list[RelationCount]:
        """As `GraphService.relations_of`."""
        if ceiling is not None:
            return self._local().relations_of(kb_id, entity_id, ceiling=ceiling)

        def reading(body: bytes) -> list[RelationCount]:
            return [RelationCount(one.relation, one.direction == "out", one.triples) for one in replies.read(replies.DetailShape, body).relations]

        return self._here_or_there(
            kb_id, f"entities/{entity_id}", {}, reading, lambda: self._local().relations_of(kb_id, entity_id), entity_ids=(entity_id,), route="entities"
        )

    def search(self, kb_id: str, text: str, *, limit: int, ceiling: int | None = None) -> list[Entity]:
        """As `GraphService.search`."""
        if ceiling is not None:
            return self._local().search(kb_id, text, limit=limit, ceiling=ceiling)
        return self._here_or_there(
            kb_id, "search", {"q": text, "limit": limit}, lambda body: [one.entity() for one in replies.read(replies.EntitiesShape, body).data],
            lambda: self._local().search(kb_id, text, limit=limit),
        )  # fmt: skip

    def overview(self, kb_id: str, *, limit: int, ceiling: int | None = None) -> Overview:
        """As `GraphService.overview`."""
        if ceiling is not None:
            return self._local().overview(kb_id, limit=limit, ceiling=ceiling)

        def reading(body: bytes) -> Overview:
            from qzbrain.graph.overview import Hub, Overview

            told = replies.read(replies.OverviewShape, body)
            hubs = [Hub(int(one.id), one.name, one.type, one.degree) for one in told.entities]
            return Overview([(one.type, one.entities) for one in told.types], [(one.relation, one.triples) for one in told.relations], hubs)

        return self._here_or_there(kb_id, "overview", {"limit": limit}, reading, lambda: self._local().overview(kb_id, limit=limit))

    def _here_or_there(
        self,
        kb_id: str,
        path: str,
        query: Mapping[str, object],
        reading: Callable[[bytes], Found],
        here: Callable[[], Found],
        *,
        entity_ids: Sequence[int] = (),
        relation: str | None = None,
        route: str = "",
    ) -> Found:
        try:
            return self._routes.ask(
                route or path, lambda: self._calls.ask("GET", f"/api/graph/{quote(kb_id, safe='')}/{path}", reading, query=query), here
            )
        except SaysNotFound as exc:
            raise _not_found(exc, entity_ids, relation) from exc


class RemotePassages:
    """As `retrieval.graph_hits.PassageGraphs`. Thread-safe."""

    def __init__(self, routes: RemoteRoutes, version: Callable[[str], int], local: Callable[[], PassageGraphs]) -> None:
        """`version`: of a knowledge base's graph, 0 where there is none, which needs no asking."""
        self._routes, self._version, self._local = routes, version, local

    def near(self, kb_id: str, question: str, chunk_ids: Sequence[int], *, top_k: int, ceiling: int | None = None) -> list[NearPassage]:
        """As `PassageGraphs.near`. Raises GraphUnavailable."""
        if ceiling is not None:
            return self._local().near(kb_id, question, chunk_ids, top_k=top_k, ceiling=ceiling)
        if not self._version(kb_id):
            return []

        def reading(body: bytes) -> list[NearPassage]:
            from qzbrain.graph.passages import NearPassage

            return [NearPassage(one.chunk_id, one.score) for one in replies.read(replies.PassagesShape, body).data[:top_k]]

        payload = {"question": question[:MOST_CHARS], "chunk_ids": list(chunk_ids[:MOST_CHUNKS]), "top_k": top_k}
        path = f"/api/graph/{quote(kb_id, safe='')}/passages"
        try:
            return self._routes.ask(
                "passages",
                lambda: self._routes.calls.ask("POST", path, reading, payload=payload),
                lambda: self._local().near(kb_id, question, chunk_ids, top_k=top_k),
            )
        except SaysNotFound:
            return []


def _not_found(exc: SaysNotFound, entity_ids: Sequence[int], relation: str | None) -> NotFound:
    if exc.code == "relation_not_found" and relation is not None:
        return relation_not_found(relation)
    if exc.code == "entity_not_found" and entity_ids:
        return entity_not_found(next((one for one in entity_ids if str(one) in _NUMBERS.findall(exc.message)), entity_ids[0]))
    return NotFound(exc.code or None, zh=exc.message or "没有找到。", en=exc.message or "Not found.")


def _named(one: replies.NamedShape, text: str) -> NamedEntity:
    """Where a service of others does not say where the name stands, it is looked for."""
    mention = one.mention or one.name
    start = one.start if one.start is not None else max(0, text.find(mention))
    number = str(one.id)
    entity = Entity(int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else 0, one.name, one.type or "")
    return NamedEntity(entity, mention, start, one.end if one.end is not None else start + len(mention))


def _scored(one: replies.ScoredShape) -> ScoredTriple:
    source = one.source
    places = () if source is None else (Place("", source=source[:1000]) if isinstance(source, str) else source.place(),)
    return ScoredTriple(Triple(0, Entity(0, one.head, ""), one.relation, Entity(0, one.tail, ""), places), one.score)
