"""The row of a document through its life: new, starting over, ready, failed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, bindparam, exists, insert, select, update

from qzbrain.domain import new_id, utc_now
from qzbrain.errors import BrainError
from qzbrain.graph import stated
from qzbrain.storage.tables import chunks, document_texts, documents, jobs, outbox

STARTING_OVER: dict[str, Any] = {
    "status": "pending",
    "stage": "",
    "progress_done": 0,
    "progress_total": 0,
    "progress_unit": "",
    "progress_rate": 0.0,
    "reason_code": None,
    "reason_zh": None,
    "reason_en": None,
    "pages": None,
    "chunks": 0,
    "chars": 0,
    "mime_type": "",
    "ready_at": None,
    "graph_rules": 0,
}


_stored = update(documents).where(documents.c.id == bindparam("document_id"))
_with_open_job = exists().where(jobs.c.subject == documents.c.id, jobs.c.status.in_(("pending", "running")))
UNREAD = (documents.c.stored == 0) & documents.c.status.in_(("pending", "running")) & ~_with_open_job
"""Documents that a corpus made and that are not read yet: texts given directly, without a job of their own."""


def new_row(kb_id: str, identity: str, name: str, sha256: str, size_bytes: int, level: int = 1) -> dict[str, Any]:
    """All columns of a document that nobody has read yet, whose original is a stored file."""
    return {
        **STARTING_OVER,
        "id": new_id(),
        "kb_id": kb_id,
        "identity": identity,
        "external_id": "",
        "name": name,
        "title": "",
        "sha256": sha256,
        "size_bytes": size_bytes,
        "stored": 1,
        "level": level,
        "created_at": utc_now(),
    }


def mark_ready(connection: Connection, document_ids: Collection[str]) -> None:
    """Documents can be found now, with all their chunks."""
    values = {"status": "ready", "stage": "", "progress_done": documents.c.chunks, "ready_at": utc_now()}
    if document_ids:
        connection.execute(update(documents).where(documents.c.id.in_(document_ids)).values(values))


def let_document_wait(connection: Connection, document_id: str, error: BrainError) -> None:
    """A document cannot be brought to its end now, and will be: the reason is shown until then."""
    reason = {"reason_code": error.code, "reason_zh": error.zh, "reason_en": error.en}
    waiting = update(documents).where(documents.c.id == document_id, documents.c.status.in_(("pending", "running")))
    connection.execute(waiting.values(status="pending", stage="", **reason))


def fail_document(connection: Connection, document_id: str, error: BrainError) -> None:
    """A document cannot be used: nothing of it is found, the reason is shown. The text of one given directly stays, for another try."""
    stated.forget(connection, [document_id])
    gone = connection.execute(chunks.delete().where(chunks.c.document_id == document_id)).rowcount
    row = connection.execute(documents.select().where(documents.c.id == document_id)).first()
    if row is None:
        return
    if row.stored:
        connection.execute(document_texts.delete().where(document_texts.c.document_id == document_id))
    if gone:
        connection.execute(insert(outbox).values(kb_id=row.kb_id, op="delete", document_id=document_id))
    reason = {"reason_code": error.code, "reason_zh": error.zh, "reason_en": error.en}
    connection.execute(_stored.values(status="failed", stage="", chunks=0, **reason), {"document_id": document_id})


def fail_unread(connection: Connection, kb_id: str, error: BrainError) -> None:
    """What a corpus that ended early left unread will not be read any more."""
    for document_id in connection.execute(select(documents.c.id).where(documents.c.kb_id == kb_id, UNREAD)).scalars().all():
        fail_document(connection, document_id, error)
