"""Walks through a graph: what lies around an entity, and how two entities are connected. Pure; hubs are not walked through, so that cost stays bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from qzbrain.graph.view import Edge, GraphView

HUB_DEGREE = 200
"""An entity of more triples is shown and not walked through: half the graph would hang on it."""
MOST_SEEN = 20_000


@dataclass(frozen=True, slots=True)
class Step:
    """A triple on a walk, seen from `entity`."""

    entity: int
    edge: Edge


def neighbors(view: GraphView, entity: int, *, depth: int, relation: int | None, most: int) -> list[Step]:
    """Triples around an entity, nearest first, each once; at most `most`. `relation`: of this kind alone."""
    found: list[Step] = []
    triples: set[int] = set()
    seen = {entity}
    waiting = deque([(entity, 0)])
    while waiting and len(found) < most:
        at, far = waiting.popleft()
        for edge in _around(view, at, relation, most):
            if edge.triple not in triples:
                triples.add(edge.triple)
                found.append(Step(at, edge))
            if edge.other not in seen:
                seen.add(edge.other)
                if far + 1 < depth and view.degree(edge.other) <= HUB_DEGREE:
                    waiting.append((edge.other, far + 1))
            if len(found) >= most:
                break
    return found


def _around(view: GraphView, entity: int, relation: int | None, most: int) -> Iterable[Edge]:
    if relation is None:
        return view.edges(entity, most=most)
    return [edge for forward in (True, False) for edge in view.others(entity, relation, forward=forward, most=most)]


def path(view: GraphView, start: int, goal: int, *, max_hops: int) -> list[Step] | None:
    """A shortest way from one entity to another, in either direction of triples; None when there is none within `max_hops`.

    From both ends at once; the ends may be hubs, what lies between may not.
    """
    if start == goal:
        return []
    came = ({start: None}, {goal: None})  # type: tuple[dict[int, Step | None], dict[int, Step | None]]
    edges = ([start], [goal])
    for hop in range(max_hops):
        side = 0 if len(edges[0]) <= len(edges[1]) else 1
        met = _wave(view, edges[side], came[side], came[1 - side], first=hop < 2)
        if met is not None:
            return _joined(came[0], came[1], met)
        if not edges[side]:
            return None
    return None


def _wave(view: GraphView, edge_of: list[int], came: dict[int, Step | None], others: dict[int, Step | None], *, first: bool) -> int | None:
    """Go one step further on one side; the entity at which both sides meet, if they do."""
    reached: list[int] = []
    for at in edge_of:
        if not first and view.degree(at) > HUB_DEGREE:
            continue
        for edge in view.edges(at, most=MOST_SEEN):
            if edge.other in came:
                continue
            came[edge.other] = Step(at, edge)
            if edge.other in others:
                edge_of[:] = reached
                return edge.other
            reached.append(edge.other)
        if len(came) > MOST_SEEN:
            break
    edge_of[:] = reached
    return None


def _joined(forth: dict[int, Step | None], back: dict[int, Step | None], met: int) -> list[Step]:
    steps: list[Step] = []
    at = met
    while (step := forth[at]) is not None:
        steps.append(step)
        at = step.entity
    steps.reverse()
    at = met
    while (step := back[at]) is not None:
        edge = step.edge
        steps.append(Step(at, Edge(edge.triple, edge.relation, step.entity, not edge.forward)))
        at = step.entity
    return steps
