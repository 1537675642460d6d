"""What a language model says of some passages, as facts: its reply read leniently, each triple checked strictly. Pure.

A triple counts when its quote stands letter for letter in the chunk that it names; blanks around the quote are the only thing taken off first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qzbrain.graph.base import Fact, Place
from qzbrain.graph.grouping import UNTYPED, Passage
from qzbrain.graph.linking import name_key
from qzbrain.graph.transfer import MOST_ALIASES, TYPE_CHARS

NAME_CHARS = 200
RELATION_CHARS = 64
QUOTE_CHARS = 400
BOTH_QUOTED, ONE_QUOTED, NONE_QUOTED = 0.9, 0.7, 0.5
"""Confidence: of head and tail, both, one or none stand in the quote."""
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_DECODER = json.JSONDecoder(strict=False)
_ALIAS_CHARS = 2


@dataclass(frozen=True, slots=True)
class Said:
    """A reply: rows as they came. `whole`: nothing is missing at its end."""

    entities: tuple[Any, ...] = ()
    triples: tuple[Any, ...] = ()
    whole: bool = True

    def text(self) -> str:
        """As it is kept."""
        return json.dumps({"entities": self.entities, "triples": self.triples}, ensure_ascii=False).encode("utf-8", "replace").decode()


@dataclass
class Checked:
    """Facts of a reply, and how many of its triples were refused, by reason."""

    facts: list[Fact] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)


def read(text: str) -> Said | None:
    """A model's reply; None when there is nothing of the wanted shape in it.

    Thoughts, code fences and words around the object are passed over; of one that breaks off the rows that are whole are kept.
    """
    text = _THOUGHT.sub("", text)
    at = text.find("{")
    while at >= 0:
        try:
            value, _ = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        if (said := _said(value)) is not None:
            return said
        at = text.find("{", at + 1)
    return _broken_off(text)


def _said(value: Any) -> Said | None:
    if not isinstance(value, dict) or "triples" not in value:
        return None
    entities, triples = value.get("entities") or [], value["triples"] or []
    return Said(tuple(entities), tuple(triples)) if isinstance(entities, list) and isinstance(triples, list) else None


def _broken_off(text: str) -> Said | None:
    """The whole rows of an object that ends too early."""
    rows = {name: tuple(_rows(text, found.end())) for name in ("entities", "triples") if (found := re.search(rf'"{name}"\s*:\s*\[', text))}
    return Said(rows["entities"], rows.get("triples", ()), whole=False) if rows.get("entities") else None


def _rows(text: str, at: int) -> Iterator[Any]:
    while found := re.compile(r"[\s,]*(?=\{)").match(text, at):
        try:
            value, at = _DECODER.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            return
        yield value


def alias_mark(name: str, alias: str) -> str:
    """What an alias of a name is remembered by."""
    return hashlib.sha256(f"{name_key(name)}\0{name_key(alias)}".encode("utf-8", "replace")).hexdigest()


def checked(said: Said, passages: Sequence[Passage], *, document_id: str, extractor: str, unwanted: Collection[str] = ()) -> Checked:
    """The facts that hold, in the reply's order. Passages are numbered from 1, as they were in the prompt. `unwanted`: aliases not to give, by mark."""
    names = _Names(said.entities, passages, unwanted)
    result, seen = Checked(), set[tuple[str, str, str, int, int]]()
    for row in said.triples:
        found = _fact(row, names, passages, document_id, extractor)
        if isinstance(found, str):
            result.rejected[found] += 1
            continue
        mark = (name_key(found.head), name_key(found.relation), name_key(found.tail), found.place.chunk_id, found.place.start)
        if mark not in seen:
            seen.add(mark)
            result.facts.append(found)
    return result


