"""Ways to take a question: which named entity it starts from, and which relations it follows from there, in which directions, over one to three steps.

Each way has a score among the others. Pure over a view; what it costs does not grow with the triples that an entity has, but with those that are followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from qzbrain.graph.fitting import NONE, Fit, Relation, fits, label_key, prepared
from qzbrain.graph.intent import MARK, Rest, Span, squeezed, tidied
from qzbrain.graph.linking import Mention
from qzbrain.graph.view import GraphView, Ints

HUB = 4000
STEP = 0.55
"""Each of several steps must be named this well: by its label, or nearly."""
_SURE_STEP = 0.5
_ENTITIES = 20
"""Of one name so many entities are looked at."""
_FORWARD = 0.1
_NEAR = 0.35
_DATED = re.compile(r"\d{4}|年|月|世纪")
_DIGITS = re.compile(r"\d")
_QUOTES = re.compile(r"[《》〈〉“”\"「」『』]|‘|(?<![a-z])'|'(?![a-z])")
_ENDS = re.compile(r"[?？.。!！,，;；]+$")


@dataclass(frozen=True)
class Reading:
    """One way. `path`: (relation, forward) of each step; `rest`: the question as its first step sees it, `last` as its last one does, which `fit` fits."""

    score: float
    mention: Mention
    entity: int
    path: tuple[tuple[int, bool], ...]
    rest: Rest
    last: Rest
    fit: Fit
    evidence: float
    """What the words say for it, without what the entity's name says."""
    sure: float
    """How certainly each step is meant, of the least certain one."""

    def confidence(self, explained: Iterable[Span] = ()) -> float:
        """0..1: how certain the step is, less the more of the question is left unexplained."""
        left = self.last.left([*self.fit.spans, *explained])
        sure = self.sure * (0.5 if len(self.mention.key) == 1 else 1.0)
        return min(1.0, sure) / (1 + 0.45 * left)


def rest_of(question: str, span: Span) -> Rest:
    """The question with MARK for this stretch."""
    text = _QUOTES.sub("", squeezed(f"{question[: span[0]]}{MARK}{question[span[1] :]}"))
    return Rest(tidied(_ENDS.sub("", text)))


@dataclass
class Readings:
    """Readings over one view."""

    view: GraphView
    _cache: dict[str, float] = field(default_factory=dict)

    @cached_property
    def relations(self) -> list[Relation]:
        """The view's relations, made ready."""
        return prepared(self.view.relation_names, self.view.cues)

    def of(self, rest: Rest, mention: Mention, *, hops: int, near: Sequence[float] = ()) -> list[Reading]:
        """All readings that start from what `mention` names; `near`: by relation, 0..1, how near its label is to the question by other means."""
        found: list[Reading] = []
        for entity in mention.entity_ids[:_ENTITIES]:
            some = self.view.relations_of(entity)
            base = 0.02 * min(len(mention.key), 10) + 0.01 * min(len(some), 40) + self._typed(entity, rest)
            for relation, forward, _count in some:
                fit = self._fit(relation, forward, rest, entity)
                evidence, sure = fit.score, fit.sure
                if near and evidence < 0.8:
                    evidence += _NEAR * near[relation] * (1.0 if forward else 0.5)
                    sure = max(sure, 0.5 * near[relation]) if near[relation] > 0.9 else sure
                score = base + evidence + (_FORWARD if forward else 0.0)
                found.append(Reading(score, mention, entity, ((relation, forward),), rest, rest, fit, evidence, sure))
                if hops > 1 and fit.score >= STEP and fit.sure >= _SURE_STEP:
                    found += self._onward(found[-1], base, [fit.score], hops)
        return found

    def _onward(self, reading: Reading, base: float, scores: list[float], hops: int) -> Iterator[Reading]:
        """What follows from where a reading leads, by the words that it leaves."""
        span = reading.fit.span
        rest = reading.last.joined(span) if span is not None else None
        if rest is None or not rest.left(()):
            return
        reached = self.ends(reading)
        for relation, forward in self.view.relations_around(reached):
            fit = fits(self.relations[relation], rest)[0 if forward else 1]
            back = relation == reading.path[-1][0] and forward != reading.path[-1][1]
            if fit.score < STEP or fit.sure < (0.9 if back else _SURE_STEP):
                continue
            more = [*scores, fit.score]
            evidence = 0.7 * sum(more) if len(more) == 2 else 0.55 * sum(more)
            path = (*reading.path, (relation, forward))
            one = Reading(base + evidence, reading.mention, reading.entity, path, reading.rest, rest, fit, evidence, min(reading.sure, fit.sure))
            yield one
            if len(path) < hops:
                yield from self._onward(one, base, more, hops)

    def ends(self, reading: Reading) -> Ints:
        """The entities to which it leads, at most HUB of them."""
        reached = np.array([reading.entity], np.int32)
        for relation, forward in reading.path:
            _, others, _ = self.view.reached(reached, relation, forward=forward, most=HUB)
            reached = _firsts(others)
        return reached

    def nearness(self, cosines: Mapping[str, float] | None) -> list[float]:
        """By relation, 0..1 among this graph's labels: cosines of one model lie in a narrow band, so that only their order and distance tell."""
        if not cosines:
            return []
        known = [cosines.get(name) for name in self.view.relation_names]
        given = [one for one in known if one is not None]
        low, high = (float(np.median(given)), max(given)) if given else (0.0, 0.0)
        if high <= low:
            return []
        return [max(0.0, (one - low) / (high - low)) ** 2 if one is not None else 0.0 for one in known]

    def _fit(self, relation: int, forward: bool, rest: Rest, entity: int) -> Fit:
        fit = fits(self.relations[relation], rest)[0 if forward else 1]
        if forward and fit.score < 1.2 and (rest.asked.time or rest.asked.amount):
            pattern = _DATED if rest.asked.time else _DIGITS
            _, others, _ = self.view.reached(np.array([entity], np.int32), relation, forward=True, most=1)
            if pattern.search(self.view.names[int(others[0])]):
                return Fit(fit.score + 0.15, min(1.0, fit.sure + 0.1) if fit.sure > 0.2 else fit.sure, fit.spans)
        return fit if fit is not NONE else NONE

    def _typed(self, entity: int, rest: Rest) -> float:
        """More for an entity whose type stands in the question."""
        kind = self.view.types[entity]
        return 0.2 if kind and label_key(kind) in rest.text else 0.0


def _firsts(some: Ints) -> Ints:
    """Each once, in the order of their first appearance."""
    _, at = np.unique(some, return_index=True)
    return some[np.sort(at)]
