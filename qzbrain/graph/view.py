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
_MANY = 1000


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

    @cached_property
    def linker(self) -> Linker:
        """Names and aliases, to the numbers of entities."""
        names = ((name_key(name), number) for number, name in enumerate(self.names) if number not in self.same)
        return Linker([*names, *((name_key(alias), self.same.get(number, number)) for alias, number in self.aliases)])

    @cached_property
    def _out(self) -> tuple[Ints, Ints]:
        return _rows(self.heads, len(self.names))

    @cached_property
    def _in(self) -> tuple[Ints, Ints]:
        return _rows(self.tails, len(self.names))

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
        """(relation, forward, triples) of an entity, as they come."""
        found: list[tuple[int, bool, int]] = []
        for (starts, order), forward in ((self._out, True), (self._in, False)):
            kinds, counts = _counts(self.relations[order[starts[entity] : starts[entity + 1]]])
            found += [(kind, forward, count) for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True)]
        return found

    def others(self, entity: int, relation: int, *, forward: bool, most: int | None = None) -> list[Edge]:
        """Its triples of one relation and direction, in the order of triples."""
        starts, order = self._out if forward else self._in
        found = order[starts[entity] : starts[entity + 1]]
        found = found[self.relations[found] == relation][:most]
        others = (self.tails if forward else self.heads)[found].tolist()
        return [Edge(triple, relation, other, forward) for triple, other in zip(found.tolist(), others, strict=True)]


def _rows(ends: Ints, entities: int) -> tuple[Ints, Ints]:
    """Triples by one of their ends: (starts, order): those of entity e are order[starts[e]:starts[e + 1]], ascending."""
    starts = np.zeros(entities + 1, np.int32)
    np.cumsum(np.bincount(ends, minlength=entities), out=starts[1:])
    return starts, np.argsort(ends, kind="stable").astype(np.int32)


def _counts(kinds: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which there are, ascending, and how often; a hub's are counted without being sorted."""
    if len(kinds) < _MANY:
        found, counts = np.unique(kinds, return_counts=True)
        return found.astype(np.int64), counts
    every = np.bincount(kinds)
    there = np.flatnonzero(every)
    return there, every[there]
