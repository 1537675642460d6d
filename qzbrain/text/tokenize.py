"""Search terms of Chinese and English text: dictionary words mixed with character bigrams, stemmed English, codes whole and in parts.

Mixed, because words alone miss what the dictionary lacks (names, new terms) and bigrams alone blur meaning. Words come from
rjieba in search mode without its HMM, so the same text always gives the same terms. English is folded to ASCII and stemmed
by tantivy's Snowball filter. A question is read more strictly than a text: its function and question words are cut out first,
and no bigram reaches across the cut, so that 是什么模式 asks for 模式 alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from qzbrain.text.normalize import searchable

TOKENIZER_VERSION = "1"
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
_WORD = re.compile(rf"[^\W_{_HAN}]+(?:[./:_+@&'-][^\W_{_HAN}]+)*[%‰+#]*")
_PART = re.compile(r"[^\W\d_]+|\d+")
_SPACED_CODE = re.compile(r"(?<![a-z/])([a-z]++(?:/[a-z]++)?) (\d++(?:[.-]\d++)*+)")
_LETTERS = re.compile(r"[^\W\d_]+")


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
    return " ".join([*_han_terms(folded), *_latin_terms(folded)])


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
    for word in _dictionary().cut_for_search(text, False):
        if _HAN_RUN.match(word) and word not in STOP_WORDS and len(word) <= LONGEST_TERM:
            yield word
    for match in _HAN_RUN.finditer(text):
        run = match.group()
        for i in range(len(run) - 1):
            yield run[i : i + 2]


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
    """Words stemmed; codes and numbers (gb/t, 10.5%, a-12) whole and in parts; a standard's number also joined to its letters."""
    for match in _WORD.finditer(text):
        word = match.group()
        if len(word) > LONGEST_TERM:
            continue
        if _LETTERS.fullmatch(word):
            if word not in STOP_WORDS:
                yield _stem(word)
            continue
        yield word
        parts = _PART.findall(word)
        if len(parts) > 1 or parts[0] != word:
            yield from (_stem(part) for part in parts if part not in STOP_WORDS)
    for match in _SPACED_CODE.finditer(text):
        if "/" in match.group(1) or "-" in match.group(2):
            yield match.group(1) + match.group(2)
