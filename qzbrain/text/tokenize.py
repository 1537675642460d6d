"""Search terms of Chinese and English text: dictionary words mixed with character bigrams, stemmed English, codes whole and in parts.

Mixed, because words alone miss what the dictionary lacks (names, new terms) and bigrams alone blur meaning. Words come from
rjieba in search mode without its HMM, so the same text always gives the same terms. English is folded to ASCII and stemmed
by tantivy's Snowball filter. A code is written in many ways (GB 50016—2014, CX 300B/2, 2023/5/1), so it gives a term for each
of its parts, and terms that all its ways share: closed up, without marks, a date as 2023-05-01, a number with the Chinese
character that it counts. A question is read more strictly than a text: its function and question words are cut out first,
and no bigram reaches across the cut, so that 是什么模式 asks for 模式 alone.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Iterator
from functools import cache, lru_cache
from operator import add
from pathlib import Path
from typing import Any

from qzbrain.text.normalize import searchable

TOKENIZER_VERSION = "2"
"""Changes whenever the terms of any text would; an index built with another version is rebuilt."""

LONGEST_TERM = 64
"""Characters; what is longer (base64, a line without blanks) is no word and is not indexed."""

STOP_WORDS = frozenset(
    word
    for line in (Path(__file__).parent / "data" / "stopwords.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
    for word in line.split()
)

_HAN = r"\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
_HAN_RUN = re.compile(f"[{_HAN}]+")
_NO_HAN = re.compile(f"[^{_HAN}]+")
_LATIN = re.compile(rf"[^\W_{_HAN}]")
_GAP = "\x1e"
_PAIR_WITH_GAP = re.compile(f"[^ ]{_GAP} |{_GAP}[^ ] ")
_POINTS = f"utf-32-{'le' if sys.byteorder == 'little' else 'be'}"
_BLANK = array("I", b" ".decode().encode(_POINTS))
_KNOWN_WORDS = 1 << 16
_WORD = re.compile(rf"[^\W_{_HAN}]+(?:[./:_+@&'-][^\W_{_HAN}]+)*[%‰+#]*")
_PART = re.compile(r"[^\W\d_]+|\d+")
_DASHES = "—–−‐‒―‑"
_CODE_DASH = re.compile(rf"(?<=[0-9a-z{_HAN}]) ?[{_DASHES}]{{1,2}} ?(?=\d)|(?<=\d)[{_DASHES}](?=[a-z])")
_NUMBER = re.compile(r"\d{1,16}+")
_CODE_HEAD = re.compile(r"(?<![a-z0-9/.-])[a-z]{1,5}+(?:/[a-z]{1,3}+)?\Z")
_CODE_NUMBER = re.compile(r"\d++[a-z]{0,3}+(?:[./:-][0-9a-z]{1,16}+){0,5}+(?![0-9a-z])")
_CODE_SIGN = re.compile(r"[-/:]|\d[a-z]")
_YEAR = re.compile(r"[-:](?:19|20)\d\d\Z")
_MARKS = re.compile(r"[^a-z0-9]+")
_DATE = re.compile(r"(\d{4})(?: ?年 ?(0?[1-9]|1[0-2]) ?月(?: ?([0-3]?\d) ?[日号])?|([-/.])(0?[1-9]|1[0-2])\4([0-3]?\d)(?![\d.-]))")
_FILE_NUMBER = re.compile(r"\d{4}[〕\])】] ?第? ?(\d{1,5}) ?号")
_MOBILE = re.compile(r"(1[3-9]\d)[ -](\d{4})[ -](\d{4})(?!\d)")
_COUNTED = re.compile(rf"(?:\.\d{{1,8}}+)?+ ?([{_HAN}])")
_NAMED = re.compile(rf"[{_HAN}](?=[ -]?\Z)")
_NAMED_ENDING = re.compile(r"[a-z]{0,2}+(?![\d.])")


@cache
def _dictionary() -> Any:
    """rjieba with its dictionary (30 MB), loaded at the first Chinese text."""
    import rjieba

    return rjieba


@cache
def _analyzer() -> Any:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    return TextAnalyzerBuilder(Tokenizer.raw()).filter(Filter.ascii_fold()).filter(Filter.lowercase()).filter(Filter.stemmer("english")).build()


def preload() -> None:
    """Load the dictionary and the converter now: before a fork, or before the first question."""
    query_terms("預先加载 words")


@lru_cache(maxsize=16_384)
def _stem(word: str) -> str:
    terms: list[str] = _analyzer().analyze(word)
    return terms[0] if terms else word


def index_tokens(text: str) -> str:
    """All terms of a text, joined by blanks for a whitespace tokeniser; repeated as often as they occur. No order is promised."""
    folded = searchable(text)
    han = [*filter(_is_term, _dictionary().cut_for_search(folded, False)), *_bigrams(folded)] if not folded.isascii() else []
    return " ".join([*han, *_latin_terms(folded)] if _LATIN.search(folded) else han)


def query_terms(text: str) -> list[str]:
    """The terms that a question asks for: each once, in order of appearance, without function words; [] when nothing is left."""
    folded = searchable(text)
    terms: dict[str, None] = {}
    for run in _content_runs(folded):
        terms.update(dict.fromkeys(_han_terms(run)))
    terms.update(dict.fromkeys(_latin_terms(folded)))
    return list(terms)


def _han_terms(text: str) -> Iterator[str]:
    """Dictionary words, and all bigrams of each Chinese run; single characters only where the dictionary leaves them alone."""
    if text.isascii():
        return
    yield from filter(_is_term, _dictionary().cut_for_search(text, False))
    for match in _HAN_RUN.finditer(text):
        run = match.group()
        yield from map(add, run, run[1:])


class _Terms(dict[str, bool]):
    """Which of the dictionary's words are search terms; what was asked before is one look-up."""

    def __missing__(self, word: str) -> bool:
        if len(self) >= _KNOWN_WORDS:
            self.clear()
        self[word] = found = bool(_HAN_RUN.match(word)) and word not in STOP_WORDS and len(word) <= LONGEST_TERM
        return found


