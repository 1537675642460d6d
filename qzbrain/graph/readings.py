"""Ways to take a question: which named entity it starts from, and which relations it follows from there, in which directions, over one to three steps.

Each way has a score among the others. Pure over a view; what it costs does not grow with the triples that an entity has, but with those that are followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from qzbrain.graph.fitting import Fit, Relation, fits, label_key, prepared
from qzbrain.graph.intent import MARK, Rest, Span, squeezed, tidied
from qzbrain.graph.linking import Mention
from qzbrain.graph.view import GraphView, Ints

HUB = 4000
STEP = 0.55
"""Each of several steps must be named this well: by its label, or nearly."""
_SURE_STEP = 0.5
_ENTITIES = 20
"""Of one name so many entities are looked at."""
_BEST = 4
"""From so many steps, of those that may come at one place, a reading goes on."""
_FORWARD = 0.1
_NEAR = 0.35
_DATED = re.compile(r"\d{4}|年|月|世纪")
_OTHER = re.compile(r"在?哪里|在?哪儿|在哪|何处|什么地方|哪国人|(?:做|干)什么的?|(?<![a-z])(?:where|do for a living)(?![a-z])")
_PLACES = re.compile(r"[地址处国省市区县州站点院校馆部场]|place|location|country|city|birth|head ?quarter|based|located|address|mater|region")
_TIMES = re.compile(r"日期|时间|年|date|time|year")
_WORK = re.compile(r"[职业务营途用能行]|occupation|profession|job|industry")
_MORE = re.compile(r"还|其他|其它|别的|另外|另|(?<![a-z])(?:other|else|also|another)(?![a-z])")
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
        some = list(explained)
        left = min(self.last.left([*self.fit.words, *some]), self.last.left([*self.fit.spans, *some]))
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
            said: list[tuple[Fit, Reading]] = []
            here = np.array([entity], np.int32)
            for relation, forward, _count in some:
                words = fits(self.relations[relation], rest)[0 if forward else 1]
                fit = self._valued(words, relation, forward, rest, here)
                evidence, sure = fit.score, fit.sure
                if near and evidence < 0.8:
                    evidence += _NEAR * near[relation] * (1.0 if forward else 0.5)
                    sure = max(sure, 0.5 * near[relation]) if near[relation] > 0.9 else sure
                score = base + evidence + (_FORWARD if forward else 0.0)
                one = Reading(score, mention, entity, ((relation, forward),), rest, rest, fit, evidence, sure)
                found.append(one)
                if words.score >= STEP and words.sure >= _SURE_STEP:
                    said.append((words, replace(one, fit=words, sure=words.sure)))
            if hops > 1:
                for words, one in _best(said):
                    found += self._onward(one, base, [words.score], hops)
        return found

    def _onward(self, reading: Reading, base: float, scores: list[float], hops: int) -> list[Reading]:
        """What follows from where a reading leads, by the words that it leaves."""
        span = reading.fit.span
        rest = reading.last.joined(span) if span is not None else None
        if rest is None or not rest.goes_on:
            return []
        reached = self.ends(reading)
        found: list[tuple[Fit, Reading]] = []
        for relation, forward in self.view.relations_around(reached):
            words = fits(self.relations[relation], rest)[0 if forward else 1]
            back = relation == reading.path[-1][0] and forward != reading.path[-1][1]
            if words.score < STEP or words.sure < _SURE_STEP or (back and not _MORE.search(rest.text)):
                continue
            fit = self._valued(words, relation, forward, rest, reached)
            evidence = 0.5 * max([*scores, fit.score]) + 0.5 * sum([*scores, fit.score])
            path = (*reading.path, (relation, forward))
            one = Reading(base + evidence, reading.mention, reading.entity, path, reading.rest, rest, fit, evidence, min(reading.sure, fit.sure))
            found.append((words, one))
        found = _best(found)
        further = [
            more
            for words, one in (found if len(reading.path) + 1 < hops else ())
            for more in self._onward(replace(one, fit=words, sure=min(reading.sure, words.sure)), base, [*scores, words.score], hops)
        ]
        return [*(one for _, one in found), *further]

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

    def _valued(self, fit: Fit, relation: int, forward: bool, rest: Rest, entities: Ints) -> Fit:
        """How well the relation of these entities answers, with a look at what its values are like."""
        asked = rest.asked
        if forward and (asked.time or asked.amount) and (fit.score < 1.2 or asked.time):
            _, others, _ = self.view.reached(entities, relation, forward=True, most=1)
            value = self.view.names[int(others[0])] if len(others) else ""
            if (_DATED if asked.time else _DIGITS).search(value):
                return Fit(fit.score + 0.15, min(1.0, fit.sure + 0.1) if fit.sure > 0.2 else fit.sure, fit.spans, fit.also)
            if asked.time and not _DIGITS.search(value):
                return Fit(fit.score * 0.6, fit.sure * 0.6, fit.spans, fit.also)
        if fit.score > 0 and self._asks_other(relation, forward, rest, fit):
            return Fit(max(0.01, fit.score - 0.25), fit.sure * 0.6, fit.spans, fit.also)
        return fit

    def _asks_other(self, relation: int, forward: bool, rest: Rest, fit: Fit) -> bool:
        """Whether a place, or what somebody does, is asked for, and that is not what the relation tells."""
        asks = _OTHER.search(rest.text)
        if asks is None or not forward or any(start < asks.end() and asks.start() < end for start, end in fit.words):
            return False
        key = self.relations[relation].key
        return not (_PLACES.search(key) and not _TIMES.search(key) if rest.asked.place else _WORK.search(key))

    def _typed(self, entity: int, rest: Rest) -> float:
        """More for an entity whose type stands in the question."""
        kind = self.view.types[entity]
        return 0.2 if kind and label_key(kind) in rest.text else 0.0


def _best(said: list[tuple[Fit, Reading]]) -> list[tuple[Fit, Reading]]:
    """The few steps that the words mean best: where many labels are alike, not each of them is gone on from."""
    return sorted(said, key=lambda one: -one[0].score)[:_BEST]


def _firsts(some: Ints) -> Ints:
    """Each once, in the order of their first appearance."""
    _, at = np.unique(some, return_index=True)
    return some[np.sort(at)]
