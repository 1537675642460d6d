"""The jobs `purge` and `index`: take what deleted documents left on the disk; build an index anew.

After a purge no file under the data folder holds a deleted text: not the index (rebuilt without it), not the content store, not the
quotes in stored answers, not the write-ahead log. SQLite itself overwrites what is deleted (`secure_delete`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select, update

from qzbrain.errors import StorageBusy
from qzbrain.jobs.leases import Kind, Lease
from qzbrain.knowledge.removal import forget_file, used_files
from qzbrain.knowledge.scrub import cited_documents, scrubbed
from qzbrain.retrieval.base import SearchIndex
from qzbrain.retrieval.feeder import Feeder
from qzbrain.retrieval.shelves import documents_on, shelves
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import documents, knowledge_bases, messages, outbox

_MESSAGES = 500


class Purge:
    """Handles jobs whose `kb_id` names where something was deleted; the knowledge base itself may be gone."""

    def __init__(self, database: Database, files: FileStore, feeder: Callable[[], Feeder], index: Callable[[], SearchIndex]) -> None:
        self._db, self._files, self._feeder, self._index = database, files, feeder, index

    @property
    def kind(self) -> Kind:
        """How the runner does `purge` jobs."""
        return Kind(self.purge)

    @property
    def index_kind(self) -> Kind:
        """How the runner does `index` jobs."""
        return Kind(self.rebuild)

    def purge(self, leases: Sequence[Lease]) -> None:
        """Remove every trace of what is no longer in the tables. Safe to repeat."""
        for lease in leases:
            self._purge_index(lease)
            self._purge_files(lease)
            self._purge_quotes(lease)
        self._scrub_files()

    def rebuild(self, leases: Sequence[Lease]) -> None:
        """Build a knowledge base's index anew, beside the one in use; with the payload `{"only": "missing"}` where there is none to use.

        With `{"only": "changes"}` it is only told what has changed since it was last.
        """
        for lease in leases:
            if self._exists(lease.job.kb_id):
                for shelf in self._used(lease.job.kb_id):
                    if lease.job.payload.get("only") == "missing":
                        self._feeder().ensure(shelf, _shown(lease))
                    elif lease.job.payload.get("only") == "changes":
                        self._feeder().catch_up(shelf)
                    else:
                        self._feeder().rebuild(shelf, _shown(lease))
                if "only" not in lease.job.payload:
                    self._feeder().rebuild_vectors(lease.job.kb_id)

    def _purge_index(self, lease: Lease) -> None:
        exists = self._exists(lease.job.kb_id)
        for shelf in self._used(lease.job.kb_id) if exists else self._left(lease.job.kb_id):
            self._feeder().catch_up(shelf)
            if exists and self._index().deleted_share(shelf) > 0:
                self._feeder().rebuild(shelf, _shown(lease))

    def _left(self, kb_id: str) -> list[str]:
        """What of a knowledge base that is gone the indexes have not been told yet."""
        rows = self._db.rows(select(outbox.c.kb_id).where(outbox.c.kb_id.in_(shelves(kb_id))).distinct())
        return sorted({kb_id, *(row.kb_id for row in rows)})

    def _used(self, kb_id: str) -> list[str]:
        """Its shelf of texts; that of facts where there is, or was, something on it."""
        return [kb_id, *(shelf for shelf in shelves(kb_id)[1:] if self._db.rows(documents_on(shelf).limit(1)) or self._index().watermark(shelf) >= 0)]

    def _exists(self, kb_id: str) -> bool:
        return bool(self._db.rows(select(knowledge_bases.c.id).where(knowledge_bases.c.id == kb_id)))

    def _purge_files(self, lease: Lease) -> None:
        """Raises StorageBusy while a backup holds the files, and reads the database: the job comes again."""
        if self._files.are_held:
            raise StorageBusy
        used = used_files(self._db)
        for sha256 in self._files.contents():
            if sha256 not in used:
                forget_file(self._db, self._files, sha256)
            lease.heartbeat()

    def _purge_quotes(self, lease: Lease) -> None:
        last = ""
        while True:
            query = select(messages.c.id, messages.c.content, messages.c.details).where(messages.c.id > last, messages.c.role == "assistant")
            rows = self._db.rows(query.order_by(messages.c.id).limit(_MESSAGES))
            if not rows:
                return
            last = rows[-1].id
            self._scrub_messages(rows)
            lease.heartbeat()

    def _scrub_messages(self, rows: Sequence[Any]) -> None:
        cited = {row.id: cited_documents(row.details) for row in rows}
        named = sorted(set().union(*cited.values()))
        there = {row.id for row in self._db.rows(select(documents.c.id).where(documents.c.id.in_(named)))} if named else set()
        for row in rows:
            gone = cited[row.id] - there
            change = scrubbed(row.content, row.details, gone) if gone else None
            if change is not None:
                with self._db.write() as connection:
                    connection.execute(update(messages).where(messages.c.id == row.id).values(content=change[0], details=change[1]))

    def _scrub_files(self) -> None:
        """Take what was deleted out of the database's own files. Raises RuntimeError while a reader holds them: the job comes again."""
        if not self._db.scrub():
            raise RuntimeError("the write-ahead log is in use")


def _shown(lease: Lease) -> Callable[[int, int], None]:
    return lambda done, total: lease.progress("index", done, total, "documents")
