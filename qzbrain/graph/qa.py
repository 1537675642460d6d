"""Answers from a graph without a language model: link the names, see which relations the rest of the question means, in which direction, over one
step or several; lists, counts, comparisons, ways between two entities. Ranks triples; says nothing of what it does not find.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from qzbrain.graph import earlier
from qzbrain.graph.comparing import Compared, compared, comparison
from qzbrain.graph.fitting import label_key
from qzbrain.graph.intent import MARK, Span, content, squeezed
from qzbrain.graph.linking import Mention, name_key
from qzbrain.graph.readings import HUB, Reading, Readings, rest_of
from qzbrain.graph.view import Edge, GraphView, Ints
from qzbrain.graph.walks import MOST_SEEN
from qzbrain.graph.walks import path as way

MOST_VALUES = 1000
MOST_HOPS = 3
WAY_HOPS = 4
_JOINS = 0.5
_ON_THE_WAY = 0.01
_LEAST = 0.03
"""Less than this said by the words is nothing said."""
_ENOUGH = 0.5
"""An answer less sure than this is looked for in other ways."""
_TOLD = 0.3
"""An answer less sure than this is a guess, and no better than the other triples."""
_EARLIER = 3
_RERANKED = 6
_BY_CONFIDENCE = 0.5
_WAY = re.compile(
    r"(?:什么|啥|何种|哪些|怎样的)(?:样的)?(?:关系|联系|关联|渊源|交集)|(?:之间)?的?(?:关系|联系|关联)(?:是什么|如何|怎样|是啥)?$|怎么认识|如何认识|(?:有没有|有)(?:关系|联系|关联)"
    r"|(?<![a-z])(?:how (?:is|are) .* (?:related|connected|linked)|relation(?:ship)?s?|connections?|links? between)(?![a-z])"
)
_BOTH = re.compile(r"[、和与跟及,，]|都|同时|共同|又|(?<![a-z])(?:and|both)(?![a-z])")
_WHO = re.compile(r"谁|哪位|何人|什么人|(?<![a-z])who(?:m|se)?(?![a-z])")
_NUMBERS = re.compile(r"\d|^[约近]?[零一二三四五六七八九十百千万两]+余?[个位名家座所部条种人间]?$")
_KIN = re.compile(rf"^{MARK}(?:是|和|与|跟){MARK}(?:的|是)?(?:什么|谁|啥)(?:人|亲戚)?$|^(?:who|what) is {MARK} (?:to|for) {MARK}$")


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


Ranked = list[tuple[float, Edge, int]]


@dataclass(frozen=True, slots=True)
class _Found:
    """An answer with the reading that it comes from, and the steps with the entity that each is seen from."""

    answer: GraphAnswer
    reading: Reading | None = None
    seen: tuple[tuple[Edge, int], ...] = ()
    values: tuple[int, ...] = ()
    readings: tuple[Reading, ...] = ()


@dataclass
class Answerer:
    """Answers over one view of a graph. Safe for threads."""

    view: GraphView
    _readings: Readings = field(init=False)

    def __post_init__(self) -> None:
        self._readings = Readings(self.view)

    def answer(self, question: str, *, before: Sequence[str] = (), nearness: Mapping[str, float] | None = None) -> GraphAnswer:
        """The best reading's answer. `before`: earlier questions of the conversation, the newest last; what a pronoun stands for is looked for in them.

        `nearness`: by label of a relation, the cosine of its embedding to the question's.
        """
        return self._found(question, before, nearness, MOST_HOPS).answer

    def ranked(self, question: str, *, top_k: int, hops: int = 2, mode: str = "auto") -> tuple[list[Mention], Ranked]:
        """What the question names, and the triples that speak to it: (score, edge, the entity it is seen from), best first, each triple once.

        Those of the answer come first; then the best three readings take turns, so that one long list does not push out everything else. `hops`: how many
        steps a reading may have. `mode` "answer": those of the answer alone; "around": those of the named entities, whatever the words ask.
        """
        found = self._found(question, (), None, hops)
        mentions = list(found.answer.mentions)
        told = found.seen if mode != "around" and found.answer.confidence >= _TOLD else ()
        first = [(found.answer.score + 1.0, edge, seen) for edge, seen in told]
        if mode == "answer":
            return mentions, first[:top_k]
        readings = sorted(
            (one for one in found.readings or self._all(question, mentions, 1, ()) if mode != "around" or len(one.path) == 1), key=lambda one: -one.score
        )
        named = {entity for mention in mentions for entity in mention.entity_ids}
        chosen: dict[int, tuple[float, Edge, int]] = {}
        for one in first[: max(1, top_k // 2) if len(readings) > 1 else top_k]:
            chosen.setdefault(one[1].triple, one)
        best, rest = [self._edges(one, named, top_k) for one in readings[:3]], readings[3:]
        while any(best) and len(chosen) < top_k:
            for some in best:
                if some and len(chosen) < top_k:
                    one = some.pop(0)
                    chosen.setdefault(one[1].triple, one)
        for reading in rest:
            if len(chosen) >= top_k:
                break
            for one in self._edges(reading, named, 2)[:2]:
                chosen.setdefault(one[1].triple, one)
        return mentions, sorted(chosen.values(), key=lambda one: -one[0])[:top_k]

    # -- readings

    def _found(self, question: str, before: Sequence[str], nearness: Mapping[str, float] | None, hops: int) -> _Found:
        linker = self.view.linker
        mentions = linker.mentions(question) or linker.mentions(question, shortest=1)
        near = self._readings.nearness(nearness)
        special = self._way(question, mentions) or self._comparison(question, mentions)
        if special is not None:
            return special
        readings = self._all(question, mentions, hops, near)
        joint = self._joint(question, mentions, readings)
        best = replace(joint or self._best(question, mentions, readings), readings=tuple(readings))
        if best.answer.confidence < _ENOUGH:
            inside = [one for one in linker.all_mentions(question) if one not in mentions and len(one.key) > 1][:8]
            within = self._best(question, mentions, self._all(question, inside, hops, near))
            if within.answer.confidence > best.answer.confidence + 0.2:
                best = replace(within, readings=best.readings)
        if before and best.answer.confidence < _ENOUGH:
            other = self._gone_on(question, mentions, before[-_EARLIER:], hops, near)
            if other is not None and other.answer.confidence > best.answer.confidence:
                return other
        return best

    def _gone_on(self, question: str, mentions: Sequence[Mention], before: Sequence[str], hops: int, near: Sequence[float]) -> _Found | None:
        """The answer when the question goes on from those before it; None when it does not, or they were about nothing that is known."""
        stands = earlier.pronoun(question, mentions)
        names = earlier.only_names(question, mentions)
        if stands is None and not names and (mentions or not earlier.refers(question)):
            return None
        for number in range(len(before) - 1, -1, -1):
            last = self._found(before[number], before[:number], None, hops)
            if last.reading is None and not last.values:
                continue
            if names:
                rest = last.reading.rest if last.reading is not None else None
                readings = self._readings.of(rest, mentions[0], hops=hops, near=()) if rest is not None else []
            else:
                span, person = stands if stands is not None else ((0, 0), False)
                rest = rest_of(question if stands is not None else f" {question}", span)
                readings = [
                    replace(one, score=one.score + bonus)
                    for entity, bonus in self._meant(last, person=person, pronoun=stands is not None)
                    for one in self._readings.of(rest, Mention(*span, name_key(self.view.names[entity]), (entity,)), hops=hops, near=near)
                ]
            found = self._best(question, mentions, readings)
            if found.reading is not None:
                meant = Mention(found.reading.mention.start, found.reading.mention.end, found.reading.mention.key, found.reading.mention.entity_ids)
                return replace(found, answer=replace(found.answer, mentions=tuple(dict.fromkeys((meant, *mentions)))))
        return None

    def _meant(self, last: _Found, *, person: bool, pronoun: bool) -> list[tuple[int, float]]:
        """Entities that a question may go on about, each with what speaks for it: what the one before was about, and what it led to."""
        about = [] if last.reading is None else [last.reading.entity]
        led_to = list(last.values[:3]) if last.answer.kind in ("values", "two_hop", "compare") and not last.answer.counted else []
        asked_who = last.reading is not None and bool(_WHO.search(last.reading.rest.text))
        to = 0.3 if person and asked_who else 0.0
        return [*((one, 0.1 if not pronoun or not asked_who else 0.05) for one in about), *((one, to) for one in led_to)]

    def _all(self, question: str, mentions: Sequence[Mention], hops: int, near: Sequence[float]) -> list[Reading]:
        return [one for m in mentions for one in self._readings.of(rest_of(question, (m.start, m.end)), m, hops=hops, near=near)]

    def _best(self, question: str, mentions: Sequence[Mention], readings: Sequence[Reading]) -> _Found:
        some = sorted((one for one in readings if one.evidence >= _LEAST), key=lambda one: -one.score)[:_RERANKED]
        if not some:
            return _Found(GraphAnswer(tuple(mentions)))
        best = max(some, key=lambda one: one.score + _BY_CONFIDENCE * one.confidence())
        return self._told(question, mentions, best)

    def _joint(self, question: str, mentions: Sequence[Mention], readings: Sequence[Reading]) -> _Found | None:
        """What holds of two named entities at once, where the question says something of each: 甲导演、乙主演的电影, who starred in both A and B."""
        if len(mentions) < 2 or not _BOTH.search(question.lower()):
            return None
        best: dict[Mention, Reading] = {}
        for one in readings:
            if len(one.path) == 1 and one.sure >= 0.9 and (one.mention not in best or one.score > best[one.mention].score):
                best[one.mention] = one
        if len(best) != 2 or len({one.path[0][1] for one in best.values()}) > 1:
            return None
        (first, steps, ends), (second, more, others) = ((one, *self._followed(one)) for one in best.values())
        common = set(ends.tolist()) & set(others.tolist())
        if not common:
            return None
        words = second.last.text
        explained = [words[start:end] for start, end in second.fit.words] + [squeezed(question[second.mention.start : second.mention.end])]
        text = first.last.text
        spans = [(at, at + len(one)) for one in explained if (at := text.find(one)) >= 0]
        kept = [one for one in (*steps, *more) if one[0].other in common][: 2 * MOST_VALUES]
        values = tuple(dict.fromkeys(self.view.names[one] for one in ends.tolist() if one in common))
        labels = " > ".join(dict.fromkeys(self.view.relation_names[one.path[0][0]] for one in (first, second)))
        counted = first.last.asked.counts
        answer = GraphAnswer(
            tuple(mentions),
            (str(len(common)),) if counted else values[:MOST_VALUES],
            tuple(edge for edge, _ in kept),
            first.score + second.evidence,
            counted,
            "count" if counted else "list" if len(values) > 1 else "values",
            labels,
            round(min(0.9, first.confidence(spans)), 4),
        )
        return _Found(answer, None, tuple(kept), tuple(sorted(common)[:3]))

    # -- answers

    def _told(self, question: str, mentions: Sequence[Mention], reading: Reading) -> _Found:
        """What a reading leads to."""
        steps, ends = self._followed(reading)
        explained: list[Span] = []
        ends, steps = self._of_type(reading, ends, steps, explained)
        truth = self._verified(question, reading, mentions, ends, explained)
        names = list(dict.fromkeys(self.view.names[one] for one in ends[:MOST_VALUES].tolist()))
        confidence = round(reading.confidence(explained), 4)
        relation = " > ".join(self.view.relation_names[kind] for kind, _ in reading.path)
        kind = "two_hop" if len(reading.path) > 1 else "list" if len(names) > 1 else "values"
        counted = truth is None and reading.last.asked.counts and (len(names) > 1 or not _number(names))
        values = (str(len(ends)),) if counted else tuple(names)
        answer = GraphAnswer(
            tuple(mentions), values, tuple(edge for edge, _ in steps), reading.score, counted, "count" if counted else kind, relation, confidence, truth
        )
        return _Found(answer, reading, tuple(steps), tuple(ends[:3].tolist()))

    def _followed(self, reading: Reading) -> tuple[list[tuple[Edge, int]], Ints]:
        """The triples of each step, the last step's first, each with the entity it is seen from; and where they lead: each once, not counted beyond HUB but for
        a single step."""
        found: list[tuple[Edge, int]] = []
        reached = np.array([reading.entity], np.int32)
        for number, (relation, forward) in enumerate(reading.path):
            most = None if len(reading.path) == 1 else HUB
            triples, others, places = self.view.reached(reached, relation, forward=forward, most=most)
            if number == len(reading.path) - 1 and len(reading.path) > 1:
                keep = others != reading.entity  # what else the author has written, not this
                triples, others, places = (triples[keep], others[keep], places[keep]) if keep.any() else (triples, others, places)
            seen = reached[places[:MOST_VALUES]].tolist()
            edges = zip(triples[:MOST_VALUES].tolist(), others[:MOST_VALUES].tolist(), seen, strict=True)
            found = [*((Edge(triple, relation, other, forward), one) for triple, other, one in edges), *found]
            _, at = np.unique(others, return_index=True)
            reached = others[np.sort(at)]
        return found[: 2 * MOST_VALUES], reached

    def _of_type(self, reading: Reading, ends: Ints, steps: list[tuple[Edge, int]], explained: list[Span]) -> tuple[Ints, list[tuple[Edge, int]]]:
        """Where the question names a type that some of the values have, only those."""
        some = ends[:MOST_VALUES].tolist()
        for kind in {self.view.types[one] for one in some} - {""}:
            at = reading.last.text.find(label_key(kind))
            if at < 0:
                continue
            explained.append((at, at + len(label_key(kind))))
            if any(self.view.types[one] != kind for one in some):
                kept = [one for one in some if self.view.types[one] == kind]
                last = reading.path[-1]
                keep = set(kept)
                steps = [one for one in steps if (one[0].relation, one[0].forward) != last or one[0].other in keep]
                return np.array(kept, np.int32), steps
        return ends, steps

    def _verified(self, question: str, reading: Reading, mentions: Sequence[Mention], ends: Ints, explained: list[Span]) -> bool | None:
        """Whether what the question says is so, where it asks that; names that it gives are looked for among the values."""
        text = reading.last.text
        given: list[tuple[Span, bool]] = []
        for mention in mentions:
            if mention is reading.mention:
                continue
            name = squeezed(question[mention.start : mention.end])
            at = text.find(name)
            spans = [(at, at + len(name))] if at >= 0 else []
            if spans and not any(start < at + len(name) and at < end for start, end in reading.fit.words):
                given.append((spans[0], bool(np.isin(np.array(mention.entity_ids, np.int32), ends).any())))
        explained += [span for span, there in given if there]
        if not reading.last.asked.yes_no:
            return None
        if given:
            explained += [span for span, _ in given]
            return all(there for _, there in given)
        for one in ends[:20].tolist():
            key = name_key(self.view.names[one])
            if key in text:
                explained.append((text.find(key), text.find(key) + len(key)))
                return True
        return None

    # -- two names

    def _way(self, question: str, mentions: Sequence[Mention]) -> _Found | None:
        """How two named entities are connected, where that is asked."""
        if len(mentions) < 2:
            return None
        first, second = mentions[0], mentions[1]
        text = rest_of(question, (second.start, second.end)).text
        text = rest_of(f"{question[: first.start]}{MARK}{question[first.end : second.start]}{MARK}{question[second.end :]}", (0, 0)).text.removeprefix(MARK)
        asks = _WAY.search(text)
        if asks is None and not _KIN.search(text):
            return None
        found = self._direct(first, second) or self._walked(first, second)
        if not found:
            return _Found(GraphAnswer(tuple(mentions)))
        left = content(text[: asks.start()] + text[asks.end() :] if asks else "")
        names = [self.view.names[found[0][1]]]
        for edge, _ in found:
            names.append(self.view.names[edge.other])
        labels = list(dict.fromkeys(self.view.relation_names[edge.relation] for edge, _ in found))
        answer = GraphAnswer(
            tuple(mentions),
            tuple(dict.fromkeys(names)),
            tuple(edge for edge, _ in found),
            1.5,
            False,
            "path",
            " > ".join(labels),
            round(0.9 / (1 + 0.45 * left), 4),
        )
        return _Found(answer, None, tuple(found))

    def _direct(self, first: Mention, second: Mention) -> list[tuple[Edge, int]]:
        """Triples that say something of both; looked for among those of the one that has fewer."""
        found: list[tuple[Edge, int]] = []
        for one in first.entity_ids[:4]:
            for other in second.entity_ids[:4]:
                turned = self.view.degree(one) > self.view.degree(other)
                few, goal = (other, one) if turned else (one, other)
                for relation, forward, _ in self.view.relations_of(few):
                    triples, others, _ = self.view.reached(np.array([few], np.int32), relation, forward=forward, most=MOST_SEEN)
                    found += [(Edge(triple, relation, other, forward != turned), one) for triple in triples[others == goal].tolist()]
        return found[:20]

    def _walked(self, first: Mention, second: Mention) -> list[tuple[Edge, int]]:
        best: list[tuple[Edge, int]] = []
        for one in first.entity_ids[:2]:
            for other in second.entity_ids[:2]:
                steps = way(self.view, one, other, max_hops=WAY_HOPS)
                if steps and (not best or len(steps) < len(best)):
                    best = [(step.edge, step.entity) for step in steps]
        return best

    def _comparison(self, question: str, mentions: Sequence[Mention]) -> _Found | None:
        """Which of the named entities has more, where that is asked."""
        if len(mentions) < 2:
            return None
        asks = comparison(question, mentions)
        if asks is None:
            return None
        found = compared(self.view, self._readings, asks, mentions)
        return None if found is None else self._as_answer(found, mentions)

    def _as_answer(self, found: Compared, mentions: Sequence[Mention]) -> _Found:
        answer = GraphAnswer(
            tuple(mentions),
            tuple(self.view.names[one] for one in found.winners),
            tuple(edge for edge, _ in found.steps),
            1.5,
            False,
            "compare",
            self.view.relation_names[found.relation],
            found.confidence,
            found.truth,
        )
        return _Found(answer, None, found.steps, found.winners)

    def _edges(self, reading: Reading, named: set[int], most: int) -> Ranked:
        """A reading's triples with their scores; one that joins two entities of the question counts more."""
        steps, _ = self._followed(reading)
        last = reading.path[-1]
        found: Ranked = []
        for edge, seen in steps:
            on_the_way = len(reading.path) > 1 and (edge.relation, edge.forward) != last
            found.append((reading.score + (_JOINS if edge.other in named else 0.0) - _ON_THE_WAY * on_the_way, edge, seen))
        return sorted(found, key=lambda one: -one[0])[: most * 4]


def _number(names: Sequence[str]) -> bool:
    return len(names) == 1 and bool(_NUMBERS.search(names[0]))
