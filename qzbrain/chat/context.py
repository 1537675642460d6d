"""From hits to the passages that an answer may use: torn articles made whole, neighbours merged, within a budget.

A passage is a stretch of one document's stored text, so a citation's quote stands literally at its offsets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import orjson
from sqlalchemy import Row, bindparam, func, select

from qzbrain.domain import Citation, Hit
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, document_texts

PARENT_CHARS = 800
"""A section (an article, what stands under a heading) up to this length is shown whole when one of its chunks is found."""
MADE_WHOLE = 3
"""How many of the best hits are completed."""
JOINED_GAP_CHARS = 3
"""Two hits of one section with at most this many characters between them (a line's end) are one passage."""
_REACH = 6
_ARTICLE = re.compile(r"\A第[零〇一二三四五六七八九十百千万两\d]+条")

_SIBLINGS = select(chunks.c.ordinal, chunks.c.start, chunks.c.end, chunks.c.heading_path, chunks.c.disabled).where(
    chunks.c.document_id == bindparam("document"), chunks.c.ordinal.between(bindparam("first"), bindparam("last"))
)
_SLICE = select(func.substr(document_texts.c.text, bindparam("first"), bindparam("length"))).where(document_texts.c.document_id == bindparam("document"))


@dataclass(frozen=True, slots=True)
class Passage:
    """`text == document_text[start:end]`; `weight`: its hit's score relative to the best. `article`: it is one whole article."""

    hit: Hit
    start: int
    end: int
    text: str
    weight: float
    article: bool


def passages(db: Database, hits: Sequence[Hit], *, limit_chars: int, most: int, parent_chars: int = PARENT_CHARS) -> list[Passage]:
    """Best first; at most `most`, of at most `limit_chars` characters together (the best one always)."""
    best = max((hit.score for hit in hits), default=0.0) or 1.0
    spans = [_span(db, hit, parent_chars=parent_chars if number < MADE_WHOLE else 0) for number, hit in enumerate(hits)]
    found: list[Passage] = []
    for hit, (start, end, article) in zip(hits, spans, strict=True):
        place = next((i for i, x in enumerate(found) if _joins(x, hit, start, end)), None)
        if place is None:
            found.append(Passage(hit, start, end, "", hit.score / best, article))
        else:
            other = found[place]
            found[place] = replace(other, start=min(other.start, start), end=max(other.end, end), article=other.article or article)
    return _within(db, found, limit_chars, most)


def whole_answer(db: Database, hit: Hit, answer: str) -> Passage:
    """The answer of the curated entry that `hit` belongs to: the end of its text. Where that has changed meanwhile, the hit alone."""
    rows = db.rows(select(document_texts.c.text).where(document_texts.c.document_id == hit.document_id))
    text = rows[0].text if rows else ""
    if not text.endswith(answer):
        return Passage(hit, hit.start, hit.end, hit.text, 1.0, article=False)
    return Passage(hit, len(text) - len(answer), len(text), answer, 1.0, article=False)


def to_citations(found: Sequence[Passage], first: int = 1) -> tuple[Citation, ...]:
    """The passages as sources, numbered from `first`; none is cited yet."""
    return tuple(_citation(number, passage) for number, passage in enumerate(found, first))


def is_article(heading_path: Sequence[str]) -> bool:
    """Whether the section is an article of a regulation (第十二条 …)."""
    return bool(heading_path) and _ARTICLE.match(heading_path[-1]) is not None


def _citation(index: int, passage: Passage) -> Citation:
    hit = passage.hit
    return Citation(
        index=index,
        document_id=hit.document_id,
        external_id=hit.external_id,
        document=hit.document,
        title=hit.title or hit.document,
        heading_path=hit.heading_path,
        page=hit.page,
        start=passage.start,
        end=passage.end,
        quote=passage.text,
        url=f"/documents/{hit.document_id}?start={passage.start}&end={passage.end}",
        cited=False,
        supported=None,
        kb_id=hit.kb_id,
        level=hit.level,
    )


def _span(db: Database, hit: Hit, *, parent_chars: int) -> tuple[int, int, bool]:
    """The hit's own span, or that of its whole section (an article, what stands under a heading) when that is short enough.

    A chunk that is switched off ends it: what no search may find is not shown either.
    """
    own = hit.start, hit.end, False
    if hit.end - hit.start >= parent_chars:
        return own
    siblings = db.rows(_SIBLINGS.order_by(chunks.c.ordinal), {"document": hit.document_id, "first": hit.ordinal - _REACH, "last": hit.ordinal + _REACH})
    before = _run([row for row in reversed(siblings) if row.ordinal < hit.ordinal], hit)
    after = _run([row for row in siblings if row.ordinal > hit.ordinal], hit)
    start, end = min([hit.start, *(row.start for row in before)]), max([hit.end, *(row.end for row in after)])
    if end - start > parent_chars:
        return own
    return start, end, is_article(hit.heading_path)


def _run(rows: Sequence[Row[Any]], hit: Hit) -> list[Row[Any]]:
    """The rows up to the first that is of another section or switched off."""
    return list(takewhile(lambda row: not row.disabled and tuple(orjson.loads(row.heading_path)) == hit.heading_path, rows))


def _joins(passage: Passage, hit: Hit, start: int, end: int) -> bool:
    """Whether the span overlaps or touches the passage, in the same section."""
    if passage.hit.document_id != hit.document_id or passage.hit.heading_path != hit.heading_path:
        return False
    return start <= passage.end + JOINED_GAP_CHARS and passage.start <= end + JOINED_GAP_CHARS


def _within(db: Database, found: Sequence[Passage], limit_chars: int, most: int) -> list[Passage]:
    kept: list[Passage] = []
    used = 0
    for passage in found:
        used += passage.end - passage.start
        if len(kept) == most or (kept and used > limit_chars):
            break
        text = _text(db, passage)
        if text:
            kept.append(replace(passage, text=text))
    return kept


def _text(db: Database, passage: Passage) -> str:
    """The text of the span; '' when the document is gone meanwhile."""
    hit = passage.hit
    if (passage.start, passage.end) == (hit.start, hit.end):
        return hit.text
    rows = db.rows(_SLICE, {"document": hit.document_id, "first": passage.start + 1, "length": passage.end - passage.start})
    return str(rows[0][0]) if rows else ""
