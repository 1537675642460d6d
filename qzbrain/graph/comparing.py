"""Which of several named entities has more of something: 甲和乙哪个更高, 甲比乙早吗, 谁的作品多, which is older.

Dates, numbers with units, and numbers of triples are compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qzbrain.graph.fitting import Relation, fits
from qzbrain.graph.intent import MARK, Rest, Span, content, words
from qzbrain.graph.linking import Mention
from qzbrain.graph.quantities import Quantity, amount, date
from qzbrain.graph.readings import Readings, rest_of
from qzbrain.graph.view import Edge, GraphView

MOST_COMPARED = 8
_AT_ONCE = 50
_DATES = words(
    "出生日期 出生时间 生日 成立时间 成立日期 创办时间 创建时间 建立时间 建成时间 上映时间 上映日期 出版时间 "
    "出版日期 发行时间 发布时间 创作时间 时间 日期 年份 birth date_of_birth born founded founding_date inception "
    "established released release_date published publication_date year date"
)
_HOW = "早|晚|先|高|矮|低|大|小|长|短|重|轻|贵|便宜|多|少|远|近|快|慢|深|浅|宽|窄|老|年长|年轻|新|旧|久"
_ENGLISH = "|".join(
    words(
        "earlier later first taller higher shorter lower larger bigger greater smaller longer heavier lighter older younger newer cheaper more_expensive more "
        "fewer less farther faster slower deeper earliest latest tallest highest shortest lowest largest biggest smallest longest heaviest lightest oldest "
        "youngest newest cheapest most fewest fastest slowest deepest"
    )
)
_COMPARES = re.compile(
    rf"哪[一]?(?:个|家|本|部|位|座|者|款|条|所|种|只|首|国|方)?(?:公司|城市|国家|山|河|人|书|电影)?的?\S{{0,10}}?(?:更|比较|最)?(?P<zh>后|{_HOW})"
    rf"|谁(?:的\S{{0,10}}?)?(?:更|比较|最)?(?:\S{{0,6}}?)(?P<who>{_HOW})|比\S{{0,40}}?(?P<than>{_HOW})|(?<![a-z])(?P<en>{_ENGLISH})(?![a-z])"
)
_SAME = re.compile(r"(?:一样|相同|同一个|是不是同|是否同|同样)|(?<![a-z])same(?![a-z])")
_LESS = frozenset(
    words(
        "早 先 矮 低 小 短 轻 便宜 少 近 慢 浅 窄 老 年长 旧 久 earlier first shorter lower smaller lighter older cheaper fewer "
        "less slower earliest shortest lowest smallest lightest oldest cheapest fewest slowest"
    )
)
_MEANS: tuple[tuple[str, str, str], ...] = (
    ("早 晚 先 后 earlier later first earliest latest", "date", ""),
    ("老 年长 年轻 新 旧 久 older younger newer oldest youngest newest", "date", "出生日期 出生时间 生日 成立时间 birth date_of_birth born founded inception"),
    ("高 矮 低 taller higher shorter lower tallest highest shortest lowest", "amount", "身高 高度 海拔 海拔高度 height elevation"),
    ("大 小 larger bigger greater smaller largest biggest smallest", "amount", "面积 占地面积 总面积 人口 规模 注册资本 年龄 area population size"),
    ("长 短 longer longest", "amount", "长度 全长 片长 时长 length duration running_time"),
    ("重 轻 heavier lighter heaviest lightest", "amount", "体重 重量 质量 weight mass"),
    ("贵 便宜 cheaper more_expensive cheapest", "amount", "价格 定价 售价 参考价格 票价 price cost"),
    ("多 少 more fewer less most fewest", "amount", "人口 数量 population"),
    ("远 近 farther", "amount", "距离 射程 distance"),
    ("快 慢 faster slower fastest slowest", "amount", "速度 最高速度 最高车速 speed top_speed"),
    ("深 浅 deeper deepest", "amount", "深度 水深 最大深度 depth"),
    ("宽 窄", "amount", "宽度 width"),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared: `word` says by what, or is "" where it is asked whether something is the same."""

    word: str
    text: str
    asks_whether: bool
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """`winners`: one, or several that have as much; `steps`: the triples that say so, each with the entity it is seen from."""

    winners: tuple[int, ...]
    relation: int
    steps: tuple[tuple[Edge, int], ...]
    confidence: float
    truth: bool | None


