"""Citation marks [n] ↔ passages. Pure: values in, values out.

Marks are cleaned while the text streams (`MarkFilter`), so that the deltas joined are exactly the stored answer: 【1】 and ［1］ become
[1], [1, 2] becomes [1][2], and a mark without a passage is dropped. When the text is whole, each sentence that carries marks is
held against the passages that it names (`check`).

Support is lexical: the share of the sentence's terms (Chinese character bigrams, Latin words; without question words) that the
cited passages hold, and every number of the sentence must stand in them or in the question. At SUPPORT_THRESHOLD, of the sentences
that people wrote from a page .86 pass against that page and .002 against another one (DuReader, 2026-11-24, `bench/answers.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qzbrain.domain import Citation
from qzbrain.text.normalize import searchable
from qzbrain.text.sentences import sentences

SUPPORT_THRESHOLD = 0.45

_LIST = r"\d{1,3}(?:\s*[,，、]\s*\d{1,3}){0,7}"
_MARKS = re.compile(rf"[\[［【]\s*({_LIST})\s*[\]］】]")
_UNFINISHED = re.compile(r"[\[［【][\d\s,，、]{0,40}\Z")
_MARK = re.compile(r"\[(\d{1,3})\]")
_LEADING = re.compile(r"\s*(?:\[\d{1,3}\]\s*)+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LIST_NUMBER = re.compile(r"[ \t>*#\-+]*[(（]?\d{1,3}(?:[.．](?!\d)|[、)）]\s*)[ \t*]*")
_HAN_RUN = re.compile(r"[\u3400-\u9fff]+")
_LATIN = re.compile(r"[a-z]{2,}")
_STOP = frozenset("的了是在和与及或就都而也又很到有为以于之其这那此该等所将并但中上下对由按者不一")
_STOP_WORDS = frozenset({
    "the", "an", "of", "in", "on", "at", "to", "for", "and", "or", "is", "are", "was", "were", "be", "been", "by", "with", "as", "that", "this",
    "it", "its", "from", "which", "who", "has", "have", "had", "not",
})


@dataclass(frozen=True, slots=True)
class Mark:
    """Where `[index]` stands in the answer: `answer[start:end]`."""

    index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Checked:
    """The citations with `cited` and `supported` filled in, and the spans of sentences that their citations do not bear out."""

    citations: tuple[Citation, ...]
    unsupported: tuple[tuple[int, int], ...]


class MarkFilter:
    """Cleans marks in a stream. `push` each piece, `finish` at the end; the results joined are the answer's text."""

    __slots__ = ("_count", "_held")

    def __init__(self, count: int) -> None:
        self._count = count
        self._held = ""

    def push(self, text: str) -> str:
        """What can be shown now; the beginning of a mark is held back until it is whole."""
        if not self._held and "[" not in text and "【" not in text and "［" not in text:
            return text
        text = self._held + text
        unfinished = _UNFINISHED.search(text)
        cut = unfinished.start() if unfinished else len(text)
        self._held = text[cut:]
        return _MARKS.sub(self._clean, text[:cut])

    def finish(self) -> str:
        """What was held back."""
        text, self._held = self._held, ""
        return text

    def _clean(self, match: re.Match[str]) -> str:
        wanted = dict.fromkeys(int(x) for x in re.findall(r"\d+", match[1]))
        return "".join(f"[{n}]" for n in wanted if 1 <= n <= self._count)


def marks(answer: str, count: int) -> list[Mark]:
    """All marks of passages 1..count, in order."""
    found = (Mark(int(m[1]), m.start(), m.end()) for m in _MARK.finditer(answer))
    return [mark for mark in found if 1 <= mark.index <= count]


def check(answer: str, citations: Sequence[Citation], *, question: str = "") -> Checked:
    """Hold each sentence against the passages that it names.

    A citation is `cited` when its mark stands in the answer; then `supported` tells whether every sentence that names it is borne out.
    """
    by_index = {citation.index: citation for citation in citations}
    verdicts: dict[int, bool] = {}
    unsupported: list[tuple[int, int]] = []
    folded = {index: searchable(citation.quote + " " + " ".join(citation.heading_path)) for index, citation in by_index.items()}
    for start, end, named in _sentences_with_marks(answer):
        indexes = [n for n in named if n in by_index]
        if not indexes:
            continue
        stands = support(_MARK.sub("", answer[_statement(answer, start, end) : end]), " ".join(folded[n] for n in indexes), question) >= SUPPORT_THRESHOLD
        if not stands:
            unsupported.append((start, end))
        for n in indexes:
            verdicts[n] = verdicts.get(n, True) and stands
    checked = tuple(replace(x, cited=x.index in verdicts, supported=verdicts.get(x.index)) for x in citations)
    return Checked(checked, tuple(unsupported))


def support(sentence: str, evidence: str, question: str = "") -> float:
    """Share in 0..1 of the sentence's terms that `evidence` holds; 0 when one of its numbers stands neither there nor in the question.

    `evidence` is already in searchable form. A sentence without terms of its own is borne out.
    """
    folded = searchable(sentence)
    known_numbers = {_plain(x) for x in (*_NUMBER.findall(evidence), *_NUMBER.findall(searchable(question)))}
    if any(_plain(number) not in known_numbers for number in _NUMBER.findall(folded)):
        return 0.0
    terms = _terms(folded)
    if not terms:
        return 1.0
    words = set(_LATIN.findall(evidence))
    return sum(term in words if term.isascii() else term in evidence for term in terms) / len(terms)


def _sentences_with_marks(answer: str) -> list[tuple[int, int, list[int]]]:
    """Spans of the sentences that carry marks, with the marks' numbers; marks that begin a sentence belong to the one before."""
    found: list[tuple[int, int, list[int]]] = []
    previous: tuple[int, int, list[int]] | None = None
    for start, end in sentences(answer):
        leading = _LEADING.match(answer, start, end)
        if leading and previous is not None:
            previous[2].extend(int(n) for n in _MARK.findall(leading[0]))
            start = leading.end()
            if start >= end:
                continue
        previous = (start, end, [int(n) for n in _MARK.findall(answer[start:end])])
        found.append(previous)
    return [x for x in found if x[2]]


def _statement(answer: str, start: int, end: int) -> int:
    """Where a sentence says something: behind the number of a list item, which is the answer's own and stands in no passage."""
    if answer[:start].rstrip(" \t")[-1:] not in ("", "\n"):
        return start
    numbered = _LIST_NUMBER.match(answer, start, end)
    return numbered.end() if numbered else start


def _terms(folded: str) -> set[str]:
    terms = {word for word in _LATIN.findall(folded) if word not in _STOP_WORDS}
    for run in _HAN_RUN.findall(folded):
        terms.update(run[i : i + 2] for i in range(len(run) - 1) if run[i] not in _STOP and run[i + 1] not in _STOP)
    return terms


def _plain(number: str) -> str:
    return number.replace(",", "").rstrip(".")
