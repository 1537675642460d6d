"""How well a relation answers a question, in each direction: by its label, by the words set for it, by the words that people use for such relations. Pure.

Which way is asked is told by where the words stand to the name: 谁写了□, □是谁写的, □的作者 ask for the tail of 作者; □写了什么, 谁的作者是□ for its head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qzbrain.graph.cues import SYMMETRIC, Group, groups_of, verb_of
from qzbrain.graph.intent import Rest, Span, last_mark_fits, squeezed, stem

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LATIN = re.compile(r"[a-z0-9]+")
_ASKS = r"(?:谁|哪|什么|何|啥|几|多少)"
_ASKING = re.compile(r"谁|哪|什么|多[大高长重远久宽深快少]|几|(?<![a-z])(?:how|where|what|who)(?![a-z])")
_PERSON = re.compile(r"谁|哪位|何人|什么人|哪个人|(?<![a-z])(?:who|whose|whom)(?![a-z])")
_OF = re.compile(r"^(?:的|之|'s|’s|s'|这[个家部本位]?\S{0,3}的|本人的|身上的)?(?:主要|全部|所有|第一|现任|具体|the )?$")
_HAS = re.compile(r"^(?:一共|总共|共|都|还|分别)?有(?:多少|几|哪|什么)?\S{0,2}$")
_BEARS = re.compile(r"(?:担任|任|当|做|出任|作为|成为)(?:过|了)?$")
_ASKED_BEFORE = re.compile(rf"{_ASKS}\S{{0,6}}(?:的|之|担任|任|当|做)$|{_ASKS}$")
_IS = re.compile(r"^(?:就?是|为|叫做?|名叫|名为|=|:|：|等于|在|属于|包括|包含|含有?|有| is| are| was| were| =| named| called| by| in| at|)\s?(?:the |a )?$")
_WHO = re.compile(r"谁|何人|哪位|哪些人|哪个人|什么人|哪家|哪个公司|哪个人|哪些公司|哪个(?!国家|城市|地方|省|学校|大学)")
_PASSIVE = re.compile(r"是|由|被|让|为")
_OBJECT = re.compile(r"^(?:了|过|的|着|于|在|到|自|出|出了|入|进|下|给|成|from|in|at|of|the|to|a|\s|《|“|\")*$")
_AUXILIARY = re.compile(r"(?<![a-z])(?:did|does|do|has|have|had)(?![a-z])[^a-z]*(?:the )?$")
_BE = re.compile(r"(?<![a-z])(?:is|are|was|were|been|being|be)(?![a-z])")


@dataclass(frozen=True, slots=True)
class Fit:
    """`score` 0 = not at all, about 1 = named; `sure` 0..1: how certainly the words mean this relation; `spans`: these words; `also`: others with them."""

    score: float = 0.0
    sure: float = 0.0
    spans: tuple[Span, ...] = ()
    also: tuple[Span, ...] = ()

    @property
    def span(self) -> Span | None:
        """From the first to the last of the words."""
        return (min(start for start, _ in self.spans), max(end for _, end in self.spans)) if self.spans else None

    @property
    def words(self) -> tuple[Span, ...]:
        """All that it explains."""
        return (*self.spans, *self.also)


@dataclass(frozen=True, slots=True)
class _Said:
    """What words other than the label say; `also`: all of them that ask in this direction."""

    score: float
    sure: float
    span: Span | None
    also: tuple[Span, ...]


NONE = Fit()


@dataclass(frozen=True, slots=True)
class Relation:
    """A label made ready. `grams`: its characters, pairs of them and words with what each tells among the labels of this graph."""

    key: str
    label: str
    grams: tuple[tuple[str, float], ...]
    groups: tuple[tuple[Group, float], ...]
    symmetric: bool
    weight: float
    forward: tuple[str, ...] = ()
    backward: tuple[str, ...] = ()


def prepared(labels: Sequence[str], cues: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[Relation]:
    """The relations of a graph; `cues`: the words set for each, forward and backward."""
    keys = [label_key(label) for label in labels]
    counts: dict[str, int] = {}
    for key in keys:
        for gram in set(_grams(key)):
            counts[gram] = counts.get(gram, 0) + 1
    weights = {gram: (1.5 if len(gram) > 1 else 1.0) / (1 + count) ** 0.25 for gram, count in counts.items()}
    found = []
    for number, key in enumerate(keys):
        set_here = cues[number] if number < len(cues) else ((), ())
        words = [tuple(one for one in (squeezed(word) for word in some) if one) for some in set_here]
        grams = tuple((gram, weights[gram]) for gram in _grams(key))
        found.append(
            Relation(
                key.replace(" ", ""), key, grams, (*groups_of(key), *verb_of(key)), key in SYMMETRIC, sum(weight for _, weight in grams), words[0], words[1]
            )
        )
    return found


def label_key(label: str) -> str:
    """A label as it is compared: bornIn, born_in and Born In are one."""
    return squeezed(_CAMEL.sub(" ", label).replace("_", " ").replace("-", " "))


def _grams(key: str) -> list[str]:
    found: list[str] = []
    for piece in re.findall(r"[a-z]+|[^a-z\s]+", key):
        found += [f"\0{stem(piece)}"] if piece.isascii() and piece.isalpha() else [*piece, *(piece[n : n + 2] for n in range(len(piece) - 1))]
    return found


def fits(relation: Relation, rest: Rest) -> tuple[Fit, Fit]:
    """Forward (the name is its head and the tail is asked for) and backward."""
    known: tuple[Fit, Fit] | None = rest.memo.get(id(relation))
    if known is None:
        known = rest.memo[id(relation)] = _fits(relation, rest)
    return known


def _fits(relation: Relation, rest: Rest) -> tuple[Fit, Fit]:
    label, exact, spans, toward = _by_label(relation, rest)
    sides = []
    for side, words in ((1, relation.forward), (-1, relation.backward)):
        sure = 1.0 if exact else min(1.0, label + 0.2 * (label > 0 and len(relation.key) < 6 and not relation.key.isascii() and relation.key[-2:] in rest.bare))
        score, mine = label, spans
        if toward * side < 0 and not relation.symmetric:
            score, sure = (score * 0.3, sure * 0.2) if abs(toward) >= 1 else (score * 0.8, sure * 0.8)
        elif toward * side > 0:
            score += 0.1
        said = _set_word(words, rest)
        if said is not None:
            bonus = 1.1 + 0.1 * min(said[1] - said[0], 8)
            if bonus > score:
                score, sure, mine = bonus, 1.0, (said,)
        sides.append((score, sure, mine))
    found = []
    cued = _by_groups(relation, rest)
    for (score, sure, mine), side in zip(sides, (1, -1), strict=True):
        more = cued[side] if not relation.symmetric else max(cued.values(), key=lambda one: (one.score, one.sure))
        also: tuple[Span, ...] = ()
        if more.span is not None:
            score += more.score
            if more.sure > sure:
                mine, also = (more.span,), (*more.also, *(mine if sure > 0.3 else ()))
            else:
                also = (more.span, *more.also)
            sure = max(sure, more.sure)
        if side > 0 and last_mark_fits(relation.key, rest.asked):
            score += 0.15
            if not exact and 0.3 < sure < 0.8:
                sure += 0.1
        found.append(Fit(score, sure, mine, also) if score > 0 else NONE)
    return found[0], found[1]


def _by_label(relation: Relation, rest: Rest) -> tuple[float, bool, tuple[Span, ...], float]:
    """Score, whether the whole label stands there, where, and which way it is asked: above 0 for its tail."""
    key, text = relation.label, rest.text
    if not key:
        return 0.0, False, (), 0.0
    best: tuple[float, Span] | None = None
    for span in _places(key, text):
        toward = _direction(text, rest.mark, span)
        if best is None or abs(toward) > abs(best[0]):
            best = toward, span
    if best is not None:
        return 1.2 + 0.1 * min(len(relation.key), 8), True, (best[1],), best[0]
    if relation.key in rest.bare and not relation.key.isascii():
        return 1.2 + 0.1 * min(len(relation.key), 8), True, tuple(_scattered(relation.key, text)), 0.0
    whole = relation.weight
    there = [(gram, weight) for gram, weight in relation.grams if (gram[1:] in rest.stems if gram[0] == "\0" else gram in rest.bare)]
    score = sum(weight for _, weight in there) / whole if whole else 0.0
    if not score:
        return 0.0, False, (), 0.0
    spans = tuple(sorted({span for gram, _ in there for span in _spans(gram, text)}))
    hull = (spans[0][0], max(end for _, end in spans)) if spans else (0, 0)
    toward = _direction(text, rest.mark, hull) if score >= 0.4 and hull[1] - hull[0] <= len(relation.label) else 0.0
    return score, False, spans, toward


def _spans(gram: str, text: str) -> Iterator[Span]:
    if gram[0] != "\0":
        at = text.find(gram)
        if at >= 0:
            yield at, at + len(gram)
        return
    for match in re.finditer(r"[a-z']+", text):
        if stem(match[0]) == gram[1:]:
            yield match.start(), match.end()


def _scattered(key: str, text: str) -> Iterator[Span]:
    at = 0
    for char in key:
        at = text.find(char, at)
        if at < 0:
            return
        yield at, at + 1
        at += 1


def _places(word: str, text: str) -> Iterator[Span]:
    """Where a word stands; a Latin one not as a part of another."""
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        left, right = text[at - 1 : at], text[end : end + 1]
        if not (_joins(left, word[0]) or (_joins(right, word[-1]) and not (right == "s" and not _joins(text[end + 1 : end + 2], "a")))):
            yield at, end
        at = text.find(word, at + 1)


def _joins(one: str, other: str) -> bool:
    return bool(one) and one.isascii() and other.isascii() and one.isalnum() and other.isalnum()


def _set_word(words: Sequence[str], rest: Rest) -> Span | None:
    """The longest of the words set for a direction that stands there."""
    found = [span for word in words for span in _places(word, rest.text)]
    return max(found, key=lambda span: span[1] - span[0], default=None)


def _direction(text: str, mark: int, span: Span) -> float:
    """For a word that names the tail: 1 = it is asked for, -1 = it is given and the head is asked for, between them unsure."""
    start, end = span
    if mark < 0:
        return 0.0
    if _ASKING.search(text, start, end):
        return 1.0
    after = text[end:]
    if mark < start:
        between = text[mark + 1 : start]
        if between.startswith("被"):
            return -1.0
        if _OF.match(between):
            if between:
                return 1.0
            if re.match(r"有?哪(?:些|几)\S{2}", after) or (
                re.match(r"的(?:有|都|公司|企业|人|国家|城市|书|电影|作品|\S{1,4}(?:有|是))", after)
                and not re.match(r"的\S{1,4}(?:是|有)(?:谁|什么|哪|多)", after)
            ):
                return -0.5
            return 0.0 if after.startswith("的") else 0.6
        if text[mark - 1 : mark] == "在" and not re.search(_ASKS, between):
            return 0.6
        if _BEARS.search(between) or (_ASKED_BEFORE.search(between) and between.endswith(("的", "之"))):
            return -1.0
        if re.search(r"(?<![a-z])(?:is|was|are|were)(?: the| a| an)? ?$", between) and re.match(
            r" ?(?:of|for|to|in)?(?: which| what| whom| who|\?|$|\.)", after
        ):
            return -1.0
        if re.search(r"(?<![a-z])(?:as|with) (?:its |their |his |her |the )?$", between) or between == "为":
            return -1.0
        return 0.6 if _HAS.match(between) else 0.0
    between = text[end:mark]
    if re.match(r"^ (?:of|for|to)(?: the| a)? $|^ of$| of ", between) and between.strip() in ("of", "of the", "of a", "for", "for the", "to"):
        return 1.0
    if _IS.match(between) and not re.search(r"(?:担任|任|当|做)$", text[:start]):
        return -1.0
    return 0.0


def _by_groups(relation: Relation, rest: Rest) -> dict[int, _Said]:
    """What people's words for such relations say, by direction."""
    best: dict[int, tuple[float, float, Span | None]] = {1: (0.0, 0.0, None), -1: (0.0, 0.0, None)}
    also: dict[int, list[Span]] = {1: [], -1: []}
    for group, less in relation.groups:
        for toward, span in _words(group, rest):
            for side in (1, -1):
                agrees = toward * side
                if agrees < 0 or (agrees == 0 and side < 0):
                    continue
                if agrees > 0:
                    also[side].append(span)
                score = 0.5 + 0.2 * (agrees > 0) + 0.01 * min(span[1] - span[0], 8)
                sure = (0.92 if agrees > 0 else 0.75) - less
                if (score, sure) > best[side][:2]:
                    best[side] = (score, sure, span)
    return {side: _Said(*best[side], tuple(also[side])) for side in (1, -1)}