def comparison(question: str, mentions: Sequence[Mention]) -> Comparison | None:
    """The comparison that a question asks for; None when it asks for none."""
    marked = question
    for mention in sorted(mentions, key=lambda one: -one.start):
        marked = f"{marked[: mention.start]}{MARK}{marked[mention.end :]}"
    text = rest_of(marked, (0, 0)).text.removeprefix(MARK)
    if text.count(MARK) < 2:
        return None
    found = _COMPARES.search(text)
    if found:
        word = next(one for one in found.groups() if one)
        if word in ("大", "小") and re.search(r"年龄|岁数|年纪", text):
            word = "年长" if word == "大" else "年轻"
        whether = found.lastgroup == "than" and ("吗" in text or "是不是" in text or "是否" in text)
        at = found.start(found.lastgroup or 0), found.end(found.lastgroup or 0)
        return Comparison(word, text, whether or text.startswith(("is ", "was ", "are ", "does ", "did ")), (at,))
    same = _SAME.search(text)
    return Comparison("", text, True, (same.span(),)) if same else None


def compared(view: GraphView, readings: Readings, asks: Comparison, mentions: Sequence[Mention]) -> Compared | None:
    """The answer; None when these entities have nothing of the kind that can be compared."""
    entities = [_ for mention in mentions[:MOST_COMPARED] for _ in mention.entity_ids[:1]]
    if len(set(entities)) < 2:
        return None
    rest = Rest(asks.text.replace(MARK, " "))
    shared = set.intersection(*({(kind, forward) for kind, forward, _ in view.relations_of(one)} for one in entities))
    kind, usual = _meaning(asks.word)
    best: Compared | None = None
    ranked = sorted(
        ((_named(readings.relations[relation], forward, rest, kind, usual), relation, forward) for relation, forward in shared),
        key=lambda one: (-one[0][0], one[1]),
    )
    for (score, named, spans), relation, forward in ranked:
        if score < 0.35:
            break
        best = _decided(view, asks, entities, relation, forward, kind)
        if best is not None:
            left = content(
                Rest(rest.text).without([*spans, *asks.spans]).replace("更", "").replace("比较", "").replace("比", "").replace("最", "").replace("年龄", "")
            )
            return Compared(best.winners, best.relation, best.steps, round((0.95 if named else 0.8) / (1 + 0.45 * left), 4), best.truth)
    return None


def _meaning(word: str) -> tuple[str, tuple[str, ...]]:
    for adjectives, kind, labels in _MEANS:
        if word in words(adjectives):
            return kind, tuple(words(labels)) if labels else tuple(_DATES)
    return "", ()


def _named(relation: Relation, forward: bool, rest: Rest, kind: str, usual: tuple[str, ...]) -> tuple[float, bool, tuple[Span, ...]]:
    """How well the question, or what its word usually compares, means a relation; whether the question names it; where."""
    fit = fits(relation, rest)[0 if forward else 1]
    named = fit.score >= 0.5
    score = fit.score + (0.1 if forward else 0.0)
    if forward and relation.key in usual:
        score += 0.45 - 0.01 * usual.index(relation.key)
    elif forward and kind == "date" and relation.key[-1:] in ("间", "期", "年", "日"):
        score += 0.4
    return score, named, fit.spans if named else ()


def _decided(view: GraphView, asks: Comparison, entities: Sequence[int], relation: int, forward: bool, kind: str) -> Compared | None:
    steps: list[tuple[Edge, int]] = []
    measures: list[Quantity | None] = []
    values: list[frozenset[int]] = []
    for one in entities:
        triples, others, _ = view.reached(np.array([one], np.int32), relation, forward=forward)
        edges = [Edge(t, relation, o, forward) for t, o in zip(triples[:_AT_ONCE].tolist(), others[:_AT_ONCE].tolist(), strict=True)]
        steps += [(edge, one) for edge in edges]
        values.append(frozenset(others.tolist()))
        read = date if kind == "date" else amount
        measure = read(view.names[edges[0].other]) if forward and len(edges) == 1 else None
        measures.append(measure if measure is not None or kind == "date" else None)
    if not asks.word:
        same = bool(frozenset.intersection(*values))
        told = tuple(dict.fromkeys(edge.other for edge, _ in steps))
        return Compared(told, relation, tuple(steps), 0.0, same)
    if asks.word in ("多", "少", "more", "fewer", "less", "most", "fewest") and any(one is None for one in measures):
        measures = [Quantity("", float(len(one))) for one in values]
    known = [one for one in measures if one is not None]
    if len(known) < len(entities) or len({one.kind for one in known}) > 1:
        return None
    amounts = [one.amount for one in known]
    wanted = min(amounts) if asks.word in _LESS and not (asks.word in ("老", "年长", "older", "oldest", "久") and known[0].kind != "date") else max(amounts)
    winners = tuple(dict.fromkeys(one for one, has in zip(entities, amounts, strict=True) if has == wanted))
    truth = (winners == (entities[0],)) if asks.asks_whether else None
    return Compared(winners, relation, tuple(steps), 0.0, truth)
