"""The facts of an entity as a text: what a search by words finds of a graph, and an answer can quote. Pure.

Each line says one relation with all that it leads to, and names the entity, so that it stands alone when it is quoted:

    晨光公司，类型：公司；又称：晨光、晨光集团。

    晨光公司的董事长：李明。

Lines are parted by an empty one, since several lines of `name：value` in one paragraph would be read as the row of a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CHUNK_CHARS = 250
MOST_NAMED = 20
"""Other names of an entity that are told and searched."""
_GAP = "\n\n"
_BLANKS = re.compile(r"\s+")
_CJK = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Head:
    """An entity with what is said of it: (relation, tail) in the order in which they came in; `left_out`: how many more there are."""

    id: int
    name: str
    type: str
    aliases: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """A text and its pieces: `text[start:end]`, each of whole lines, at most CHUNK_CHARS characters where a line is not longer."""

    text: str
    pieces: tuple[tuple[int, int], ...]


def told(head: Head) -> Told:
    """An entity's facts. The same facts give the same text."""
    text, pieces = "", list[tuple[int, int]]()
    for line in _lines(head):
        if text:
            text += _GAP
        start = len(text)
        text += line
        if pieces and len(text) - pieces[-1][0] <= CHUNK_CHARS:
            pieces[-1] = pieces[-1][0], len(text)
        else:
            pieces.append((start, len(text)))
    return Told(text, tuple(pieces))


def line_of(text: str, head: str, relation: str, tail: str) -> tuple[int, int] | None:
    """Where a text that `told` made says this, as the whole line that says it; None where it does not."""
    name, relation, tail = _plain(head), _plain(relation), _plain(tail)
    labels = ((f"{name}的{relation}：", "、"), (f"{name}, {relation}: ", "; "))
    start = 0
    for line in text.split(_GAP):
        for label, between in labels:
            if line.startswith(label):
                tails = line[len(label) :]
                if any(f"{between}{tail}{between}" in f"{between}{some}{between}" for some in (tails, tails[:-1])):
                    return start, start + len(line)
        start += len(line) + len(_GAP)
    return None


def _lines(head: Head) -> Iterator[str]:
    name = _plain(head.name)
    chinese = _CJK.search(name + "".join(relation for relation, _ in head.facts)) is not None
    yield from _naming(head, name, chinese=chinese)
    for relation, tails in _grouped(head).items():
        label = f"{name}的{relation}：" if chinese else f"{name}, {relation}: "
        yield from _filled(label, tails, chinese=chinese)
    if head.left_out:
        yield f"{name}：另有 {head.left_out} 条事实，见知识图谱。" if chinese else f"{name}: {head.left_out} more facts, see the graph."


def _naming(head: Head, name: str, *, chinese: bool) -> Iterator[str]:
    aliases = [_plain(one) for one in head.aliases[:MOST_NAMED]]
    if chinese:
        some = [*([f"类型：{_plain(head.type)}"] if head.type else []), *([f"又称：{'、'.join(aliases)}"] if aliases else [])]
        yield from [_ended(f"{name}，{'；'.join(some)}", chinese=True)] if some else []
    else:
        some = [*([f"type: {_plain(head.type)}"] if head.type else []), *([f"also known as {', '.join(aliases)}"] if aliases else [])]
        yield from [_ended(f"{name}, {'; '.join(some)}", chinese=False)] if some else []


def _grouped(head: Head) -> dict[str, list[str]]:
    """Tails by relation, each once."""
    found: dict[str, dict[str, None]] = {}
    for relation, tail in head.facts:
        found.setdefault(_plain(relation), {})[_plain(tail)] = None
    return {relation: list(tails) for relation, tails in found.items()}


def _filled(label: str, tails: Sequence[str], *, chinese: bool) -> Iterator[str]:
    """As many tails in a line as there is room for; the next line says the label again."""
    between = "、" if chinese else "; "
    line = ""
    for tail in tails:
        if line and len(label) + len(line) + len(between) + len(tail) >= CHUNK_CHARS:
            yield _ended(label + line, chinese=chinese)
            line = ""
        line += between + tail if line else tail
    yield _ended(label + line, chinese=chinese)


def _ended(line: str, *, chinese: bool) -> str:
    return line if line.endswith(("。", "！", "？", ".", "!", "?")) else line + ("。" if chinese else ".")


def _plain(text: str) -> str:
    """In one line."""
    return _BLANKS.sub(" ", text).strip()
