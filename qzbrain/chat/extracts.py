"""What the extractive answer shows: chosen sentences, made readable. Pure.

A sentence that announces a list (种类：) brings the list's items; a sentence of an article brings the whole article when it is short, or
when the question asks for a list; a question brings its answer. Extracts of one passage stand in reading order, passages in the order of their best sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from qzbrain.chat.context import Passage, is_article
from qzbrain.models.extractive import BESIDE_RECORD, MOST_SENTENCES, Selected, Source, select
from qzbrain.retrieval.shelves import FACTS
from qzbrain.text.records import is_pair, records
from qzbrain.text.sentences import sentences

SHORT_ARTICLE_CHARS = 300
LONGEST_LIST_CHARS = 600
_ASKS_LIST = re.compile(
    r"哪些|种类|有哪几|几种|情形|条件|职责|包括|内容|列举|规定了?什么|第[零〇一二三四五六七八九十百千\d]+条|\b(?:which|list|what are|kinds?|types?)\b", re.I
)
_ANNOUNCES = re.compile(r"[：:]\s*\Z")
_ITEM = re.compile(r"\s*(?:[（(][一二三四五六七八九十\d]{1,3}[）)]|[一二三四五六七八九十]{1,3}、|\d{1,2}[.、)）]|[-*•·])")
_HEADING = re.compile(r"#{1,6}\s|[=\-*_]{3,}\Z")
_EMPHASIS = re.compile(r"\*\*(\S(?:.*?\S)?)\*\*")


@dataclass(frozen=True, slots=True)
class Extract:
    """A stretch to show: `passages[passage].text[start:end]`; citation mark is passage + 1."""

    passage: int
    start: int
    end: int


def extracts(question: str, passages: Sequence[Passage]) -> list[Extract]:
    """Two or three sentences as a rule; articles that the question names are shown alone. Empty when no sentence holds any of its terms."""
    named = [i for i, passage in enumerate(passages) if "reference" in passage.hit.sources]
    if named:
        return [Extract(i, 0, len(passages[i].text)) for i in named[:MOST_SENTENCES]]
    chosen = select(question, [Source(x.text, x.weight) for x in passages])
    if chosen and passages[chosen[0].passage].hit.kind == FACTS:  # each line says one fact, and as with rows of a table the others are other facts
        chosen = [one for one in chosen if one.score >= BESIDE_RECORD * chosen[0].score]
    wants_list = _ASKS_LIST.search(question) is not None
    shown: list[Extract] = []
    for one in chosen:
        stretch = _stretch(one, passages[one.passage], wants_list)
        if not any(x.passage == stretch.passage and x.start <= stretch.start and stretch.end <= x.end for x in shown):
            shown = [x for x in shown if not (x.passage == stretch.passage and stretch.start <= x.start and x.end <= stretch.end)]
            shown.append(stretch)
    return _in_order(shown[:MOST_SENTENCES])


def readable(text: str) -> str:
    """The stretch as an answer shows it: without heading lines and emphasis of Markdown, and without empty lines."""
    lines = (line.strip() for line in _EMPHASIS.sub(r"\1", text).splitlines())
    kept = [line for line in lines if line and not _HEADING.match(line)]
    return "\n".join(kept) or text.strip()


def _stretch(one: Selected, passage: Passage, wants_list: bool) -> Extract:
    if passage.article and (wants_list or len(passage.text) <= SHORT_ARTICLE_CHARS):
        return Extract(one.passage, 0, len(passage.text))
    if (pair := _pair(passage.text, one)) is not None:
        return pair
    end = one.end
    if _ANNOUNCES.search(passage.text[one.start : one.end]):
        end = _list_end(passage.text, one.end)
    elif is_article(passage.hit.heading_path) and len(passage.text) <= SHORT_ARTICLE_CHARS:
        return Extract(one.passage, 0, len(passage.text))
    return Extract(one.passage, one.start, end)


def _pair(text: str, one: Selected) -> Extract | None:
    """The answer to a question that was chosen, or the question to its answer: the pair whole, of a long one the beginning."""
    start = next((start for start, end in records(text) if start <= one.start and one.end <= end and is_pair(text, start)), None)
    if start is None or one.start - start > LONGEST_LIST_CHARS:
        return None
    end = one.end
    for _, stop in sentences(text[start : start + LONGEST_LIST_CHARS]):
        end = max(end, start + stop)
    return Extract(one.passage, start, min(end, next(end for begin, end in records(text) if begin == start)))


def _list_end(text: str, end: int) -> int:
    """Where the list items that follow `end` are over; `end` when none follows."""
    over = end
    for start, stop in sentences(text[end : end + LONGEST_LIST_CHARS]):
        if not _ITEM.match(text, end + start):
            break
        over = end + stop
    return over


def _in_order(shown: Sequence[Extract]) -> list[Extract]:
    order = {x.passage: i for i, x in reversed(list(enumerate(shown)))}
    return sorted(shown, key=lambda x: (order[x.passage], x.start))
