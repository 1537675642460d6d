"""Stored answers, shown again: what a reader may see of them now. Rights, levels and documents may have changed since an answer was given, and a
shared conversation has readers who were never allowed what its owner was.

A citation whose document the reader may not read (any more) keeps its number and nothing else. An answer that is above his clearance, or that stands on
such a citation, is replaced by a sentence that says so. The local user, who may read everything, is shown what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, select

from qzbrain.auth.access import LOCAL_USER, TOP, Access
from qzbrain.chat import wording
from qzbrain.domain import Answer, Caller, Citation
from qzbrain.errors import NotFound
from qzbrain.storage.database import Database
from qzbrain.storage.tables import documents

_AT_ONCE = 16
_PLACES = tuple(f"d{n}" for n in range(_AT_ONCE))
_WHERE = select(documents.c.id, documents.c.kb_id, documents.c.level).where(documents.c.id.in_([bindparam(name) for name in _PLACES]))


@dataclass(frozen=True, slots=True)
class Kept:
    """What is stored of an answer: its text, the level that it was given, its citations."""

    text: str
    level: int
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """What of it may be shown. `withheld`: not the text; then all citations are hidden."""

    withheld: bool
    citations: tuple[Citation, ...]


class Rereading:
    """Judges stored answers for readers. Thread-safe."""

    def __init__(self, database: Database, access: Access) -> None:
        self._places, self._access = database.prepared(_WHERE), access

    def levelled(self, citations: Sequence[Citation], kb_id: str = "") -> tuple[Citation, ...]:
        """Citations of facts for an answer that is being given, with the knowledge base and the level of each. `kb_id`: of those without a document."""
        if not citations:
            return ()
        found = self._documents(one.document_id for one in citations)
        other = kb_id, min(self._access.standings.level(kb_id), TOP) if kb_id else 0
        return tuple(replace(one, kb_id=whose, level=level) for one in citations for whose, level in (found.get(one.document_id, other),))

    def answers(self, caller: Caller, stored: Sequence[Answer]) -> list[Answer]:
        """The same answers as this reader may see them now."""
        if caller.id == LOCAL_USER:
            return list(stored)
        judged = self.judged(caller, [Kept(one.answer, one.level, one.citations) for one in stored])
        return [_shown(one, verdict, caller) for one, verdict in zip(stored, judged, strict=True)]

    def judged(self, caller: Caller, stored: Sequence[Kept]) -> list[Judged]:
        """What of each may be shown, by few look-ups for all of them."""
        if caller.id == LOCAL_USER:
            return [Judged(False, one.citations) for one in stored]
        found = self._documents(x.document_id for one in stored for x in one.citations if not x.hidden)
        return [self._judge(caller, one, found) for one in stored]

    def _judge(self, caller: Caller, kept: Kept, found: dict[str, tuple[str, int]]) -> Judged:
        levels, refused, citations = [0], False, list[Citation]()
        for one in kept.citations:
            kb_id, level = found.get(one.document_id) or (one.kb_id or self._named(caller, one), one.level)
            levels.append(level)
            may = self._access.sees(caller, kb_id, level) if kb_id else level <= self._access.clearance(caller)
            refused |= not may and (one.cited or f"[{one.index}]" in kept.text)
            gone = one.hidden or (one.document_id != "" and one.document_id not in found)
            citations.append(one if may and not gone else hidden(one))
        told = max((one.level for one in kept.citations), default=0)
        level = max(*levels, kept.level if kept.level > told else 0)  # what it was told of earlier answers counts as it did then
        if refused or level > self._access.clearance(caller):
            return Judged(True, tuple(map(hidden, kept.citations)))
        return Judged(False, tuple(citations))

    def _named(self, caller: Caller, one: Citation) -> str:
        """The knowledge base of a fact that no document says, of an answer from before that was kept; ' ' for one that may not be read."""
        if one.document_id or not one.facts:
            return ""
        try:
            return self._access.resolve(caller, [one.facts[0].knowledge_base])[0].id
        except NotFound:
            return " "

    def _documents(self, document_ids: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Knowledge base and level of those that are there."""
        ids = list(dict.fromkeys(one for one in document_ids if one))
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            rows += self._places(**dict(zip(_PLACES, [*some, *[some[0]] * (_AT_ONCE - len(some))], strict=True)))
        return {document_id: (kb_id, level) for document_id, kb_id, level in rows}


def hidden(citation: Citation) -> Citation:
    """A citation of which nothing but its number is told."""
    return Citation(
        index=citation.index, document_id="", external_id=None, document="", title="", heading_path=(), page=None, start=0, end=0, quote="", url="",
        cited=citation.cited, supported=citation.supported, level=0, hidden=True,
    )  # fmt: skip


def _shown(answer: Answer, judged: Judged, caller: Caller) -> Answer:
    if not judged.withheld:
        return replace(answer, citations=judged.citations)
    return replace(answer, answer=wording.WITHHELD[caller.lang], citations=judged.citations, unsupported=(), withheld=True)
