"""Articles named in a question, 民法典第一千零四十二条 or 第12条, found directly by their key instead of by their words.

Knows how laws are named: in full, without 中华人民共和国, in 《》, shortened (民诉法). An article without a law's name counts when
only one document in scope has it, or when the rest of the question clearly points to one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, product
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import bindparam, select

from qzbrain.domain import ReadScope
from qzbrain.errors import IndexUnavailable
from qzbrain.retrieval.base import LexicalHit, NoIndex, SearchIndex
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, documents
from qzbrain.text.normalize import searchable
from qzbrain.text.numerals import ArticleMention, article_mentions

NAMED = 1.0
"""Confidence of an article whose law the question names."""
CLEAR = 0.5
"""Least coverage of the rest of the question at which an article without a law's name is taken from the best document."""
LONGEST_RANGE = 20
MOST_MENTIONS = 20

_CANDIDATES = (
    select(chunks.c.document_id, documents.c.title, chunks.c.id, documents.c.level)
    .join(documents, documents.c.id == chunks.c.document_id)
    .where(chunks.c.kb_id == bindparam("kb"), chunks.c.reference == bindparam("key"))
    .order_by(chunks.c.document_id, chunks.c.ordinal)
)
_DOCUMENT_OF = select(chunks.c.document_id).where(chunks.c.id == bindparam("chunk"))
_STATE = "中华人民共和国"
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|[《》〈〉<>\"'“”\s]")
_NAME_BEFORE = re.compile(r"([\u4e00-\u9fff]{3,24})[》〉\"”\s]*(?:第[^条]{1,6}[编章节])?[的\s,、]*$")
_GOES_ON = re.compile(r"^(?:实施|施行|修正案|司法解释|的?解释|条例|细则|办法|规定)")
_RANGE = re.compile(r"^\s*(?:至|到|-|—|~|～)\s*$")


@dataclass(frozen=True, slots=True)
class ReferenceHit:
    """A chunk of an article that the question names."""

    chunk_id: int
    document_id: str
    kb_id: str
    confidence: float


class _Article(NamedTuple):
    """An article with this key in one document: its chunks in order. A tuple, because hundreds of laws have an article 12."""

    key: str
    document_id: str
    kb_id: str
    name: str
    chunk_ids: list[int]


class References:
    """Looks articles up in SQL."""

    def __init__(self, database: Database, index: SearchIndex) -> None:
        self._chunks_of_key = database.prepared(_CANDIDATES)
        self._document_of_chunk = database.prepared(_DOCUMENT_OF)
        self._index = index

    def find(self, question: str, scope: ReadScope) -> list[ReferenceHit]:
        """The chunks of all articles named, in the order of their naming, each article's chunks in order; [] when none is named or clear."""
        text = searchable(question)
        mentions = _with_ranges(text, article_mentions(text))[:MOST_MENTIONS]
        if not mentions or not scope.kb_ids:
            return []
        articles = self._candidates(scope, sorted({m.key for m in mentions}))
        hits: dict[int, ReferenceHit] = {}
        for mention in mentions:
            having = [a for a in articles if a.key == mention.key]
            named = _named(text, mention, having)
            found = [(a, NAMED) for a in named] if named is not None else self._clear(text, mentions, having)
            for article, confidence in found:
                for chunk_id in article.chunk_ids:
                    hits.setdefault(chunk_id, ReferenceHit(chunk_id, article.document_id, article.kb_id, confidence))
        return list(hits.values())

    def _candidates(self, scope: ReadScope, keys: Sequence[str]) -> list[_Article]:
        allowed = None if scope.document_ids is None else frozenset(scope.document_ids)
        found: list[_Article] = []
        for kb_id, key in product(scope.kb_ids, keys):
            most = scope.max_level(kb_id)
            rows = [row for row in self._chunks_of_key(kb=kb_id, key=key) if most is None or row[3] <= most]
            for (document_id, title), group in groupby(rows, key=itemgetter(0, 1)):
                if allowed is None or document_id in allowed:
                    found.append(_Article(key, document_id, kb_id, _short_name(title), [row[2] for row in group]))
        return found

    def _clear(self, text: str, mentions: Sequence[ArticleMention], having: Sequence[_Article]) -> list[tuple[_Article, float]]:
        """The one article with this key, or the one in the document that the rest of the question points to."""
        if not having:
            return []
        rest = text
        for mention in mentions:
            rest = rest.replace(text[mention.start : mention.end], " ")
        best: tuple[float, float, _Article] | None = None
        for kb_id in dict.fromkeys(a.kb_id for a in having):
            inside = {a.document_id: a for a in having if a.kb_id == kb_id}
            for hit in self._best_inside(kb_id, rest, list(inside)):  # of documents that may all be seen
                of_hit = inside.get(self._document_of(hit.chunk_id))
                if of_hit is not None and (best is None or (hit.confidence, hit.score) > best[:2]):
                    best = hit.confidence, hit.score, of_hit
        if len(having) == 1:
            return [(having[0], best[0] if best else NAMED)]
        return [(best[2], best[0])] if best is not None and best[0] >= CLEAR else []

    def _document_of(self, chunk_id: int) -> str:
        """'' for a chunk that has just been deleted."""
        rows = self._document_of_chunk(chunk=chunk_id)
        return str(rows[0][0]) if rows else ""

    def _best_inside(self, kb_id: str, text: str, document_ids: Sequence[str]) -> list[LexicalHit]:
        """[] also while the index is away or missing: then only an article that one document alone has is clear."""
        try:
            return self._index.search(kb_id, text, top_k=1, document_ids=document_ids)
        except (IndexUnavailable, NoIndex):
            return []


