"""Answers from a graph without a language model: link the names, see which relation the rest of the question means, in which direction, over one
step or two; lists and counts. Ranks triples; says nothing of what it does not find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from qzbrain.graph.intent import Asked, asked, fit, label_weights
from qzbrain.graph.linking import Mention
from qzbrain.graph.view import Edge, GraphView

_JOINS = 0.5
_ON_THE_WAY = 0.01
MOST_VALUES = 1000
HUB = 4000
_STEP = 0.55
"""Each of two steps must be named this well: by its label, or nearly."""


@dataclass(frozen=True, slots=True)
class GraphAnswer:
    """`values`: what was asked for, best first (names, or one number for a count); `steps`: the triples that say so; `score` 0 = nothing found.

    `kind`: values | list | count | compare (the value is the name that has more) | two_hop | path (the names on the way) | "" for nothing.
    `relation`: the labels of the relations followed, joined by " > ". `confidence`, 0..1: how sure it is that the question asks just this; an ordinary
    question that merely names an entity gets a low one. `truth`: for a question to be answered by yes or no (`values` then tell what is so).
    """

    mentions: tuple[Mention, ...] = ()
    values: tuple[str, ...] = ()
    steps: tuple[Edge, ...] = ()
    score: float = 0.0
    counted: bool = False
    kind: str = ""
    relation: str = ""
    confidence: float = 0.0
    truth: bool | None = None


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to take the question."""

    score: float
    mention: Mention
    entity: int
    path: tuple[tuple[int, bool], ...]


@dataclass
class Answerer:
    """Answers over one view of a graph."""

    view: GraphView
    _weights: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self._weights = label_weights(self.view.relation_names)

    def answer(self, question: str, *, before: Sequence[str] = (), nearness: Mapping[str, float] | None = None) -> GraphAnswer:
        """The best reading's answer. `before`: earlier questions of the conversation, the newest last; what a pronoun stands for is looked for in them.

        `nearness`: by label of a relation, the cosine of its embedding to the question's.
        """
        mentions = self.view.linker.mentions(question) or self.view.linker.mentions(question, shortest=1)
        readings = [reading for mention in mentions for reading in self._readings(question, mention, mentions)]
        if not readings:
            return GraphAnswer(tuple(mentions))
        best = max(readings, key=lambda one: one.score)
        edges = self._followed(best)
        names = list(dict.fromkeys(self.view.names[edge.other] for edge in edges))
        wanted = asked(_without(question, [best.mention]))
        if wanted.counts and (len(names) > 1 or not _number(names)):
            return GraphAnswer(tuple(mentions), (str(len(names)),), tuple(edges), best.score, True, "count", self._labels(best), min(1.0, best.score / 2))
        kind = "two_hop" if len(best.path) > 1 else "list" if len(names) > 1 else "values"
        return GraphAnswer(tuple(mentions), tuple(names), tuple(edges), best.score, False, kind, self._labels(best), min(1.0, best.score / 2))

    def _labels(self, reading: _Reading) -> str:
        return " > ".join(self.view.relation_names[relation] for relation, _ in reading.path)

    def ranked(self, question: str, *, top_k: int) -> tuple[list[Mention], list[tuple[float, Edge, int]]]:
        """What the question names, and the triples that speak to it: (score, edge, the entity it is seen from), best first, each triple once.

        The best three readings take turns, so that one long list does not push out everything else.
        """
        mentions = self.view.linker.mentions(question) or self.view.linker.mentions(question, shortest=1)
        readings = sorted((one for mention in mentions for one in self._readings(question, mention, mentions)), key=lambda one: -one.score)
        named = {entity for mention in mentions for entity in mention.entity_ids}
        found: dict[int, tuple[float, Edge, int]] = {}
        best, rest = [self._edges(one, named) for one in readings[:3]], readings[3:]
        while any(best) and len(found) < top_k:
            for some in best:
                if some and len(found) < top_k:
                    one = some.pop(0)
                    found.setdefault(one[1].triple, one)
        for reading in rest:
            if len(found) >= top_k:
                break
            for one in self._edges(reading, named)[:2]:
                found.setdefault(one[1].triple, one)
        return mentions, sorted(found.values(), key=lambda one: -one[0])[:top_k]

    def _edges(self, reading: _Reading, named: set[int]) -> list[tuple[float, Edge, int]]:
        """A reading's triples with their scores; one that joins two entities of the question counts more."""
        found: list[tuple[float, Edge, int]] = []
        reached = [reading.entity]
        for number, (relation, forward) in enumerate(reading.path, 1):
            step = [(edge, one) for one in reached for edge in self.view.others(one, relation, forward=forward, most=HUB)][:MOST_VALUES]
            on_the_way = number < len(reading.path)
            found += [(reading.score + (_JOINS if edge.other in named else 0.0) - _ON_THE_WAY * on_the_way, edge, one) for edge, one in step]
            reached = list(dict.fromkeys(edge.other for edge, _ in step))[:MOST_VALUES]
        return sorted(found, key=lambda one: -one[0])

    def _readings(self, question: str, mention: Mention, mentions: Sequence[Mention]) -> list[_Reading]:
        rest = asked(_without(question, [mention]))
        found: list[_Reading] = []
        for entity in mention.entity_ids:
            fits = [(self._fit(relation, forward, rest), relation, forward, count) for relation, forward, count in self.view.relations_of(entity)]
            base = 0.02 * min(len(mention.key), 10) + 0.01 * len(fits)
            for score, relation, forward, _count in fits:
                one = score + (0.1 if forward else 0.0)
                found.append(_Reading(base + one, mention, entity, ((relation, forward),)))
                found += self._second(base, score, mention, entity, relation, forward, rest)
        return found

    def _second(
        self, base: float, score: float, mention: Mention, entity: int, relation: int, forward: bool, rest: Asked
    ) -> list[_Reading]:
        if score < _STEP:
            return []
        left = _used_up(rest, self.view.relation_names[relation])
        found = []
        for edge in self.view.others(entity, relation, forward=forward, most=20):
            for second, onward, _count in self.view.relations_of(edge.other):
                if second == relation and onward != forward:
                    continue
                more = self._fit(second, onward, left)
                if more >= _STEP:
                    found.append(_Reading(base + 0.7 * (score + more), mention, entity, ((relation, forward), (second, onward))))
        return found

    def _fit(self, relation: int, forward: bool, rest: Asked) -> float:
        return fit(self.view.relation_names[relation], rest, self._weights)

    def _followed(self, reading: _Reading) -> list[Edge]:
        edges: list[Edge] = []
        reached = [reading.entity]
        for relation, forward in reading.path:
            edges = [edge for one in reached for edge in self.view.others(one, relation, forward=forward, most=HUB)]
            reached = list(dict.fromkeys(edge.other for edge in edges))[:MOST_VALUES]
        return edges[:MOST_VALUES]


def _used_up(rest: Asked, label: str) -> Asked:
    """What is left of the question when one relation has had its words: what spoke for it speaks for no other."""
    spoken = "".join(c for c in rest.rest if c not in label.lower())
    labels = frozenset(meant for meant in rest.labels if meant not in label)
    return Asked(spoken, rest.counts, rest.lists, rest.kinds, labels)


def _without(question: str, mentions: Sequence[Mention]) -> str:
    for mention in sorted(mentions, key=lambda m: -m.start):
        question = f"{question[: mention.start]} {question[mention.end :]}"
    return question


def _number(names: Sequence[str]) -> bool:
    return len(names) == 1 and any(c.isdigit() for c in names[0])
