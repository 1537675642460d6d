"""What a graph is about, at a glance: types, relations, and the entities that most hangs on. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qzbrain.graph.view import GraphView

MOST_TYPES = 200
MOST_RELATIONS = 2000


@dataclass(frozen=True, slots=True)
class Hub:
    """An entity with the number of its triples."""

    id: int
    name: str
    type: str
    degree: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Types and relations with their counts, and entities by degree; each most first. At most MOST_TYPES and MOST_RELATIONS of them."""

    types: Sequence[tuple[str, int]]
    relations: Sequence[tuple[str, int]]
    hubs: Sequence[Hub]


def overview(view: GraphView, *, limit: int) -> Overview:
    """At most `limit` hubs; those of one degree by id."""
    types = Counter(kind for number, kind in enumerate(view.types) if number not in view.same)
    counts = np.bincount(view.relations, minlength=len(view.relation_names)).tolist()
    relations = sorted(zip(view.relation_names, counts, strict=True), key=lambda one: (-one[1], one[0]))
    degrees = np.bincount(view.heads, minlength=len(view.names)) + np.bincount(view.tails, minlength=len(view.names))
    best = np.argsort(-degrees, kind="stable")[:limit].tolist()
    hubs = [Hub(int(view.ids[one]), view.names[one], view.types[one], int(degrees[one])) for one in best if degrees[one]]
    return Overview(sorted(types.items(), key=lambda one: (-one[1], one[0]))[:MOST_TYPES], relations[:MOST_RELATIONS], hubs)
