"""Passages that a graph leads to: PageRank from what a question names, over entities and the chunks in which they stand. For ranking alone.

An entity is tied to a chunk where a fact about it is said there, or where its name stands; rare names tie more than common ones. The question's entities and
the articles that it names by number are where the walk begins. Held in memory as of the graph's last change; a large one that changed is read anew beside
the search, which meanwhile takes the graph as it was.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from qzbrain.graph.ceilings import readable
from qzbrain.graph.structure import ARTICLE, CONTAINS
from qzbrain.storage.cooperation import beside
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, documents, graph_linking, graph_links, graph_mentions, graph_names, graph_versions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qzbrain.graph.pagerank import Rows
    from qzbrain.graph.view import GraphView

OPEN_GRAPHS = 16
PATIENCE_S = 0.5
"""How long a search waits for a graph that is being read."""
SURE_OF_ARTICLE, SURE_OF_NAME = 0.005, 0.02
"""The share of all weight at which a passage is as near as can be, when the question names an article or other names only."""
BY_NAME = 0.6
"""The most that a passage gets from names alone: a name may be meant otherwise."""
LEAST = 0.05
"""Passages that are less near are as near as any other."""
MOST_SEEDS = 12
_COMMON = 0.05
"""A name that stands in more than this share of all linked chunks ties nothing."""
_READ_AT_ONCE = 50_000
_CONTAINED = 0.25
"""What ties an article to its chapter and its law, where other facts tie with 1: a thousand articles have the same law."""

_VERSIONS = (
    select(graph_versions.c.version, graph_linking.c.version.label("links"))
    .outerjoin(graph_linking, graph_linking.c.kb_id == graph_versions.c.kb_id)
    .where(graph_versions.c.kb_id == bindparam("kb"))
)  # fmt: skip


_Key = tuple[str, int | None]
"""A knowledge base, and up to which level its documents may be read; None: all of them."""


@dataclass(frozen=True, slots=True)
class NearPassage:
    """A chunk and how near it is to what the question names, 0..1."""

    chunk_id: int
    score: float


@dataclass(frozen=True)
class _Graph:
    """Nodes: the entities of the view by their numbers, then chunks in the order of their ids."""

    version: tuple[int, int]
    view: GraphView
    chunk_ids: NDArray[np.int64]
    rows: Rows
    rarity: NDArray[np.float32]


class PassageGraphs:
    """Finds passages through graphs. Thread-safe."""

    def __init__(self, database: Database, view: Callable[[str, int | None], GraphView]) -> None:
        """`view`: a knowledge base's graph as it is now, and as it is for who may read documents up to a level."""
        self._db, self._view = database, view
        self._versions = database.prepared(_VERSIONS)
        self._lock = threading.Lock()
        self._open: OrderedDict[_Key, _Graph] = OrderedDict()
        self._reading: dict[_Key, Future[_Graph]] = {}

    def near(self, kb_id: str, question: str, chunk_ids: Sequence[int], *, top_k: int, ceiling: int | None = None) -> list[NearPassage]:
        """The chunks nearest to what a question names, best first; `chunk_ids` are named themselves, and are not given back.

        `ceiling`: as if documents above this level were not there. [] where nothing is named, there is no graph, or it is still being read.
        """
        graph = self._graph((kb_id, ceiling))
        return [] if graph is None or not len(graph.chunk_ids) else _near(graph, question, chunk_ids, top_k)

    def _graph(self, key: _Key) -> _Graph | None:
        rows = self._versions(kb=key[0])
        if not rows or not rows[0][0]:
            return None
        version = int(rows[0][0]), int(rows[0][1] or 0)
        with self._lock:
            kept = self._open.get(key)
            if kept is not None and kept.version == version:
                self._open.move_to_end(key)
                return kept
            reading = self._reading.get(key)
            if reading is None:
                reading = self._reading[key] = beside(lambda: self._read(key, version))
        wait([reading], PATIENCE_S)
        return reading.result() if reading.done() else kept

    def _read(self, key: _Key, version: tuple[int, int]) -> _Graph:
        try:
            made = _read(self._db, key, version, self._view(*key))
            with self._lock:
                self._open[key] = made
                self._open.move_to_end(key)
                while len(self._open) > OPEN_GRAPHS:
                    self._open.popitem(last=False)
        finally:
            with self._lock:
                self._reading.pop(key, None)
        return made


def _near(graph: _Graph, question: str, chunk_ids: Sequence[int], top_k: int) -> list[NearPassage]:
    import numpy as np

    from qzbrain.graph.pagerank import spread

    first = len(graph.view.names)
    named = _passages(graph, chunk_ids)
    seeds: dict[int, float] = dict.fromkeys((first + at for at in named), 1.0 / max(1, len(named)))
    for mention in graph.view.linker.mentions(question)[:MOST_SEEDS]:
        for entity in mention.entity_ids[:MOST_SEEDS]:
            seeds[entity] = seeds.get(entity, 0.0) + float(graph.rarity[entity]) / len(mention.entity_ids)
    total = sum(seeds.values())
    if total <= 0:
        return []
    shares = np.array(list(seeds.values()), np.float32) / total
    found = spread(graph.rows, np.array(list(seeds), np.int32), shares)[first:]
    found[named] = 0
    best = np.argsort(-found, kind="stable")[:top_k]
    article = bool(named) or any(one < first and graph.view.types[one] == ARTICLE for one in seeds)
    scores = np.minimum(found[best] / SURE_OF_ARTICLE, 1.0) if article else np.minimum(found[best] / SURE_OF_NAME, 1.0) * BY_NAME
    return [NearPassage(int(graph.chunk_ids[at]), round(float(score), 4)) for at, score in zip(best, scores, strict=True) if score >= LEAST]


