"""What an edit does to a text and to the spans of its chunks. Pure: knows strings and offsets, no rows.

An edit of a chunk corrects the document's text at the chunk's place. Where a neighbour's edge lies inside that place (chunks overlap), the
edge follows the words that it stood between; so every chunk stays a literal stretch of the text, and the text stays one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from qzbrain.domain import ChunkDraft

Kind = Literal["text", "disable", "enable"]
_WORDS = re.compile(r"[a-zA-Z0-9]+|\s+|.", re.DOTALL)
_MOST_WORDS = 3000
"""Longer changes are compared by their beginning and end alone: the comparison takes the square of their length."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One correction. `start`, `end`: where `before` stood in the text as the edits before this one left it."""

    number: int
    kind: Kind
    start: int
    end: int
    before: str
    after: str
    applies: bool = True


@dataclass(slots=True)
class Piece:
    """A chunk's span and state; `touched`: its own text is another than it was."""

    start: int
    end: int
    disabled: bool = False
    touched: bool = False


class Change(NamedTuple):
    """A stretch that two texts have in common, or that one of them has instead of the other's."""

    op: Literal["equal", "delete", "insert"]
    text: str


def replaced(text: str, pieces: Sequence[Piece], start: int, end: int, after: str) -> str:
    """The text with `after` at `[start, end)`; the pieces move along. One that has nothing left has `start == end`."""
    before = text[start:end]
    changed = text[:start] + after + text[end:]
    edges = _Edges(before, after)
    for piece in pieces:
        if piece.end <= start:
            continue
        was = text[piece.start:piece.end]
        piece.start, piece.end = edges.moved(piece.start, start, end, opens=True), edges.moved(piece.end, start, end, opens=False)
        stretch = changed[piece.start:piece.end]
        piece.start += len(stretch) - len(stretch.lstrip())
        piece.end = piece.start + len(stretch.strip())
        piece.touched = piece.touched or changed[piece.start:piece.end] != was
    return changed


def reapplied(text: str, pieces: Sequence[Piece], edits: Sequence[Edit]) -> tuple[str, list[Edit]]:
    """The text, read anew, with those edits that still fit, in their order; the pieces are changed along.

    An edit fits where `before` stands at its place, or at one other place only; a chunk that was switched off, where chunks lie inside
    that place. The edits come back with their places as they are now, and `applies` false for those that do not fit.
    """
    found: list[Edit] = []
    for edit in edits:
        at = _place(text, edit)
        applies = at >= 0
        if applies and edit.kind == "text":
            text = replaced(text, pieces, at, at + len(edit.before), edit.after)
        elif applies:
            inside = [piece for piece in pieces if at <= piece.start < piece.end <= at + len(edit.before)]
            for piece in inside:
                piece.disabled = edit.kind == "disable"
            applies = bool(inside)
        found.append(replace(edit, start=at, end=at + len(edit.before), applies=True) if applies else replace(edit, applies=False))
    return text, found


def drafts(text: str, read: Sequence[ChunkDraft], pieces: Sequence[Piece]) -> list[ChunkDraft]:
    """The chunks that were read, as the edits left them in `text`; those with nothing left are left out."""
    kept = [(draft, piece) for draft, piece in zip(read, pieces, strict=True) if piece.end > piece.start]
    return [
        replace(draft, ordinal=ordinal, start=piece.start, end=piece.end, text=text[piece.start:piece.end], disabled=piece.disabled)
        for ordinal, (draft, piece) in enumerate(kept)
    ]


def original(text: str, edits: Sequence[Edit]) -> str:
    """The text as it was before the edits that apply to it; `text` itself when it is not what they made."""
    before = text
    for edit in reversed(edits):
        if edit.kind != "text" or not edit.applies:
            continue
        end = edit.start + len(edit.after)
        if before[edit.start:end] != edit.after:
            return text
        before = before[:edit.start] + edit.before + before[end:]
    return before


def compared(before: str, after: str) -> list[Change]:
    """What became of a text, word by word (in Chinese, character by character), in the order of reading."""
    left, right = _WORDS.findall(before), _WORDS.findall(after)
    changes: list[Change] = []
    for op, i1, i2, j1, j2 in _opcodes(left, right):
        if op == "equal":
            changes.append(Change("equal", "".join(left[i1:i2])))
            continue
        if i2 > i1:
            changes.append(Change("delete", "".join(left[i1:i2])))
        if j2 > j1:
            changes.append(Change("insert", "".join(right[j1:j2])))
    return changes


class _Edges:
    """Where an offset in one text belongs in the other."""

    def __init__(self, before: str, after: str) -> None:
        left, right = _WORDS.findall(before), _WORDS.findall(after)
        self._grown = len(after) - len(before)
        places, others = _offsets(left), _offsets(right)
        self._blocks = [(op == "equal", places[i1], places[i2], others[j1], others[j2]) for op, i1, i2, j1, j2 in _opcodes(left, right)]
        self._starts = [block[1] for block in self._blocks]

    def moved(self, offset: int, start: int, end: int, *, opens: bool) -> int:
        """`offset` into the whole text, of which `[start, end)` is the stretch before. `opens`: of a span's start, not its end."""
        if offset <= start:
            return offset
        if offset >= end:
            return offset + self._grown
        inside = offset - start
        equal, i1, _, j1, j2 = self._blocks[bisect_right(self._starts, inside) - 1]
        if equal:
            return start + j1 + inside - i1
        return start + (j1 if opens or inside == i1 else j2)


def _offsets(words: Sequence[str]) -> list[int]:
    found = [0]
    for word in words:
        found.append(found[-1] + len(word))
    return found


def _opcodes(left: Sequence[str], right: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """As difflib's; what begins and ends the same is not looked at twice, and a long rest counts as wholly replaced."""
    head = 0
    while head < min(len(left), len(right)) and left[head] == right[head]:
        head += 1
    tail = 0
    while tail < min(len(left), len(right)) - head and left[-1 - tail] == right[-1 - tail]:
        tail += 1
    inner, other = left[head:len(left) - tail], right[head:len(right) - tail]
    found: list[tuple[str, int, int, int, int]] = [("equal", 0, head, 0, head)] if head else []
    if len(inner) > _MOST_WORDS or len(other) > _MOST_WORDS:
        found.append(("replace", head, head + len(inner), head, head + len(other)))
    else:
        matcher = SequenceMatcher(None, inner, other, autojunk=True)
        found += [(op, head + i1, head + i2, head + j1, head + j2) for op, i1, i2, j1, j2 in matcher.get_opcodes()]
    if tail:
        found.append(("equal", len(left) - tail, len(left), len(right) - tail, len(right)))
    return found


def _place(text: str, edit: Edit) -> int:
    """Where `before` stands: where it stood, else at the one place that it has; -1 when there is none or are several."""
    if text.startswith(edit.before, edit.start) and edit.start <= len(text):
        return edit.start
    at = text.find(edit.before)
    return at if at >= 0 and text.find(edit.before, at + 1) < 0 else -1
