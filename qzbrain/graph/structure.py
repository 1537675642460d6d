"""Facts that a regulation states about itself, found without a language model: what contains what, which article refers to which, what a term means.
Pure, linear.

Every fact has its place: the quote stands literally in the document's text. An article named by number alone is one of the same regulation; one that stands
behind a name is that regulation's. What cannot be told with certainty is left out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qzbrain.graph.base import Fact, Place
from qzbrain.text.numerals import article_label, article_mentions

CONTAINS, REFERS, MEANS = "包含", "引用", "是指"
LAW, PART, ARTICLE, TERM, BOOK = "法规", "章节", "条款", "术语", "文献"
DEFINITION_CHARS = 400
LONGEST_RANGE = 30
LONGEST_BARE = 20
"""A longer name of a law without 《》 has something else before it."""

_STATE = re.compile(r"^中华人民共和国(?=.{2,})")
_VERSION = re.compile(r"[（(](?:\d{4}|[^（）()]{0,8}修[正订改])[^（）()]{0,12}[）)]$")
_QUOTED_LAW = re.compile(r"《([^《》\n]{2,60}(?:法|法典|条例|规定|办法|细则|规则|决定|解释|公约|章程|准则|通则))》")
_QUOTED_BEFORE = re.compile(r"《([^《》\n]{2,60})》(?:的)?$")
_BARE_LAW = re.compile(r"((?:中华人民共和国)?[\u4e00-\u9fff]{1,24}(?:法|法典|条例))(?:的)?$")
_VERBS = re.compile(
    r"依照|按照|根据|依据|参照|比照|适用|违反|符合|遵守|遵照|不属于|关于|以及|或者|^(?:除|由|在|对(?!外)|和|及|与|或)|(?<=[法典例])[和及与或]"
)
"""What comes before a law's name and is no part of it."""
_OWN = re.compile(r"本(?:法|条例|规定|办法|细则|规则|法典|章程|准则)(?:的)?$")
_STRANGE = re.compile(r"(?:法|法典|条例|规定|办法|细则|规则|公约|协定|章程|决定|合同|附件\S{0,4}|附表\S{0,4})(?:的)?$")
_GOES_ON = re.compile(r"(?:第[一二三四五六七八九十\d]{1,4}[款项目]|、|和|及|以及|或者?|与|[，,]|之[一二三四五六七八九十]|\s|（[一二三四五六七八九十]+）)*$")
_RANGE = re.compile(r"(?:第[一二三四五六七八九十\d]{1,4}[款项目])?\s*(?:至|到|—|－|-)\s*$")
_MEANS = re.compile(
    r"(?:^|(?<=[。；：\n　]))(?P<number>\s*(?:\*\*第[^*]{1,12}条\*\*|第[一二三四五六七八九十百零]{1,7}条|（[一二三四五六七八九十]{1,3}）)?[\s　]*)"
    r"(?:本(?:法|条例|规定|办法|细则|规则|章|节|条|款|编|法典|分编|解释)(?:中)?(?:所称|所指|所说)?的?)?"
    r"(?P<term>[“\"]?[^，。；：、\s“”\"（）()的]{2,24}?[”\"]?)[，,]?\s*(?:，)?是指(?!导|定|派|使|标|示|数|向|明|出)(?P<means>[^。\n]{4,400})",
    re.MULTILINE,
)
_NO_TERM = re.compile(r"^(?:其中|前款|上述|该|这|其|本|所称|前述|即|就是|也|又|不|如果|因此|以上|以下)|(?:所称|应当|可以|规定|情形|情况)$")


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """A stretch of a document under one heading path; `reference`: the article's key when it is one. `chunks`: (start, id) of its chunks, in order."""

    start: int
    end: int
    path: tuple[str, ...]
    reference: str = ""
    chunks: tuple[tuple[int, int], ...] = ()

    def chunk_at(self, offset: int) -> int:
        """The chunk in which the text's `offset` stands; 0 when unknown."""
        at = bisect_right(self.chunks, (offset, 1 << 62)) - 1
        return self.chunks[max(at, 0)][1] if self.chunks else 0


def short_title(title: str) -> str:
    """A regulation's name as people say it: 《中华人民共和国公司法》 -> 公司法."""
    return _STATE.sub("", _VERSION.sub("", title.strip("《》 ")).strip())


def structure(document_id: str, title: str, text: str, parts: Sequence[DocumentPart]) -> list[Fact]:
    """All facts of one document, in the order of its text. [] for one that is no regulation."""
    articles = {part.reference for part in parts if part.reference}
    if len(articles) < 2:
        return []
    law = short_title(title)
    facts = [*_containment(document_id, title, law, text, parts)]
    for part in parts:
        if part.reference:
            facts += _references(document_id, law, text, part, articles)
    facts += _definitions(document_id, text, parts)
    return facts