def _with_ranges(text: str, mentions: Sequence[ArticleMention]) -> list[ArticleMention]:
    """第十条至第十二条 names the articles between as well."""
    out: list[ArticleMention] = []
    for mention in mentions:
        before = out[-1] if out else None
        if before is not None and _RANGE.match(text[before.end : mention.start]) and before.key.isdecimal() and mention.key.isdecimal():
            first, last = int(before.key) + 1, int(mention.key)
            if first < last <= first + LONGEST_RANGE:
                out += [ArticleMention(before.start, before.end, str(key)) for key in range(first, last)]
        out.append(mention)
    return out


@lru_cache(maxsize=16_384)
def _short_name(title: str) -> str:
    """《中华人民共和国公司法(2023修订)》 -> 公司法."""
    return _BRACKETS.sub("", searchable(title)).removeprefix(_STATE)


def _named(text: str, mention: ArticleMention, articles: Sequence[_Article]) -> list[_Article] | None:
    """The articles of the law named for this mention: the nearest name before it, else after it. None when no law is named.

    [] when a law is named that none of them belongs to: another law's article of this number would be a wrong answer.
    """
    best: tuple[int, int] | None = None
    chosen: list[_Article] = []
    for article in articles:
        if article.name not in text:
            continue
        place = _place(text, mention, article.name)
        if place is not None and (best is None or place > best):
            best, chosen = place, [article]
        elif place is not None and place == best:
            chosen.append(article)
    before = _NAME_BEFORE.search(text[: mention.start])
    if before is None or not before[1].endswith(_LAW_ENDS):
        return chosen or None
    if chosen and best is not None and best[0] >= before.end(1):
        return chosen
    return _shortened(before[1], articles) or chosen or []


_LAW_ENDS = ("法", "法典", "条例", "规定", "办法", "细则", "规则", "准则", "章程", "制度", "通则", "解释", "决定")


def _place(text: str, mention: ArticleMention, name: str) -> tuple[int, int] | None:
    """(end of the name nearest before the mention, its length), comparable; names after it come last, as negative distances."""
    if len(name) < 2:
        return None
    at = text.rfind(name, 0, mention.start)
    while at >= 0 and _GOES_ON.match(text[at + len(name) :]):
        at = text.rfind(name, 0, at)
    if at >= 0:
        return at + len(name), len(name)
    at = text.find(name, mention.end)
    return None if at < 0 or _GOES_ON.match(text[at + len(name) :]) else (-at, len(name))


def _shortened(run: str, articles: Sequence[_Article]) -> list[_Article]:
    """Articles of the law that the end of `run` shortens, 根据民诉法 -> 民事诉讼法: same first and last character, the rest in order."""
    for start in range(len(run) - 2):
        short = run[start:]
        fitting = [a for a in articles if a.name[:1] == short[0] and a.name[-1:] == short[-1] and _in_order(short, a.name)]
        if fitting:
            least = min(len(a.name) for a in fitting)
            return [a for a in fitting if len(a.name) == least]
    return []


def _in_order(short: str, name: str) -> bool:
    rest = iter(name)
    return all(char in rest for char in short)