_is_term = _Terms().__getitem__


def _bigrams(text: str) -> list[str]:
    """All pairs of neighbours of all Chinese runs. Put together as code points, three at a time: a string for each pair takes half as long again."""
    runs = _NO_HAN.sub(_GAP, text)
    points = array("I", runs.encode(_POINTS))
    pairs = _BLANK * (3 * max(len(points) - 1, 0))
    pairs[0::3], pairs[1::3] = points[:-1], points[1:]
    joined = _PAIR_WITH_GAP.sub("", pairs.tobytes().decode(_POINTS)).rstrip(" ")
    return [joined] if joined else []


def _content_runs(text: str) -> Iterator[str]:
    """The Chinese stretches of a question between its function words."""
    for match in _HAN_RUN.finditer(text):
        kept: list[str] = []
        for word in _dictionary().cut(match.group(), False):
            if word not in STOP_WORDS:
                kept.append(word)
            elif kept:
                yield "".join(kept)
                kept = []
        if kept:
            yield "".join(kept)


def _latin_terms(text: str) -> Iterator[str]:
    """Words stemmed; codes and numbers (gb/t, 10.5%, a-12) whole and in parts; and what the ways to write a code share."""
    plain = text.isascii()
    if not plain and any(dash in text for dash in _DASHES):
        text = _CODE_DASH.sub("-", text)
    for match in _WORD.finditer(text):
        word = match.group()
        if len(word) > LONGEST_TERM:
            continue
        if word.isalpha():
            if word not in STOP_WORDS:
                yield _stem(word)
            continue
        yield word
        parts = _PART.findall(word)
        if len(parts) > 1 or parts[0] != word:
            yield from (_stem(part) for part in parts if part not in STOP_WORDS)
            yield from _closed_up(word)
    for match in _NUMBER.finditer(text):
        yield from _joined(text, match.start(), match.end())
        if not plain:
            yield from _with_han(text, match.start(), match.end())


def _closed_up(code: str) -> Iterator[str]:
    """`cx-300b/2` -> `cx300b2`, `gb50016-2014` -> `gb50016` too, `v1.2.3` -> `1.2.3`; only of codes that hold letters and digits."""
    closed = _MARKS.sub("", code)
    if closed.isdecimal() or closed.isalpha() or not closed:
        return
    if closed != code:
        yield closed
        if (year := _YEAR.search(code)) and (stem := _MARKS.sub("", code[: year.start()])):
            yield stem
        if code[0] == "v" and code[1].isdecimal():
            yield code[1:]


def _joined(text: str, start: int, end: int) -> Iterator[str]:
    """What blanks and marks part, of the number at `start`: gb 50016-2014, a date as 2023-05-01, a mobile number."""
    before = text[start - 1 : start]
    if before in (" ", "-") and "a" <= text[start - 2 : start - 1] <= "z":
        head = _CODE_HEAD.search(text[max(start - 11, 0) : start - 1])
        number = _CODE_NUMBER.match(text, start) if head else None
        if head and number and head[0] not in STOP_WORDS and len(number[0]) < 48 and ("/" in head[0] or _CODE_SIGN.search(number[0])):
            yield head[0] + number[0]
            yield from _closed_up(head[0] + number[0])
    if end - start == 4 and text[start : start + 2] in ("19", "20") and before not in ("-", ".") and (date := _DATE.match(text, start)):
        year, month, day, _, other_month, other_day = date.groups()
        yield f"{year}-{month or other_month:0>2}"
        if day or other_day:
            yield f"{year}-{month or other_month:0>2}-{day or other_day:0>2}"
    elif end - start == 3 and (mobile := _MOBILE.match(text, start)):
        yield "".join(mobile.groups())


def _with_han(text: str, start: int, end: int) -> Iterator[str]:
    """The number with the character that it counts (38集团军 -> 38集) or that names it (歼-20 -> 歼20); the number of an official letter."""
    if end - start > 8:
        return
    before = text[max(start - 2, 0) : start]
    if (not before or not (before[-1].isascii() and before[-1].isalnum())) and (counted := _COUNTED.match(text, end)):
        yield text[start : end + len(counted[0])].replace(" ", "")
    if (named := _NAMED.search(before)) and (ending := _NAMED_ENDING.match(text, end)):
        yield named[0] + text[start : ending.end()]
    if before[-1:] in ("〔", "[", "(", "【") and (letter := _FILE_NUMBER.match(text, start)):
        yield f"{text[start:end]}〕{letter[1]}号"