def _passages(graph: _Graph, chunk_ids: Sequence[int]) -> list[int]:
    """Where these chunks are among those of the graph; those that it does not have are left out."""
    import numpy as np

    ids = graph.chunk_ids
    places = np.searchsorted(ids, np.array(chunk_ids, np.int64)).tolist()
    return [at for at, one in zip(places, chunk_ids, strict=True) if at < len(ids) and int(ids[at]) == one]


def _read(database: Database, key: _Key, version: tuple[int, int], view: GraphView) -> _Graph:
    import numpy as np

    from qzbrain.graph.pagerank import rows

    said_entities, said_chunks = _said(database, key, view)
    name_entities, name_chunks, counts = _named(database, key, view)
    chunk_ids = np.unique(np.concatenate([said_chunks, name_chunks]))
    entities, passages = len(view.names), len(chunk_ids)
    stands_in = np.bincount(name_entities, minlength=entities)
    rarity = np.log1p(passages / np.maximum(stands_in, 1)) / np.log1p(max(passages, 1))
    kept = stands_in[name_entities] <= max(_COMMON * passages, 20)
    name_entities, name_chunks, counts = name_entities[kept], name_chunks[kept], counts[kept]
    contained = np.isin(view.relations, [n for n, name in enumerate(view.relation_names) if name == CONTAINS])
    left: list[NDArray[Any]] = [view.heads, said_entities, name_entities]
    right: list[NDArray[Any]] = [view.tails, entities + np.searchsorted(chunk_ids, said_chunks), entities + np.searchsorted(chunk_ids, name_chunks)]
    weights: list[NDArray[Any]] = [np.where(contained, _CONTAINED, 1.0), np.ones(len(said_chunks)), rarity[name_entities] * np.log1p(counts)]
    built = rows(
        entities + passages, np.concatenate(left).astype(np.int32), np.concatenate(right).astype(np.int32), np.concatenate(weights).astype(np.float32)
    )
    return _Graph(version, view, chunk_ids, built, rarity.astype(np.float32))


def _said(database: Database, key: _Key, view: GraphView) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(entity, chunk) of what is said in chunks: of a chapter's contents that which is contained, of a reference or a definition what it belongs to."""
    import numpy as np

    kb_id, ceiling = key
    query = select(graph_mentions.c.triple_id, graph_mentions.c.chunk_id, graph_mentions.c.extractor)
    if ceiling is not None:
        query = query.where(readable(graph_mentions.c.document_id, ceiling))
    heads, tails, found = view.heads.tolist(), view.tails.tolist(), set[tuple[int, int]]()
    with database.read() as connection:
        told = connection.execute(query.where(graph_mentions.c.kb_id == kb_id, graph_mentions.c.chunk_id > 0)).all()
    if not told:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    wanted = np.array([row[0] for row in told], np.int64)
    places = np.minimum(np.searchsorted(view.triple_ids, wanted), max(len(view.triple_ids) - 1, 0))
    there = (view.triple_ids[places] == wanted).tolist() if len(view.triple_ids) else [False] * len(told)
    for row, at, known in zip(told, places.tolist(), there, strict=True):
        if known:
            if row.extractor != "structure":
                found.add((heads[at], row.chunk_id))
            if row.extractor not in ("reference", "definition"):
                found.add((tails[at], row.chunk_id))
    pairs = np.array(sorted(found), np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _named(database: Database, key: _Key, view: GraphView) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(entity, chunk, times) of what is named in chunks; an entity with several names in one chunk counts by the most frequent."""
    import numpy as np

    kb_id, ceiling = key
    names = {row.id: row.name_key for row in database.rows(select(graph_names.c.id, graph_names.c.name_key).where(graph_names.c.kb_id == kb_id))}
    entities = {number: view.linker.ids(name) for number, name in names.items()}
    query = select(graph_links.c.name_id, graph_links.c.chunk_id, graph_links.c.count).join(graph_names, graph_names.c.id == graph_links.c.name_id)
    if ceiling is not None:
        query = query.join(chunks, chunks.c.id == graph_links.c.chunk_id).join(documents, documents.c.id == chunks.c.document_id)
        query = query.where(documents.c.level <= ceiling)
    found: dict[tuple[int, int], int] = {}
    with database.read() as connection:
        for name, chunk, count in connection.execute(query.where(graph_names.c.kb_id == kb_id)):
            for entity in entities.get(name, ()):
                found[entity, chunk] = max(found.get((entity, chunk), 0), count)
    if not found:
        empty: Any = np.empty(0, np.int64)
        return empty, empty, empty
    pairs = np.array(list(found), np.int64)
    return pairs[:, 0], pairs[:, 1], np.fromiter(found.values(), np.int64, len(found))
