"""One knowledge base's graph in memory: names, neighbours by relation, in both directions. Built from rows, immutable, safe for threads.

Entities and triples are numbered from 0 in the order of their ids; `ids` and `triple_ids` give those. Neighbours lie in numpy arrays (compressed
rows), so that a third of a million triples take a few megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qzbrain.graph.linking import Linker, name_key

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Edge:
    """A triple as seen from one of its ends. `forward`: that end is its head. Numbers, not ids."""

    triple: int
    relation: int
    other: int
    forward: bool


@dataclass(frozen=True)
class GraphView:
    """`heads[i]`, `relations[i]`, `tails[i]` are the triple `triple_ids[i]`; `names[e]`, `types[e]` the entity `ids[e]`."""

    version: int
    ids: NDArray[np.int64]
    names: Sequence[str]
    types: Sequence[str]
    aliases: Sequence[tuple[str, int]]
    relation_names: Sequence[str]
    triple_ids: NDArray[np.int64]
    heads: Ints
    relations: Ints
    tails: Ints
    same: Mapping[int, int] = field(default_factory=dict)
    """Entities without a type that are the only typed one of their name: by number. They have no triples of their own here."""
    cues: Sequence[tuple[Sequence[str], Sequence[str]]] = ()
    """By relation: the words set for it, forward (they ask for its tail) and backward (for its head). () when none are set for any."""

    @cached_property
    def linker(self) -> Linker:
        """Names and aliases, to the numbers of entities."""
        names = ((name_key(name), number) for number, name in enumerate(self.names) if number not in self.same)
        return Linker([*names, *((name_key(alias), self.same.get(number, number)) for alias, number in self.aliases)])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Names of relations, those of most triples first."""
        counts = np.bincount(self.relations, minlength=len(self.relation_names))
        return tuple(self.relation_names[one] for one in np.argsort(-counts, kind="stable").tolist())

    @cached_property
    def _out(self) -> tuple[Ints, Ints]:
        return _rows(self.heads, len(self.names))

    @cached_property
    def _in(self) -> tuple[Ints, Ints]:
        return _rows(self.tails, len(self.names))

    @cached_property
    def _out_kinds(self) -> _Kinds:
        return _kinds(self.heads, self.relations, len(self.names), len(self.relation_names))

    @cached_property
    def _in_kinds(self) -> _Kinds:
        return _kinds(self.tails, self.relations, len(self.names), len(self.relation_names))

    def degree(self, entity: int) -> int:
        """Triples that it is part of."""
        return sum(int(starts[entity + 1] - starts[entity]) for starts, _ in (self._out, self._in))

    def edges(self, entity: int, *, most: int | None = None) -> Iterator[Edge]:
        """Its triples, those in which it is the head first, in the order of triples; at most `most` in each direction."""
        for (starts, order), forward in ((self._out, True), (self._in, False)):
            found = order[starts[entity] : starts[entity + 1]][:most]
            others = (self.tails if forward else self.heads)[found]
            for triple, relation, other in zip(found.tolist(), self.relations[found].tolist(), others.tolist(), strict=True):
                yield Edge(triple, relation, other, forward)

    def relations_of(self, entity: int) -> list[tuple[int, bool, int]]:
        """(relation, forward, triples) of an entity, by relation, those in which it is the head first."""
        found: list[tuple[int, bool, int]] = []
        for side, forward in ((self._out_kinds, True), (self._in_kinds, False)):
            low, high = int(side.entities[entity]), int(side.entities[entity + 1])
            counts = np.diff(side.begins[low : high + 1])
            found += [(kind, forward, count) for kind, count in zip(side.kinds[low:high].tolist(), counts.tolist(), strict=True)]
        return found

    def relations_around(self, entities: Ints) -> list[tuple[int, bool]]:
        """(relation, forward) that any of these entities has."""
        found: list[tuple[int, bool]] = []
        for side, forward in ((self._out_kinds, True), (self._in_kinds, False)):
            rows, _ = _ranges(side.entities[entities], side.entities[entities + 1])
            found += [(kind, forward) for kind in np.unique(side.kinds[rows]).tolist()]
        return found

    def others(self, entity: int, relation: int, *, forward: bool, most: int | None = None) -> list[Edge]:
        """Its triples of one relation and direction, in the order of triples."""
        triples, others, _ = self.reached(np.array([entity], np.int32), relation, forward=forward, most=most)
        return [Edge(triple, relation, other, forward) for triple, other in zip(triples.tolist(), others.tolist(), strict=True)]

    def reached(self, entities: Ints, relation: int, *, forward: bool, most: int | None = None) -> tuple[Ints, Ints, NDArray[np.int64]]:
        """Triples of one relation and direction of several entities, entity after entity: (triples, their other ends, places of the entities in `entities`).

        At most `most`. Costs what it gives, however many other triples the entities have.
        """
        side = self._out_kinds if forward else self._in_kinds
        rows, places = _ranges(side.entities[entities], side.entities[entities + 1])
        wanted = side.kinds[rows] == relation
        rows, places = rows[wanted], places[wanted]
        found, at = _ranges(side.begins[rows], side.begins[rows + 1], most)
        triples = side.order[found]
        return triples, (self.tails if forward else self.heads)[triples], places[at]


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Triples by one of their ends and by relation. Entity e has the groups `entities[e]:entities[e + 1]`, group g is of the relation `kinds[g]` and has the
    triples `order[begins[g]:begins[g + 1]]`, ascending."""

    entities: Ints
    kinds: Ints
    begins: Ints
    order: Ints


def _kinds(ends: Ints, relations: Ints, entities: int, kinds: int) -> _Kinds:
    both = ends.astype(np.int64) * max(kinds, 1) + relations
    order = np.argsort(both, kind="stable").astype(np.int32)
    both = both[order]
    firsts = np.flatnonzero(np.diff(both, prepend=-1)).astype(np.int32)
    groups = both[firsts]
    starts = np.zeros(entities + 1, np.int32)
    np.cumsum(np.bincount(groups // max(kinds, 1), minlength=entities), out=starts[1:])
    return _Kinds(starts, (groups % max(kinds, 1)).astype(np.int32), np.append(firsts, np.int32(len(order))), order)


def _ranges(lows: Ints, highs: Ints, most: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All numbers of several ranges, one range after the other, and for each the place of its range; at most `most` numbers."""
    if len(lows) == 1:
        low, high = int(lows[0]), int(highs[0])
        found = np.arange(low, high if most is None else min(high, low + most), dtype=np.int64)
        return found, np.zeros(len(found), np.int64)
    sizes = (highs - lows).astype(np.int64)
    ends = np.cumsum(sizes)
    if most is not None and len(ends) and ends[-1] > most:
        sizes = np.clip(sizes - np.maximum(ends - most, 0), 0, None)
        ends = np.cumsum(sizes)
    places = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    return np.arange(len(places), dtype=np.int64) - (ends - sizes)[places] + lows.astype(np.int64)[places], places


def _rows(ends: Ints, entities: int) -> tuple[Ints, Ints]:
    """Triples by one of their ends: (starts, order): those of entity e are order[starts[e]:starts[e + 1]], ascending."""
    starts = np.zeros(entities + 1, np.int32)
    np.cumsum(np.bincount(ends, minlength=entities), out=starts[1:])
    return starts, np.argsort(ends, kind="stable").astype(np.int32)
