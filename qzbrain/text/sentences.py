"""Sentences of Chinese and English text, as offset spans; pure, linear in the length of the text.

A sentence ends at 。！？ (with the closing quotes and brackets that follow), at a line's end, and at . ! ? where the next
thing is a blank, a closing mark or a Chinese character. Decimals, abbreviations, initials, list numbers and addresses stay
whole. A line that breaks off in the middle of an English sentence goes on in the next line.
"""

from __future__ import annotations

import re
from bisect import bisect_left

_CLOSERS = "”’」』）】》〉〕］｝\"')\\]}"
_BOUNDARY = re.compile(
    rf"[。！？｡]+[。！？｡!?…]*[{_CLOSERS}]*"
    rf"|[!?]+[{_CLOSERS}]*(?=[\s\u2e80-\U0003ffff]|\Z)"
    rf"|\.[{_CLOSERS}]*(?:\[\d{{1,3}}\])*(?=[\s\u2e80-\U0003ffff]|\Z)"
    r"|[ \t\u3000]*[\r\n\u2028\u2029\x0b\x0c]\s*"
)
_BEFORE_CAPITALS = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "e.g", "i.e", "eg", "ie", "cf", "no", "nos", "fig", "figs", "eq", "vol", "ed", "eds",
    "pp", "art", "sec", "ch", "dept", "est", "approx", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
    "gen", "col", "lt", "maj", "capt", "cmdr", "adm", "sgt", "gov", "sen", "rep", "rev", "hon", "pres", "mt", "ft", "ave", "blvd",
})
_OPENERS = frozenset({
    "a", "an", "the", "he", "she", "it", "they", "we", "i", "you", "this", "that", "these", "those", "there", "in", "on", "at", "as", "if", "when", "while",
    "after", "before", "but", "and", "however", "although", "since", "his", "her", "its", "their", "our", "my", "for", "by", "with", "from", "some", "many",
})
"""Words that begin a sentence after an abbreviation such as U.S.; a name (U.S. Army) goes on."""
_NEXT_WORD = re.compile(r"\s*([A-Za-z]+)")
_ABBREVIATIONS = _BEFORE_CAPITALS | {"p", "etc", "a.m", "p.m", "u.s", "u.k", "u.n", "al", "inc", "ltd", "co", "corp", "ph.d"}
_LAST_WORD = re.compile(r"[A-Za-z][A-Za-z.]*\Z")
_NUMBER_ONLY = re.compile(r"[\s#>*\-(（]*(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})(?:\.\d{1,3})*\Z")


def sentences(text: str) -> list[tuple[int, int]]:
    """Spans `(start, end)` in order, without blanks at their ends; together they cover every non-blank character."""
    spans: list[tuple[int, int]] = []
    start, length = 0, len(text)
    for match in _BOUNDARY.finditer(text):
        end = match.end()
        if end <= start:
            continue
        first = match[0][0]
        if first == ".":
            if not _period_ends(text, start, match.start(), end):
                continue
        elif first in "!?" and match[0][-1] in _CLOSERS and text[end : end + 2].strip()[:1].islower():
            continue  # "Yes!" she cried.
        elif first.isspace() and _line_goes_on(text, match.start(), end, length):
            continue
        end = _give_back_opening_quote(text, start, end)
        _append(spans, text, start, end)
        start = end
    _append(spans, text, start, length)
    return spans


def sentence_around(spans: list[tuple[int, int]], offset: int) -> int:
    """Index of the span that holds `offset`, or of the next one after it; `len(spans)` behind the last."""
    return bisect_left(spans, offset + 1, key=lambda span: span[1])


def _append(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    if kept := piece.strip():
        start += len(piece) - len(piece.lstrip())
        spans.append((start, start + len(kept)))


def _period_ends(text: str, start: int, dot: int, end: int) -> bool:
    """Whether the full stop at `dot` closes the sentence that began at `start`."""
    head = text[max(start, dot - 24):dot]
    if dot - start < 12 and _NUMBER_ONLY.match(text[start:dot]):
        return False
    following = text[end:end + 8].lstrip()[:1]
    if following.islower():
        return False
    word = _LAST_WORD.search(head)
    if word is None:
        return True
    last = word[0].lower()
    if len(last) == 1 and word[0].isupper():
        return not following.isupper()
    if last == "no":
        return not following.isdigit()
    if "." in last and last in _ABBREVIATIONS - _BEFORE_CAPITALS and following.isupper():
        opener = _NEXT_WORD.match(text, end, end + 24)
        return opener is None or opener[1].lower() in _OPENERS
    known = _BEFORE_CAPITALS if following.isupper() else _ABBREVIATIONS
    return last not in known


def _line_goes_on(text: str, at: int, end: int, length: int) -> bool:
    """Whether the line that ends at `at` was only wrapped: English on both sides, the next line in lower case, no empty line between."""
    if at == 0 or end >= length or text.count("\n", at, end) > 1:
        return False
    before, after = text[at - 1], text[end]
    return after.islower() and after.isascii() and (before.isascii() and (before.isalnum() or before in ",;-"))


def _give_back_opening_quote(text: str, start: int, end: int) -> int:
    """A straight quote after the stop belongs to the next sentence when none is open in this one."""
    if end - start > 1 and text[end - 1] == '"' and text.count('"', start, end) % 2 == 1:
        return end - 1
    return end
