"""Answering without weights: the sentences of the found passages that most probably hold the answer, whole and in their own words.

A sentence scores by the share of the question's terms that it holds (weighted by how few candidate sentences hold them), by what
the sentence before it adds (it often names the subject), by the shape of what is asked for (a date, a number, a reason …) and by
its passage's place in the ranking. Never a bare span: on CMRC the gold answer stands inside three such sentences in more than
.85 of cases, while a guessed span scores F1 .31. Pure: passages in, spans out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from qzbrain.text.normalize import searchable
from qzbrain.text.records import records
from qzbrain.text.sentences import sentences
from qzbrain.text.tokenize import index_tokens, query_terms

MOST_SENTENCES = 3
SHORTEST_CHARS = 4
LONGEST_SENTENCE = 400

# Chosen on a third of CMRC dev and of QED, where the result is flat around them (2026-11-24).
BEFORE_WEIGHT = 0.45
PASSAGE_WEIGHT = 0.8
SHAPE_BONUS = 0.18
LENGTH_PENALTY = 0.0005
FREE_CHARS = 80
BESIDE_RECORD = 0.85
"""Where a row of a table answers, rows that fit this much less are other rows. Over 30 questions the second best reached .78 of the best (2026-11-28)."""


@dataclass(frozen=True, slots=True)
class Selected:
    """One sentence chosen: `passages[passage].text[start:end]`."""

    passage: int
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Source:
    """A passage to choose from: its text, and its score relative to the best passage (1 for the best)."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    passage: int
    start: int
    end: int
    folded: str
    terms: frozenset[int]
    record: bool


_SHAPES: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(asked), re.compile(shape))
    for asked, shape in (
        (
            r"何时|什么时候|哪一?年|哪天|几月|几号|什么时间|时间是|年份|年代|什么日期|when|what (?:year|date|day)",
            r"\d{1,4} ?(?:年|世纪|年代)|\d{1,2} ?月|[一二三四五六七八九十〇○]{2,4}年|世纪|朝|\b1\d{3}\b|\b20\d\d\b"
            r"|january|february|march|april|june|july|august|september|october|november|december",
        ),
        (
            r"多少|几[个位名次届座条家岁种层年人部集天月日分楼]|多大|多高|多长|多远|多久|第几|几分之|比例|how (?:many|much|long|old|far|tall|high|big)",
            r"\d|[一二三四五六七八九十百千两]+[个位名次届座条家岁种层年人部集天日月元万亿]"
            r"|\b(?:two|three|four|five|six|seven|eight|nine|ten|hundred|thousand|million)\b",
        ),
        (r"为什么|为何|原因|怎么会|\bwhy\b", r"因为|由于|因此|所以|导致|以致|是因|原因|为了|because|due to|since|reason"),
        (
            r"是什么|什么是|指的是|是指|含义|定义|what is|what are|meaning",
            r"是指|指的是|是[一]?[种个位座部]|即|称为|简称|又称|又名|别名|定义|refers? to|is an?\b|known as|means",
        ),
        (
            r"哪里|何处|在哪|什么地方|位于|哪个?(?:国家|省|市|城市|地区|县|国|座|州)|哪国|where",
            r"[省市县区州国镇村路街岛山河湖港洲]|\b(?:in|at|near|located)\b",
        ),
    )
)


def select(question: str, sources: Sequence[Source], *, most: int = MOST_SENTENCES) -> list[Selected]:
    """At most `most` sentences, best first; the same sentence only once. Empty when no passage holds any of the question's terms."""
    terms = query_terms(question)
    candidates = _candidates(sources, terms)
    weights = _weights(candidates, len(terms))
    total = sum(weights) or 1.0
    shape = next((shape for asked, shape in _SHAPES if asked.search(question.lower())), None)
    scored = [_scored(i, candidates, sources, weights, total, shape) for i in range(len(candidates))]
    ranked = sorted((x for x in scored if x.score > 0), key=lambda x: (-x.score, x.passage, x.start))
    if ranked and any(x.record and (x.passage, x.start) == (ranked[0].passage, ranked[0].start) for x in candidates):
        ranked = [x for x in ranked if x.score >= BESIDE_RECORD * ranked[0].score]
    return ranked[:most]


def _candidates(sources: Sequence[Source], terms: Sequence[str]) -> list[_Candidate]:
    found: list[_Candidate] = []
    seen: set[str] = set()
    latin = any(term.isascii() for term in terms)
    for number, source in enumerate(sources):
        for start, end, record in _spans(source.text):
            folded = searchable(source.text[start:end])
            if len(folded) < SHORTEST_CHARS or folded in seen:
                continue
            seen.add(folded)
            words = frozenset(index_tokens(folded).split()) if latin else frozenset()
            held = frozenset(i for i, term in enumerate(terms) if (term in words if term.isascii() else term in folded))
            found.append(_Candidate(number, start, end, folded, held, record))
    return found


def _spans(text: str) -> list[tuple[int, int, bool]]:
    """Sentences, and short records whole (True): what a value means stands in its row. One that is far too long (a text without stops) is cut at clauses."""
    whole = [(start, end) for start, end in records(text) if end - start <= LONGEST_SENTENCE]
    spans: list[tuple[int, int, bool]] = []
    position = 0
    for start, end in [*whole, (len(text), len(text))]:
        spans += ((position + first, position + last, False) for first, last in _sentences(text[position:start]))
        if end > start:
            spans.append((start, end, True))
        position = end
    return spans


def _sentences(text: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for start, end in sentences(text):
        while end - start > LONGEST_SENTENCE:
            cut = max(text.rfind(mark, start + 100, start + LONGEST_SENTENCE) for mark in "，；,; 、") + 1 or start + LONGEST_SENTENCE
            spans.append((start, cut))
            start = cut
        spans.append((start, end))
    return spans


def _weights(candidates: Sequence[_Candidate], terms: int) -> list[float]:
    """How telling each term is among the candidates: the fewer hold it, the more."""
    held = Counter(i for candidate in candidates for i in candidate.terms)
    n = len(candidates)
    return [math.log(1 + (n - held[i] + 0.5) / (held[i] + 0.5)) if held[i] else 0.0 for i in range(terms)]


def _scored(
    i: int, candidates: Sequence[_Candidate], sources: Sequence[Source], weights: Sequence[float], total: float, shape: re.Pattern[str] | None
) -> Selected:
    one = candidates[i]
    cover = sum(weights[t] for t in one.terms) / total
    near = 0.0
    if i and candidates[i - 1].passage == one.passage and not one.record:  # the row above is another matter
        near = sum(weights[t] for t in candidates[i - 1].terms - one.terms) / total
    if not cover and not near:
        return Selected(one.passage, one.start, one.end, 0.0)
    score = cover + BEFORE_WEIGHT * near + PASSAGE_WEIGHT * sources[one.passage].weight
    score += SHAPE_BONUS if shape is not None and shape.search(one.folded) else 0.0
    score -= LENGTH_PENALTY * max(0, len(one.folded) - FREE_CHARS)
    return Selected(one.passage, one.start, one.end, score)
