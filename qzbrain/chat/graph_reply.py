"""A graph's answer in words, with its marks. Pure. Chinese or English by the question's language.

Facts that share beginning and relation are one clause: 《X》的作者是 Y[1]、Z[2]. Relations that are verbs (位于, 引用, born in) stand between the names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from qzbrain.chat.citations import MarkFilter
from qzbrain.errors import Lang
from qzbrain.graph.answered import Answered

MOST_SHOWN = 20
"""Of a list so many are named."""
_BLANKS = re.compile(r"\s+")
_ZH_VERB = re.compile(r"^[是为在曾被]|[于自为到]$|^(?:引用|包含|包括|属于|隶属|拥有|投资|控股|参股|收购|持有|管辖|下辖|生产|经营|出演)$")
_EN_VERB = re.compile(r"^(?:is|are|was|were|has|have|had)\b|\b(?:in|by|at|of|on|from|to|with|for|as)$|^(?:contains|owns|cites|includes|means)$", re.I)
_ZH_UNIT = re.compile(r"(?:多少|几)\s*(个|位|名|家|种|类|条|项|部|本|只|人|篇|座|所|支|台|款|次)")


@dataclass(frozen=True, slots=True)
class _Clause:
    """Facts that begin with the same entity and have the same relation and direction; `ends`: (name, number of the citation)."""

    start: str
    relation: str
    forward: bool
    ends: tuple[tuple[str, int], ...]


def reply(answered: Answered, numbers: Sequence[int], question: str, lang: Lang) -> str:
    """The answer. `numbers`: of the citation of each step."""
    clauses = _clauses(answered, numbers, question)
    words = _Chinese if lang == "zh" else _English
    said = words.between.join(words.clause(one) for one in clauses)
    if answered.truth is not None:
        return f"{words.yes if answered.truth else words.no}{said}{words.stop}"
    if answered.kind == "count":
        count = _plain(answered.values[0])
        return words.counted(clauses[0], count, question) if len(clauses) == 1 else words.concluded([words.number(count, question)], 1, said)
    if answered.kind in ("list", "values") and len(clauses) == 1:
        return words.begun(words.clause(clauses[0], len(answered.values))) + words.stop
    values = [_plain(one) for one in answered.values[:MOST_SHOWN]]
    if answered.kind in ("compare", "two_hop", "list", "values") and values:
        return words.concluded(values, len(answered.values), said)
    return words.begun(said) + words.stop


def _clauses(answered: Answered, numbers: Sequence[int], question: str) -> list[_Clause]:
    """In the order of the steps."""
    grouped: dict[tuple[int, str, bool], tuple[str, list[tuple[str, int]]]] = {}
    for step, number in zip(answered.steps, numbers, strict=True):
        forward = step.forward or answered.kind == "path"  # a way may go against a fact; the fact is told as it is
        start, end = (step.triple.head, step.triple.tail) if forward else (step.triple.tail, step.triple.head)
        name = _plain(start.name)
        name = f"《{name}》" if f"《{name}》" in question else name
        grouped.setdefault((start.id, step.triple.relation, forward), (name, []))[1].append((_plain(end.name), number))
    return [_Clause(name, _plain(relation), forward, tuple(ends)) for (_, relation, forward), (name, ends) in grouped.items()]


def _listed(ends: Sequence[tuple[str, int]], between: str) -> str:
    """The names, a mark behind the last of those that share it."""
    shown = ends[:MOST_SHOWN]
    parts = []
    for at, (name, number) in enumerate(shown):
        last = at + 1 == len(shown) or shown[at + 1][1] != number
        parts.append(f"{name}[{number}]" if last else name)
    return between.join(parts)


def _plain(text: str) -> str:
    """In one line, without what would be read as a mark."""
    marks = MarkFilter(0)
    return _BLANKS.sub(" ", marks.push(text) + marks.finish()).strip()


class _Chinese:
    between, stop, yes, no = "；", "。", "是。", "不是。"

    @staticmethod
    def clause(one: _Clause, total: int = 0) -> str:
        names = _listed(one.ends, "、")
        more = f" 等，共 {max(total, len(one.ends))} 项" if max(total, len(one.ends)) > min(len(one.ends), MOST_SHOWN) else ""
        if _ZH_VERB.search(one.relation):
            return f"{one.start}{one.relation}{names}{more}" if one.forward else f"{one.relation}{one.start}的有：{names}{more}"
        return f"{one.start}的{one.relation}是{names}{more}" if one.forward else f"{one.relation}是{one.start}的有：{names}{more}"

    @staticmethod
    def begun(said: str) -> str:
        return said

    @staticmethod
    def number(count: str, question: str) -> str:
        unit = _ZH_UNIT.search(question)
        return f"{count} {unit[1] if unit else '项'}"

    @staticmethod
    def counted(one: _Clause, count: str, question: str) -> str:
        subject = f"{one.start}的{one.relation}" if one.forward else f"{one.relation}是{one.start}的"
        if _ZH_VERB.search(one.relation):
            subject = f"{one.start}{one.relation}的" if one.forward else f"{one.relation}{one.start}的"
        more = " 等" if count.isdecimal() and int(count) > min(len(one.ends), MOST_SHOWN) else ""
        return f"{subject}共有 {_Chinese.number(count, question)}：{_listed(one.ends, '、')}{more}。"

    @staticmethod
    def concluded(values: Sequence[str], total: int, said: str) -> str:
        more = f" 等，共 {total} 项" if total > len(values) else ""
        return f"{'、'.join(values)}{more}。依据：{said}。"


class _English:
    between, stop, yes, no = "; ", ".", "Yes: ", "No: "

    @staticmethod
    def begun(said: str) -> str:
        """With a capital letter, where it does not begin with a name."""
        return said[:1].upper() + said[1:] if said.startswith(("the ", "with ")) else said

    @staticmethod
    def number(count: str, question: str) -> str:
        return count

    @staticmethod
    def clause(one: _Clause, total: int = 0) -> str:
        names = _listed(one.ends, ", ")
        more = f" and others, {max(total, len(one.ends))} in all" if max(total, len(one.ends)) > min(len(one.ends), MOST_SHOWN) else ""
        if _EN_VERB.search(one.relation):
            return f"{one.start} {one.relation} {names}{more}" if one.forward else f"{one.relation} {one.start}: {names}{more}"
        verb = "is" if len(one.ends) == 1 else "are"
        return f"the {one.relation} of {one.start} {verb} {names}{more}" if one.forward else f"with {one.start} as their {one.relation}: {names}{more}"

    @staticmethod
    def counted(one: _Clause, count: str, question: str) -> str:
        more = " and others" if count.isdecimal() and int(count) > min(len(one.ends), MOST_SHOWN) else ""
        subject = f"{one.relation} of {one.start}" if one.forward else f"{one.relation}: {one.start}"
        return f"There are {count} ({subject}): {_listed(one.ends, ', ')}{more}."

    @staticmethod
    def concluded(values: Sequence[str], total: int, said: str) -> str:
        more = f" and others, {total} in all" if total > len(values) else ""
        return f"{', '.join(values)}{more}. This follows from: {said}."
