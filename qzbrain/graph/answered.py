"""A graph's answer as others are told it: the triples that say it, each with where it is said, in the order in which the answer goes through them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qzbrain.graph.base import Entity, GraphStore, Triple

if TYPE_CHECKING:
    from qzbrain.graph.qa import GraphAnswer
    from qzbrain.graph.view import GraphView

MOST_STEPS = 30
"""Triples that are read with their places; a longer list says how many more there are."""
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


def answered(kb_id: str, found: GraphAnswer, view: GraphView, store: GraphStore) -> Answered:
    """The answer with its triples read. One whose triples are no longer there is none."""
    shown = list(dict.fromkeys((int(view.triple_ids[edge.triple]), edge.forward) for edge in found.steps))
    read = {one.id: one for one in store.triples(kb_id, [one for one, _ in shown[:MOST_STEPS]])}
    steps = tuple(AnswerStep(read[one], forward) for one, forward in shown[:MOST_STEPS] if one in read)
    if len(steps) < len(shown[:MOST_STEPS]):
        return Answered()
    return Answered(kb_id, found.kind, found.relation, found.values, steps, len(shown) - len(steps), found.confidence, found.truth)