def article_name(law: str, key: str) -> str:
    """公司法第十二条."""
    return f"{law}{article_label(key)}"


def _containment(document_id: str, title: str, law: str, text: str, parts: Sequence[DocumentPart]) -> Iterator[Fact]:
    seen: set[tuple[str, str]] = set()
    aliases = (title.strip("《》 "),) if title.strip("《》 ") != law else ()
    for part in parts:
        above, above_type = law, LAW
        names = list(part.path[1:])
        for number, name in enumerate(names):
            last = number == len(names) - 1 and bool(part.reference)
            below = article_name(law, part.reference) if last else f"{law} {name}"
            kind = ARTICLE if last else PART
            if (above, below) not in seen:
                seen.add((above, below))
                quote = text[part.start : min(part.end, part.start + 40)].split("\n")[0]
                place = Place("structure", document_id, part.chunk_at(part.start), part.start, part.start + len(quote), quote)
                yield Fact(above, CONTAINS, below, place, above_type, kind, aliases if above == law else ())
            above, above_type = below, kind


def _references(document_id: str, law: str, text: str, part: DocumentPart, articles: set[str]) -> Iterator[Fact]:
    body = text[part.start : part.end]
    here = article_name(law, part.reference)
    before: tuple[int, str, str] | None = None  # end of the mention before, its law, its key
    for mention in article_mentions(body):
        if mention.start == 0 or not body[: mention.start].strip(" \u3000*#\n>"):
            continue  # the article's own label
        whose = _whose(body, mention.start, law, before)
        end = mention.end
        if whose is not None:
            place = _sentence(document_id, part, body, mention.start, end)
            keys = [mention.key]
            if before is not None and before[1] == whose and _RANGE.fullmatch(body[before[0] : mention.start]):
                keys = _between(before[2], mention.key) + keys
            for key in keys:
                if (whose, key) != (law, part.reference) and (whose != law or key in articles):
                    yield Fact(here, REFERS, article_name(whose, key), place, ARTICLE, ARTICLE)
            before = (end, whose, mention.key)
        else:
            before = None
    for match in _QUOTED_LAW.finditer(body):
        other = short_title(match[1])
        if other != law:
            yield Fact(here, REFERS, other, _sentence(document_id, part, body, match.start(), match.end()), ARTICLE, LAW)


def _whose(body: str, start: int, law: str, before: tuple[int, str, str] | None) -> str | None:
    """The regulation to which an article named at `start` belongs; None when it cannot be told."""
    if before is not None and (_GOES_ON.fullmatch(body[before[0] : start]) or _RANGE.fullmatch(body[before[0] : start])):
        return before[1]
    ahead = body[max(0, start - 70) : start]
    if quoted := _QUOTED_BEFORE.search(ahead):
        return short_title(quoted[1])
    if _OWN.search(ahead):
        return law
    if bare := _BARE_LAW.search(ahead):
        name = _VERBS.split(bare[1])[-1]
        return short_title(name) if 1 < len(name) <= LONGEST_BARE else None
    return None if _STRANGE.search(ahead) else law


def _between(first: str, last: str) -> list[str]:
    if not (first.isdecimal() and last.isdecimal()):
        return []
    low, high = int(first) + 1, int(last)
    return [str(key) for key in range(low, high)] if low <= high <= low + LONGEST_RANGE else []


def _definitions(document_id: str, text: str, parts: Sequence[DocumentPart]) -> Iterator[Fact]:
    for part in parts:
        body = text[part.start : part.end]
        if "是指" not in body:
            continue
        for match in _MEANS.finditer(body):
            term = match["term"].strip("“”\" *")
            if len(term) < 2 or _NO_TERM.search(term):
                continue
            start = match.start("term")
            quote = body[start : match.end()]
            place = Place("definition", document_id, part.chunk_at(part.start + start), part.start + start, part.start + match.end(), quote)
            yield Fact(term, MEANS, match["means"].strip(" ，：:")[:DEFINITION_CHARS], place, TERM)


def _sentence(document_id: str, part: DocumentPart, body: str, start: int, end: int) -> Place:
    """The sentence around a stretch, as the fact's quote; of a very long one what stands near."""
    left = max((body.rfind(mark, 0, start) for mark in "。；\n"), default=-1) + 1
    right = min((at for at in (body.find(mark, end) for mark in "。；\n") if at >= 0), default=len(body))
    left, right = max(left, start - 120), min(right, end + 120)
    return Place("reference", document_id, part.chunk_at(part.start + start), part.start + left, part.start + right, body[left:right])