def _words(group: Group, rest: Rest) -> Iterator[tuple[float, Span]]:
    """The words of a group that stand there, each with the way it asks."""
    known = rest.memo.get(id(group))
    if known is None:
        text, mark = rest.text, rest.mark
        known = [(_direction(text, mark, m.span()), m.span()) for m in group.nouns.finditer(text)]
        known += [(way, m.span()) for m in group.inverse.finditer(text) if (way := _inverse(text, mark, m.span()))]
        for pattern, role in ((group.tail_does, -1), (group.head_does, 1)):
            known += [(role * _agent(text, mark, m.span(), moves=role > 0), m.span()) for m in pattern.finditer(text)]
        rest.memo[id(group)] = known
    yield from known


def _inverse(text: str, mark: int, span: Span) -> float:
    """For a word that names the head: it asks for the head where one that names the tail would ask for the tail."""
    if _ASKING.search(text, *span):
        return -1.0
    toward = -_direction(text, mark, span)
    if toward > 0:
        return toward if _PERSON.search(text) else 0.0
    return -0.5 if mark < span[0] and toward == 0 and text[mark + 1 : span[0]].endswith("的") else toward


def _agent(text: str, mark: int, span: Span, *, moves: bool) -> float:
    """1 = the name does it, -1 = it is done to the name, 0 unsure. `moves`: a verb like 出生 or born, whose subject is who it happens to."""
    start, end = span
    if mark < 0 or start <= mark < end:
        return 0.0
    if mark < start:
        between, before = text[mark + 1 : start], text[:mark]
        if between.startswith("被"):
            return -1.0
        if between.startswith(("的", "之")) and not moves:
            return 0.0
        if not moves:
            if _WHO.search(between) or between.endswith("由"):
                return -1.0
            if _BE.search(between) or (_BE.search(before) and not _AUXILIARY.search(before)):
                return -1.0
            if re.search(r"(?:是|由|被)$", between) or (between.startswith(("是", "由", "被")) and re.search(r"(?:谁|哪)", between)):
                return -1.0
        return 1.0 if len(between) <= 12 or moves else 0.0
    between = text[end:mark]
    if re.match(r"^ (?:by|from)(?: the)? $|^ by$", between):
        return 1.0 if between.strip().startswith("by") else -1.0
    if _OBJECT.match(between):
        return -1.0
    return 0.0
