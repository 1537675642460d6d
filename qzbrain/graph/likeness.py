"""Names that may mean one thing. Pure.

Names that differ only in width, case, blanks or script (臺灣, 台湾) are one anyway (`linking.name_key`). What is found here only looks alike: each pair
comes with a reason and a score, for a person to decide. No score is so high that entities would be made one by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qzbrain.graph.linking import name_key

SCORES = {
    "same_name": 0.95,  # one name, two types
    "marks": 0.9,  # 《刑法》, 刑法
    "alias": 0.85,  # an alias of one is the other's name
    "company": 0.8,  # 晨光文具股份有限公司, 晨光文具
    "region": 0.75,  # 中华人民共和国刑法, 刑法; 上海晨光文具有限公司, 晨光文具
    "outside": 0.75,  # 晨光文具（上海）, 晨光文具
    "form": 0.6,  # 晨光文具有限公司, 晨光文具股份有限公司: perhaps two companies
    "inside": 0.55,  # 造纸厂（晨光集团）, 晨光集团: often the parent
}
"""Likeness by reason."""
OTHER_TYPE = 0.8
"""Times the score where both have a type and not the same."""
_MOST_ALIKE = 8
"""More names of one reduced form than this say that the form means nothing."""
_SHORTEST, _SHORTEST_OF_A_REGION, _SHORTEST_INSIDE = 2, 4, 4
"""浙江大学 is not 大学; in a parenthesis of three characters mostly stands a country, in one with digits a year or an amount."""

_MARKS = str.maketrans("", "", "《》〈〉「」『』【】〔〕“”‘’\"'`·•・")
_COMPANY = re.compile(
    r"(?:(?:集团)?(?:股份)?有限(?:责任)?公司|股份公司|总公司|公司|集团|,?co\.,?ltd\.?|,?inc\.?|,?ltd\.?|,?llc\.?|,?corp(?:oration)?\.?|,?gmbh)$"
)
_REGION = re.compile(
    r"^(?:中华人民共和国|中国|(?:北京|上海|天津|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西|甘肃|青海|台湾"
    r"|内蒙古|广西|西藏|宁夏|新疆|香港|澳门|广州|深圳|杭州|南京|武汉|成都|西安|苏州|天津|青岛|大连|厦门|宁波)(?:省|市|自治区|特别行政区)?)"
)
_COUNTRY = ("中华人民共和国", "中国")
_BRACKETED = re.compile(r"^(.*?)\(([^()]+)\)(.*)$")


@dataclass(frozen=True, slots=True)
class Likeness:
    """Two places in the list of names, and why they look alike. `keep`: the one whose name is the fuller, or the plainer, of both."""

    keep: int
    other: int
    reason: str
    score: float


def alike(named: Sequence[tuple[str, str]]) -> Iterator[Likeness]:
    """Pairs among (name, type), each once, with its best reason."""
    keys = [name_key(name) for name, _ in named]
    by_key: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        by_key.setdefault(key, []).append(place)
    best: dict[tuple[int, int], Likeness] = {}
    for one in (*_same(by_key, named), *_reduced(keys, by_key)):
        found = _weighed(one, named)
        pair = (min(one.keep, one.other), max(one.keep, one.other))
        if pair not in best or best[pair].score < found.score:
            best[pair] = found
    yield from sorted(best.values(), key=lambda x: (-x.score, x.keep, x.other))


def _weighed(one: Likeness, named: Sequence[tuple[str, str]]) -> Likeness:
    types = named[one.keep][1], named[one.other][1]
    differ = one.reason != "same_name" and all(types) and types[0] != types[1]
    return Likeness(one.keep, one.other, one.reason, round(one.score * (OTHER_TYPE if differ else 1.0), 4))


def _same(by_key: dict[str, list[int]], named: Sequence[tuple[str, str]]) -> Iterator[Likeness]:
    """One name with several types. Without a type it is one with the only typed one by itself."""
    for places in by_key.values():
        typed = [one for one in places if named[one][1]]
        if 1 < len(typed) <= _MOST_ALIKE:
            yield from (Likeness(typed[0], other, "same_name", SCORES["same_name"]) for other in typed[1:])


def _reduced(keys: Sequence[str], by_key: dict[str, list[int]]) -> Iterator[Likeness]:
    """Names with less in them that are names too, and names that are the same with less in them."""
    by_stem: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        if not any(c.isalpha() for c in key):
            continue  # numbers and dates
        for form, reason in _forms(key):
            for other in by_key.get(form, ())[:_MOST_ALIKE]:
                if keys[other] != key:
                    keep, gone = (other, place) if reason == "marks" else (place, other)
                    yield Likeness(keep, gone, reason, SCORES[reason])
        if (stem := _COMPANY.sub("", key)) != key and len(stem) >= _SHORTEST:
            by_stem.setdefault(stem, []).append(place)
    for places in by_stem.values():
        if 1 < len(places) <= _MOST_ALIKE:
            yield from (Likeness(places[0], other, "form", SCORES["form"]) for other in places[1:] if keys[other] != keys[places[0]])


def _forms(key: str) -> Iterator[tuple[str, str]]:
    """What a name is without its marks, its company's form, its region, its parenthesis; each at least two characters."""
    bare = key.translate(_MARKS)
    found = [(bare, "marks")] if bare != key else []
    if (bracketed := _BRACKETED.match(bare)) and not bare[0].isdecimal():  # 1950年（庚寅）, 145 g（5.1 oz）
        found += [(bracketed[1] + bracketed[3], "outside")]
        found += [(bracketed[2], "inside")] if _names_something(bracketed[2]) else []
    stem = _COMPANY.sub("", bare)
    found += [(stem, "company")] if stem != bare else []
    if region := _REGION.match(bare):
        least = _SHORTEST if region[0] in _COUNTRY else _SHORTEST_OF_A_REGION
        found += [(one, "region") for one in (bare[region.end() :], _COMPANY.sub("", bare[region.end() :])) if len(one) >= least]
    seen = set[str]()
    for form, reason in found:
        if len(form) >= _SHORTEST and form not in seen and any(c.isalpha() for c in form):
            seen.add(form)
            yield form, reason


def _names_something(text: str) -> bool:
    """Whether what stands in a parenthesis may be a name of the whole, such as a short form or letters."""
    return not any(c.isdecimal() for c in text) and (len(text) >= _SHORTEST_INSIDE or (text.isascii() and text.isalpha()))
