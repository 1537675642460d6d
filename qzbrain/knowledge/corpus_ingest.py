"""The job `corpus`: bring every line of a corpus to a document of its own. First all rows are made, so that all are seen; then they are read.

Run again after a crash, it finds the lines that it had taken in unchanged and goes on with those not read yet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from qzbrain.errors import BrainError, ParseFailed
from qzbrain.jobs.base import Job
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner
from qzbrain.knowledge.bringing import Bringer
from qzbrain.knowledge.corpus import BadLine, CorpusLine, corpus_lines
from qzbrain.knowledge.levels import set_level
from qzbrain.knowledge.names import display_name
from qzbrain.knowledge.pipeline import Pipeline
from qzbrain.knowledge.reader import ReadRequest
from qzbrain.knowledge.records import STARTING_OVER, UNREAD, fail_document, fail_unread, new_row
from qzbrain.knowledge.removal import forget_content, forget_file
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import document_texts, documents, knowledge_bases, outbox

_LINES = 400
_IDS = 20_000
_MOST_ERRORS = 1000
_renewed = update(documents).where(documents.c.id == bindparam("document_id"))


class CorpusIngest:
    """Handles jobs whose subject is the address of a stored corpus file."""

    def __init__(self, database: Database, files: FileStore, runner: LeaseRunner, pipeline: Pipeline, settings: Settings) -> None:
        self._db, self._files, self._runner, self._pipeline, self._settings = database, files, runner, pipeline, settings

    @property
    def kind(self) -> Kind:
        """How the runner does these jobs."""
        return Kind(self.handle, failed=_failed)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Take in the lines, read the documents, and drop the file: what it held is documents now."""
        self._pipeline.ready()
        for lease in leases:
            result = self._take_in(lease)
            self._read(lease)
            with self._db.write() as connection:
                lease.complete(connection, result)
            forget_file(self._db, self._files, lease.job.subject)

    def _take_in(self, lease: Lease) -> dict[str, Any]:
        """Make or renew the rows; returns the job's result. Counts every good line, also one that was there already."""
        taken, errors = 0, list[dict[str, Any]]()
        path = self._files.path(lease.job.subject)
        size = path.stat().st_size
        with path.open("rb") as stream:
            lines = corpus_lines(stream, max_text_chars=self._settings.max_text_chars)
            for batch in _batches(lines, _LINES):
                good = [x for x in batch if isinstance(x, CorpusLine)]
                with self._db.write() as connection:
                    _write_lines(connection, self._runner, lease.job, good)
                taken += len(good)
                bad = (x for x in batch if isinstance(x, BadLine))
                errors += [{"row": x.row, "message": x.zh if lease.job.payload.get("lang") == "zh" else x.en} for x in bad]
                lease.progress("read", batch[-1].offset, size, "bytes")
        return {"documents": taken, "errors": errors[:_MOST_ERRORS], "error_count": len(errors)}

    def _read(self, lease: Lease) -> None:
        with self._db.read() as connection:
            sizes = connection.execute(select(knowledge_bases).where(knowledge_bases.c.id == lease.job.kb_id)).first()
            if sizes is None:
                return
            total = connection.execute(select(documents.c.id).where(documents.c.kb_id == lease.job.kb_id, UNREAD)).all()
        owner = _Lines(self._db, lease, len(total))
        self._pipeline.take_up((documents.c.kb_id == lease.job.kb_id) & UNREAD, owner)
        requests = self._requests(lease.job.kb_id, sizes.chunk_chars, sizes.overlap_chars)
        self._pipeline.run(requests, owner, beat=lambda _: lease.heartbeat())

    def _requests(self, kb_id: str, chunk_chars: int, overlap_chars: int) -> Iterator[ReadRequest]:
        last = ""
        while True:
            query = select(documents.c.id).where(documents.c.kb_id == kb_id, documents.c.id > last, UNREAD).order_by(documents.c.id).limit(_IDS)
            ids = [row.id for row in self._db.rows(query)]
            if not ids:
                return
            last = ids[-1]
            for some in _batches(ids, _LINES):
                query = select(documents.c.id, documents.c.name, documents.c.title, document_texts.c.text).join(document_texts)
                for row in self._db.rows(query.where(documents.c.id.in_(some)).order_by(documents.c.id)):
                    yield ReadRequest(row.id, kb_id, row.name, chunk_chars, overlap_chars, text=row.text, title=row.title)


