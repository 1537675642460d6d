"""A graph's answer as others are told it: the triples that say it, each with where it is said, in the order in which the answer goes through them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qzbrain.graph.base import Entity, Triple

if TYPE_CHECKING:
    from qzbrain.graph.qa import GraphAnswer
    from qzbrain.graph.view import Edge, GraphView

MOST_STEPS = 30
"""Triples that are read with their places; a longer list says how many more there are."""
STRUCTURE = "structure"
_SINGLE = ("values", "list")


@dataclass(frozen=True, slots=True)
class AnswerStep:
    """A triple of an answer; `forward`: the answer goes from its head to its tail."""

    triple: Triple
    forward: bool

    @property
    def start(self) -> Entity:
        """Where the step begins."""
        return self.triple.head if self.forward else self.triple.tail

    @property
    def end(self) -> Entity:
        """Where it leads."""
        return self.triple.tail if self.forward else self.triple.head


@dataclass(frozen=True, slots=True)
class Answered:
    """What a graph answers. `kind`: values, list, count, compare, two_hop, path; '' for nothing. `truth`: yes or no, where that was asked.

    `values`: what was asked for, all of it; `steps`: the first MOST_STEPS triples that say so, `left_out` how many more there are.
    """

    kb_id: str = ""
    kind: str = ""
    relation: str = ""
    values: tuple[str, ...] = ()
    steps: tuple[AnswerStep, ...] = ()
    left_out: int = 0
    confidence: float = 0.0
    truth: bool | None = None

    @property
    def of_structure(self) -> bool:
        """Whether it rests on what contains what in a document: that leads to passages, and answers nothing (a law's 包含 are chapters, not its articles)."""
        return any(step.triple.places and all(place.extractor == STRUCTURE for place in step.triple.places) for step in self.steps)

    def within(self, document_ids: Collection[str]) -> Answered:
        """What these documents alone say of it. A count, a comparison or a way of which they do not say all is no answer of theirs."""
        steps = []
        for step in self.steps:
            places = tuple(one for one in step.triple.places if one.document_id in document_ids)
            if places:
                steps.append(replace(step, triple=replace(step.triple, places=places)))
        if len(steps) == len(self.steps) and not self.left_out:
            return replace(self, steps=tuple(steps))
        if self.kind not in _SINGLE or self.truth is not None or not steps:
            return Answered()
        return replace(self, steps=tuple(steps), values=tuple(dict.fromkeys(one.end.name for one in steps)), left_out=0)


def answered(kb_id: str, found: GraphAnswer, view: GraphView, triples: Callable[[Sequence[int]], Sequence[Triple]]) -> Answered:
    """The answer with its triples read (`triples`: those of these ids). One whose triples are no longer there is none."""
    edges = list({edge.triple: edge for edge in found.steps}.values())
    shown = [(int(view.triple_ids[edge.triple]), edge.forward) for edge in _shown(edges, view)]
    read = {one.id: one for one in triples([one for one, _ in shown])}
    if len(read) < len(shown):
        return Answered()
    steps = in_order([AnswerStep(read[one], forward) for one, forward in shown])
    return Answered(kb_id, found.kind, found.relation, found.values, tuple(steps), len(edges) - len(shown), found.confidence, found.truth)


def _shown(edges: Sequence[Edge], view: GraphView) -> Sequence[Edge]:
    """At most MOST_STEPS: the first of them, and those that lead to where they start."""
    if len(edges) <= MOST_STEPS:
        return edges
    chosen = list(edges[: MOST_STEPS // 2])
    wanted = {_start(edge, view) for edge in chosen}
    for edge in edges[MOST_STEPS // 2 :]:
        if edge.other in wanted and len(chosen) < MOST_STEPS:
            chosen.append(edge)
            wanted.add(_start(edge, view))
    rest = [edge for edge in edges[MOST_STEPS // 2 :] if edge not in chosen]
    return [*chosen, *rest[: MOST_STEPS - len(chosen)]] if len(chosen) == MOST_STEPS // 2 else chosen


def _start(edge: Edge, view: GraphView) -> int:
    return int((view.heads if edge.forward else view.tails)[edge.triple])


def in_order(steps: Sequence[AnswerStep]) -> list[AnswerStep]:
    """As one says them: what a step starts from comes before it. Steps that hang on nothing, or on each other, stay in their order."""
    ends = {step.end.id for step in steps}
    reached = [step for step in steps if step.start.id not in ends]
    waiting = [step for step in steps if step.start.id in ends]
    while waiting:
        there = {step.end.id for step in reached}
        after = [step for step in waiting if step.start.id in there]
        if not after:
            break
        reached += after
        waiting = [step for step in waiting if step.start.id not in there]
    return [*reached, *waiting]
