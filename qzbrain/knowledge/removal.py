"""Forgetting: rows go at once in the caller's transaction; what they leave on the disk is taken by a `purge` job (see `purge`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Connection, delete, insert, select

from qzbrain.graph import stated
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.knowledge.edit_rows import set_aside
from qzbrain.retrieval.shelves import FACTS
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import (
    chunks,
    document_edits,
    document_texts,
    documents,
    entries,
    entry_versions,
    graph_extracted,
    graph_extractions,
    jobs,
    outbox,
    regression_questions,
    vectors,
    watched_files,
    watched_folders,
)


def remove_documents(connection: Connection, kb_id: str, document_ids: Sequence[str]) -> None:
    """Delete documents with their texts, chunks and jobs, and tell the index. Unknown ids are no error."""
    if not document_ids:
        return
    forget_content(connection, document_ids)
    connection.execute(delete(jobs).where(jobs.c.subject.in_(document_ids)))
    connection.execute(delete(document_edits).where(document_edits.c.document_id.in_(document_ids)))
    for table in (graph_extractions, graph_extracted):  # replies of a language model quote their document
        connection.execute(delete(table).where(table.c.document_id.in_(document_ids)))
    connection.execute(delete(documents).where(documents.c.id.in_(document_ids)))
    connection.execute(insert(outbox), [{"kb_id": kb_id, "op": "delete", "document_id": x} for x in document_ids])


def forget_content(connection: Connection, document_ids: Sequence[str], *, texts: bool = True) -> None:
    """Delete documents' chunks with their vectors, what only these documents say in the graph, and their texts, not the documents."""
    stated.forget(connection, document_ids)
    connection.execute(delete(vectors).where(vectors.c.document_id.in_(document_ids)))
    connection.execute(delete(chunks).where(chunks.c.document_id.in_(document_ids)))
    if texts:
        set_aside(connection, document_ids)
        connection.execute(delete(document_texts).where(document_texts.c.document_id.in_(document_ids)))


def forget_facts(connection: Connection, kb_id: str, *, most: int) -> int:
    """Delete documents of facts with all that belongs to them, at most so many; returns how many. What a dropped shelf held need not be told to its index."""
    query = select(documents.c.id).where(documents.c.kb_id == kb_id, documents.c.kind == FACTS).limit(most)
    ids = connection.execute(query).scalars().all()
    if ids:
        for table, column in ((chunks, chunks.c.document_id), (document_texts, document_texts.c.document_id), (documents, documents.c.id)):
            connection.execute(delete(table).where(column.in_(ids)))
    return len(ids)


def forget_entries(connection: Connection, entry_ids: Sequence[str]) -> None:
    """Delete entries with their versions and regression questions; their documents are the caller's to remove."""
    for table, column in ((regression_questions, "entry_id"), (entry_versions, "entry_id"), (entries, "id")):
        connection.execute(delete(table).where(table.c[column].in_(entry_ids)))


def forget_folders(connection: Connection, folder_ids: Sequence[str]) -> None:
    """Delete watched folders and what is known of their files; documents stay."""
    connection.execute(delete(watched_files).where(watched_files.c.folder_id.in_(folder_ids)))
    connection.execute(delete(watched_folders).where(watched_folders.c.id.in_(folder_ids)))


def used_files(database: Database) -> set[str]:
    """Addresses of the contents that documents use."""
    return {row.sha256 for row in database.rows(select(documents.c.sha256).where(documents.c.stored == 1).distinct())}


def sweep_strays(database: Database, files: FileStore, *, before: float) -> int:
    """Remove what processes killed in the middle of an upload left: unfinished files, and contents that no row names. Returns how many.

    Only what was written before that time (seconds since 1970): younger ones may belong to an upload that is about to make its row.
    """
    used = used_files(database)
    swept = files.sweep_unfinished(before)
    for sha256 in files.contents():
        with suppress(FileNotFoundError):
            if sha256 not in used and files.kept_since(sha256) < before:
                swept += forget_file(database, files, sha256)
    return swept


def forget_file(database: Database, files: FileStore, sha256: str) -> bool:
    """Remove a stored file that no document and no open corpus job uses; tells whether it did.

    In a write, so that an upload of the same bytes sees it gone or counted.
    """
    with database.write() as connection:
        by_document = select(documents.c.id).where(documents.c.sha256 == sha256, documents.c.stored == 1).limit(1)
        by_job = select(jobs.c.id).where(jobs.c.subject == sha256, jobs.c.status != "done").limit(1)
        unused = connection.execute(by_document).first() is None and connection.execute(by_job).first() is None
        return unused and files.remove(sha256)


def submit_index_changes(connection: Connection, runner: LeaseRunner, kb_id: str) -> None:
    """See that the index is brought after what this transaction changes; a job that waits already will do."""
    waiting = select(jobs.c.payload).where(jobs.c.kind == "index", jobs.c.kb_id == kb_id, jobs.c.status == "pending")
    if all(row.payload.get("only") != "changes" for row in connection.execute(waiting)):
        runner.submit(connection, "index", kb_id=kb_id, payload={"only": "changes"})


def submit_purge(connection: Connection, runner: LeaseRunner, kb_id: str) -> None:
    """See that a purge follows; one that waits already will do."""
    waiting = select(jobs.c.id).where(jobs.c.kind == "purge", jobs.c.kb_id == kb_id, jobs.c.status == "pending").limit(1)
    if connection.execute(waiting).first() is None:
        runner.submit(connection, "purge", kb_id=kb_id)
