"""Questions that a correction must go on answering: kept with the entry that answers them, asked again on demand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from qzbrain.auth.access import TOP, Access
from qzbrain.domain import LEVELS, Caller, SearchResult, new_id, utc_now
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import entries, regression_questions

Ask = Callable[[str, str], SearchResult]
"""(question, knowledge base id) -> what a search finds."""


@dataclass(frozen=True, slots=True)
class Regression:
    """One question. `passed` None before its first run; `result`: what answered then."""

    id: str
    question: str
    entry_id: str
    message_id: str
    passed: bool | None
    result: dict[str, Any] | None
    created_at: str
    run_at: str | None


def keep_question(connection: Connection, kb_id: str, question: str, entry_id: str, message_id: str) -> None:
    """Keep a question with the entry that answers it, once."""
    there = select(regression_questions.c.id).where(regression_questions.c.entry_id == entry_id, regression_questions.c.question == question)
    if connection.execute(there).first() is None:
        row = {"id": new_id(), "kb_id": kb_id, "question": question, "entry_id": entry_id, "message_id": message_id, "created_at": utc_now()}
        connection.execute(insert(regression_questions).values(row))


class Regressions:
    """The regression questions of knowledge bases."""

    def __init__(self, database: Database, access: Access, settings: Settings) -> None:
        self._db, self._access, self._settings = database, access, settings

    def all(self, caller: Caller, kb: str) -> list[Regression]:
        """Those of entries that the caller may see, in the order of their making. Raises NotFound."""
        ref = self._access.resolve(caller, [kb])[0]
        query = select(regression_questions).where(regression_questions.c.kb_id == ref.id).order_by(regression_questions.c.id)
        clearance = self._access.clearance(caller)
        if clearance < TOP:
            query = query.join(entries, entries.c.id == regression_questions.c.entry_id).where(entries.c.level.in_(LEVELS[: clearance + 1]))
        if self._access.ceiling(caller, ref.id) is None:
            return [_shown(row, row.result) for row in self._db.rows(query)]
        return [_shown(row, {**row.result, "first": None} if row.result else None) for row in self._db.rows(query)]  # it may name what was found by another

    def run(self, caller: Caller, kb: str, ask: Ask, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> list[Regression]:
        """Ask each question: it passes when its entry answers it directly, or is the first thing found. Raises NotFound."""
        ref = self._access.resolve(caller, [kb])[0]
        self._access.require(caller, "write", ref.id)
        there = self.all(caller, kb)
        for done, one in enumerate(there, 1):
            passed, result = self._asked(one, ask(one.question, ref.id))
            with self._db.write() as connection:
                values = {"passed": int(passed), "result": result, "run_at": utc_now()}
                connection.execute(update(regression_questions).where(regression_questions.c.id == one.id).values(values))
            on_progress(done, len(there))
        return self.all(caller, kb)

    def _asked(self, one: Regression, found: SearchResult) -> tuple[bool, dict[str, Any]]:
        rows = self._db.rows(select(entries.c.document_id).where(entries.c.id == one.entry_id))
        wanted = rows[0].document_id if rows else ""
        for rank, hit in enumerate(found.hits, 1):
            if wanted and hit.document_id == wanted:
                score = hit.sources["entry"].score if "entry" in hit.sources else 0.0
                direct = score >= self._settings.entry_direct_confidence
                return direct or rank == 1, {"rank": rank, "direct": direct, "match": score}
        return False, {"rank": None, "direct": False, "match": 0.0, "first": found.hits[0].document if found.hits else None}


def _shown(row: Row[Any], result: dict[str, Any] | None) -> Regression:
    passed = None if row.passed is None else bool(row.passed)
    return Regression(row.id, row.question, row.entry_id, row.message_id, passed, result, row.created_at, row.run_at)
