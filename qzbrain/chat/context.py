"""From hits to the passages that an answer may use: torn articles made whole, neighbours merged, within a budget.

A passage is a stretch of one document's stored text, so a citation's quote stands literally at its offsets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson
from sqlalchemy import bindparam, func, select

from qzbrain.domain import Citation, Hit
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, document_texts

WHOLE_ARTICLE_CHARS = 800
"""An article up to this length is shown whole when one of its chunks is found."""
MADE_WHOLE = 3
"""How many of the best hits are completed."""
JOINED_GAP_CHARS = 3
"""Two hits of one section with at most this many characters between them (a line's end) are one passage."""
_REACH = 6
_ARTICLE = re.compile(r"\A第[零〇一二三四五六七八九十百千万两\d]+条")

_SIBLINGS = select(chunks.c.start, chunks.c.end, chunks.c.heading_path).where(
    chunks.c.document_id == bindparam("document"), chunks.c.ordinal.between(bindparam("first"), bindparam("last")), chunks.c.disabled == 0
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


def passages(db: Database, hits: Sequence[Hit], *, limit_chars: int, most: int) -> list[Passage]:
    """Best first; at most `most`, of at most `limit_chars` characters together (the best one always)."""
    best = max((hit.score for hit in hits), default=0.0) or 1.0
    spans = [_span(db, hit, complete=number < MADE_WHOLE) for number, hit in enumerate(hits)]
    found: list[Passage] = []
    for hit, (start, end, article) in zip(hits, spans, strict=True):
        place = next((i for i, x in enumerate(found) if _joins(x, hit, start, end)), None)
        if place is None:
            found.append(Passage(hit, start, end, "", hit.score / best, article))
        else:
            other = found[place]
            found[place] = replace(other, start=min(other.start, start), end=max(other.end, end), article=other.article or article)
    return _within(db, found, limit_chars, most)


def to_citations(found: Sequence[Passage]) -> tuple[Citation, ...]:
    """The passages as sources, numbered from 1; none is cited yet."""
    return tuple(_citation(number, passage) for number, passage in enumerate(found, 1))


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
    )


def _span(db: Database, hit: Hit, *, complete: bool) -> tuple[int, int, bool]:
    """The hit's own span, or the whole article's when the hit is a part of one that is short enough."""
    if not complete or not is_article(hit.heading_path):
        return hit.start, hit.end, False
    siblings = db.rows(_SIBLINGS, {"document": hit.document_id, "first": hit.ordinal - _REACH, "last": hit.ordinal + _REACH})
    same = [row for row in siblings if tuple(orjson.loads(row.heading_path)) == hit.heading_path]
    start, end = min([hit.start, *(row.start for row in same)]), max([hit.end, *(row.end for row in same)])
    return (start, end, True) if end - start <= WHOLE_ARTICLE_CHARS else (hit.start, hit.end, False)


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
