"""What tests of backups share: a brain with something of everything, and what it holds and answers."""

from __future__ import annotations

import hashlib
import io
from typing import Any

from sqlalchemy import select

from qzbrain.brain import Brain, build, database_of
from qzbrain.chat.service import Ask
from qzbrain.domain import Caller
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.settings import Settings
from qzbrain.storage.tables import jobs, metadata
from qzbrain.worker import work_inline

QUESTIONS = ("五十万元以上的采购由谁批准？", "第3号规定由谁批准", "出差的住宿标准是多少")
CHANGING = {"sessions", "links", "login_failures", "outbox"}


def idle(brain: Brain) -> None:
    """All jobs are done."""
    work_inline(brain, lambda: not brain.db.rows(select(jobs.c.id).where(jobs.c.status.in_(("pending", "running")), jobs.c.kind != "backup").limit(1)))


def fill(settings: Settings, *, kb: str = "rules", number: int = 5) -> None:
    """A knowledge base with files, one of them deleted, and a conversation."""
    brain = build(settings)
    caller = brain.access.local_caller("zh")
    brain.knowledge.create(caller, name=kb, description="🍣")
    for n in range(number):
        text = f"第{n}号规定由第{n}局批准。\n采购金额超过五十万元的，须经董事会批准。🍣\n住宿标准为每晚{n}百元。\n" * 5
        brain.knowledge.add_file(caller, kb, f"制度{n}.txt", io.BytesIO(text.encode()))
    idle(brain)
    brain.knowledge.delete_document(caller, brain.knowledge.documents(caller, kb).data[-1].id)
    idle(brain)
    list(brain.chat.answer(brain.chat.begin(caller, Ask(message=QUESTIONS[0]))))
    brain.close()


def rows_of(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the newest schema, those apart that a restore leaves out or that come and go."""
    database = database_of(settings)
    tables = [table for table in metadata.sorted_tables if table.name not in CHANGING]
    found = {table.name: [tuple(row) for row in database.rows(select(table).order_by(*table.primary_key))] for table in tables}
    database.close()
    return found


def files_of(settings: Settings) -> dict[str, str]:
    """Addresses of the originals that are kept, with what their bytes give."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (settings.data / "files").glob("??/*")}


def answers(settings: Settings) -> list[Any]:
    """What it finds and says, with scores; it stores nothing."""
    brain = build(settings)
    scope = brain.access.scope(caller_of(brain))
    found = [[(hit.document_id, hit.text, hit.score) for hit in brain.retriever.search(SearchQuery(q), scope).hits] for q in QUESTIONS]
    brain.close()
    return found


def caller_of(brain: Brain) -> Caller:
    """The local user."""
    return brain.access.local_caller("zh")