def _fact(row: Any, names: _Names, passages: Sequence[Passage], document_id: str, extractor: str) -> Fact | str:
    """A fact, or why it is none: malformed, empty, unfit, unknown_entity, same_entity, unknown_chunk, no_quote, quote_not_found."""
    if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in ("s", "p", "o", "quote")):
        return "malformed"
    head, relation, tail, quote = (row[name].strip() for name in ("s", "p", "o", "quote"))
    if not (name_key(head) and name_key(relation) and name_key(tail)):
        return "empty"
    if _unfit(head) or _unfit(tail) or _unfit(relation, RELATION_CHARS) or _unfit(quote, QUOTE_CHARS):
        return "unfit"
    ends = names.entity(head), names.entity(tail)
    if ends[0] is None or ends[1] is None:
        return "unknown_entity"
    if name_key(ends[0].name) == name_key(ends[1].name):
        return "same_entity"
    passage = _passage(row.get("chunk"), passages)
    if passage is None:
        return "unknown_chunk"
    if not quote:
        return "no_quote"
    at = passage.text.find(quote)
    if at < 0:
        return "quote_not_found"
    start = passage.start + at
    end = start + len(quote)
    place = Place(extractor, document_id, passage.chunk_of(end), start, end, quote, "", _confidence(quote, ends[0], ends[1]))
    return Fact(ends[0].name, relation, ends[1].name, place, ends[0].type, ends[1].type, ends[0].aliases, ends[1].aliases)


def _passage(number: Any, passages: Sequence[Passage]) -> Passage | None:
    if isinstance(number, str) and number.strip(" []").isdecimal():
        number = int(number.strip(" []")[:9])
    if isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= len(passages):
        return passages[number - 1]
    return None


def _confidence(quote: str, head: _Named, tail: _Named) -> float:
    squeezed = name_key(quote)
    held = sum(any(name_key(name) in squeezed for name in (one.name, *one.aliases)) for one in (head, tail))
    return (NONE_QUOTED, ONE_QUOTED, BOTH_QUOTED)[held]


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    type: str
    aliases: tuple[str, ...]


class _Names:
    """The entities of a reply by name and alias. An alias counts when it stands in the passages, and is no single character."""

    def __init__(self, rows: Sequence[Any], passages: Sequence[Passage], unwanted: Collection[str]) -> None:
        text = "\n".join(one.text for one in passages)
        self._by_key: dict[str, _Named] = {}
        self._by_alias: dict[str, _Named] = {}
        for row in rows:
            given: Mapping[str, Any] = row if isinstance(row, dict) else {"name": row}
            name = given.get("name")
            if not isinstance(name, str) or not name_key(name) or _unfit(name.strip()) or name_key(name) in self._by_key:
                continue
            aliases = [one for one in _aliases(given.get("aliases"), name, text) if not unwanted or alias_mark(name, one) not in unwanted]
            named = _Named(name.strip(), _type(given.get("type")), tuple(aliases))
            self._by_key[name_key(name)] = named
            for alias in named.aliases:
                self._by_alias.setdefault(name_key(alias), named)

    def entity(self, name: str) -> _Named | None:
        """The entity of this name, else the one with this alias."""
        return self._by_key.get(name_key(name)) or self._by_alias.get(name_key(name))


def _type(value: Any) -> str:
    kind = value.strip() if isinstance(value, str) else ""
    return "" if kind in UNTYPED or len(kind) > TYPE_CHARS or _unfit(kind) else kind


def _aliases(value: Any, name: str, text: str) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for one in value if isinstance(value, list) else ():
        alias = one.strip() if isinstance(one, str) else ""
        key = name_key(alias)
        if len(key) >= _ALIAS_CHARS and key != name_key(name) and not _unfit(alias) and alias in text:
            found.setdefault(key, alias)
    return tuple(found.values())[:MOST_ALIASES]


def _unfit(text: str, longest: int = NAME_CHARS) -> bool:
    """Too long, or with characters that no database takes."""
    return len(text) > longest or any((ord(c) < 32 and c not in "\t\n\r") or 0xD800 <= ord(c) <= 0xDFFF for c in text)