class _Lines:
    """The pipeline's owner: all documents stand for the one job."""

    def __init__(self, database: Database, lease: Lease, total: int) -> None:
        self._db, self._lease, self._total, self._done = database, lease, total, 0

    def wanted(self, connection: Connection, document_ids: Sequence[str]) -> set[str]:
        return set(connection.execute(select(documents.c.id).where(documents.c.id.in_(document_ids))).scalars())

    def ready(self, connection: Connection, document_ids: Sequence[str]) -> None:
        self._done += len(document_ids)
        self._lease.show(connection, "index", self._done, self._total, "documents")

    def failed(self, document_id: str, error: ParseFailed) -> None:
        with self._db.write() as connection:
            fail_document(connection, document_id, error)

    def put_off(self, document_id: str) -> None:
        """Nothing of a corpus is: it is all text."""


def _failed(connection: Connection, job: Job, error: BrainError) -> None:
    fail_unread(connection, job.kb_id, error)


def _write_lines(connection: Connection, runner: LeaseRunner, job: Job, lines: Sequence[CorpusLine]) -> None:
    """Rows for new ids, new texts for changed ones, another try for failed ones; the last line of an id counts."""
    kb_id, by_identity = job.kb_id, {f"ext:{line.external_id}": line for line in lines}
    kb = connection.execute(select(knowledge_bases.c.level).where(knowledge_bases.c.id == kb_id)).first()
    if not by_identity or kb is None:
        return
    bringer = Bringer.of_job(job.payload, kb.level)
    query = select(documents.c.identity, documents.c.id, documents.c.sha256, documents.c.status, documents.c.title, documents.c.level)
    found = connection.execute(query.where(documents.c.kb_id == kb_id, documents.c.identity.in_(list(by_identity)))).all()
    there: dict[str, Row[*tuple[Any, ...]]] = {}
    for row in found:
        if row.level <= bringer.clearance:
            there[row.identity] = row
        else:  # it is not there for who brought this
            own, identity = bringer.there(connection, kb_id, row.identity)
            by_identity[identity] = by_identity.pop(row.identity)
            there |= {} if own is None else {identity: own}
    raised = [row.id for row in there.values() if bringer.raised(row.level) > row.level]
    set_level(connection, runner, raised, bringer.level)
    new = [(identity, _row(kb_id, identity, line, bringer.level)) for identity, line in by_identity.items() if identity not in there]
    renewed = [(identity, {**_row(kb_id, identity, by_identity[identity], row.level), "id": row.id}) for identity, row in there.items()]
    renewed = [(identity, row) for identity, row in renewed if _differs(there[identity], row)]
    if renewed:
        ids = [row["id"] for _, row in renewed]
        forget_content(connection, ids)
        connection.execute(insert(outbox), [{"kb_id": kb_id, "op": "delete", "document_id": x} for x in ids])
        names = (*STARTING_OVER, "sha256", "size_bytes", "stored", "title")
        change = _renewed.values({name: bindparam(f"new_{name}") for name in names})
        connection.execute(change, [{"document_id": row["id"], **{f"new_{name}": row[name] for name in names}} for _, row in renewed])
    if new:
        connection.execute(insert(documents), [row for _, row in new])
    if new or renewed:
        texts = [{"document_id": row["id"], "text": by_identity[identity].text} for identity, row in chain(new, renewed)]
        connection.execute(insert(document_texts), texts)


def _row(kb_id: str, identity: str, line: CorpusLine, level: int) -> dict[str, Any]:
    data = line.text.encode()
    row = new_row(kb_id, identity, display_name(line.external_id, default="unnamed"), hashlib.sha256(data).hexdigest(), len(data), level)
    return row | {"external_id": line.external_id, "title": line.title, "stored": 0}


def _differs(there: Any, row: dict[str, Any]) -> bool:
    """Whether a line says something new. A title that the corpus does not give was found by the reader, and stays."""
    return bool(there.sha256 != row["sha256"] or there.status == "failed" or (row["title"] and there.title != row["title"]))


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
