"""The job `facts`: what a search by words finds of a graph. Each entity's facts are a document of the kind `facts` on the second shelf (decision 21).

A graph's version tells that there is something to do, each head's mark which ones have changed: only these are told anew. Rows and outbox are
written together, a mark with its text, so that a killed worker goes on where it was. Runs after uploads and before vectors, in short steps.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from qzbrain.auth.access import VISIBLE
from qzbrain.domain import utc_now
from qzbrain.graph.heads import MOST_FACTS, Heads, Page
from qzbrain.graph.telling import MOST_NAMED, Head, Told, told
from qzbrain.jobs.leases import Kind, Lease
from qzbrain.knowledge.facts_due import STAGE
from qzbrain.knowledge.records import new_row
from qzbrain.models.courtesy import Courtesy
from qzbrain.retrieval.feeder import Feeder
from qzbrain.retrieval.shelves import FACTS, facts_shelf
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, document_texts, documents, graph_told, graph_versions, knowledge_bases, outbox

AT_ONCE = 250
"""Heads in one transaction, of some 2,000 facts together: a tenth of a second in which nobody else writes."""
_FACTS_AT_ONCE = 2000
_INDEXED_AT_ONCE = 4000
"""Documents, before the index is told: a commit for each transaction would leave hundreds of small segments to be merged."""
_ASIDE_S = 0.5
_QUIET_S = 1.0
_LONGEST_PAUSE_S = 5.0
_POLL_S = 0.1
TITLE = "知识图谱："
_renewed = update(documents).where(documents.c.id == bindparam("document_id"))


class FactsJob:
    """Handles jobs whose `kb_id` names the knowledge base whose graph has changed."""

    def __init__(self, database: Database, feeder: Callable[[], Feeder], courtesy: Courtesy) -> None:
        self._db, self._feeder, self._courtesy = database, feeder, courtesy
        self._heads = Heads(database)

    @property
    def kind(self) -> Kind:
        """How the runner does these jobs."""
        return Kind(self.handle, rank=2)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Tell what has changed. Raises IndexUnavailable (waited out), GiveWay, Cancelled, Stopping."""
        for lease in leases:
            self._feeder().ready()
            _Telling(self._db, self._heads, self._feeder(), self._courtesy, lease).run()


class _Telling:
    """One run of one job."""

    def __init__(self, database: Database, heads: Heads, feeder: Feeder, courtesy: Courtesy, lease: Lease) -> None:
        self._db, self._heads, self._feeder, self._courtesy, self._lease = database, heads, feeder, courtesy, lease
        self._kb_id = lease.job.kb_id
        self._shelf = facts_shelf(self._kb_id)
        self._told = self._removed = self._unindexed = 0

    def run(self) -> None:
        version, total, seen = self._heads.version(self._kb_id), self._heads.count(self._kb_id), 0
        for page in self._heads.pages(self._kb_id):
            self._page(page, seen, total)
            seen += page.entities
        self._lease.progress(STAGE, total, total, "entities")
        self._index()
        result = {"told": self._told, "removed": self._removed}
        with self._db.write() as connection:
            connection.execute(update(graph_versions).where(graph_versions.c.kb_id == self._kb_id).values(told=version))
            self._lease.complete(connection, result)

    def _page(self, page: Page, seen: int, total: int) -> None:
        there = graph_told.c.kb_id == self._kb_id, graph_told.c.entity_id > page.after, graph_told.c.entity_id <= page.upto
        marks = {row.entity_id: row for row in self._db.rows(select(graph_told).where(*there))}
        gone = [marks[one] for one in sorted(marks.keys() - page.marks.keys())]
        changed = [one for one in sorted(page.marks) if one not in marks or marks[one].mark != page.marks[one]]
        for start in range(0, len(gone), AT_ONCE):
            self._step(seen, total)
            self._remove(gone[start : start + AT_ONCE])
        for some in _batches(changed, page):
            self._step(seen + page.entities * changed.index(some[0]) // len(changed), total)
            hub = len(some) == 1 and page.facts[some[0]] > MOST_FACTS
            heads = self._heads.read_hub(self._kb_id, some[0], page.facts[some[0]]) if hub else self._heads.read(self._kb_id, some)
            self._write(heads, page, {one: marks[one].document_id for one in some if one in marks})

    def _step(self, done: int, total: int) -> None:
        """Between two transactions: show where it stands, let others go first, and keep quiet while somebody asks."""
        if self._unindexed >= _INDEXED_AT_ONCE:
            self._index()
        self._lease.progress(STAGE, done, total, "entities")
        self._lease.give_way(after_s=_ASIDE_S)
        since = time.monotonic()
        while self._courtesy.quiet_s() < _QUIET_S and time.monotonic() - since < _LONGEST_PAUSE_S:
            self._lease.heartbeat()
            time.sleep(_POLL_S)

    def _index(self) -> None:
        self._feeder.catch_up(self._shelf)
        self._unindexed = 0

    def _remove(self, rows: Sequence[Any]) -> None:
        with self._db.write() as connection:
            forget_told(connection, self._kb_id, [row.document_id for row in rows])
            connection.execute(delete(graph_told).where(graph_told.c.entity_id.in_([row.entity_id for row in rows])))
        self._removed += len(rows)
        self._unindexed += len(rows)

    def _write(self, heads: Sequence[Head], page: Page, before: dict[int, str]) -> None:
        """These heads' texts and marks in one transaction; a text that is as it was is left alone."""
        texts = {head.id: (head, told(head)) for head in heads}
        with self._db.write() as connection:
            if connection.execute(select(knowledge_bases.c.id).where(knowledge_bases.c.id == self._kb_id, VISIBLE)).first() is None:
                return
            query = select(documents.c.id, documents.c.sha256).where(documents.c.id.in_(list(before.values())))
            known = {row.id: row.sha256 for row in connection.execute(query)}
            rows = [_row(self._kb_id, head, text, before.get(head.id, "")) for head, text in texts.values()]
            fresh = [row for row in rows if known.get(row["id"]) != row["sha256"]]
            self._store(connection, fresh, known, {row["identity"]: texts[int(row["identity"].partition(":")[2])] for row in fresh})
            connection.execute(delete(graph_told).where(graph_told.c.entity_id.in_(list(texts))))
            pairs = zip(texts, rows, strict=True)
            marks = [{"entity_id": head, "kb_id": self._kb_id, "document_id": row["id"], "mark": page.marks[head]} for head, row in pairs]
            if marks:
                connection.execute(insert(graph_told), marks)
        self._told += len(fresh)
        self._unindexed += len(fresh)

    def _store(self, connection: Connection, rows: Sequence[dict[str, Any]], known: dict[str, str], texts: dict[str, tuple[Head, Told]]) -> None:
        if not rows:
            return
        _forget_texts(connection, [row["id"] for row in rows if row["id"] in known])
        new = [row for row in rows if row["id"] not in known]
        if new:
            connection.execute(insert(documents), new)
        if len(new) < len(rows):
            names = ("name", "title", "sha256", "size_bytes", "chunks", "chars", "ready_at")
            change = _renewed.values({name: bindparam(f"new_{name}") for name in names})
            kept = [row for row in rows if row["id"] in known]
            connection.execute(change, [{"document_id": row["id"], **{f"new_{name}": row[name] for name in names}} for row in kept])
        connection.execute(insert(document_texts), [{"document_id": row["id"], "text": texts[row["identity"]][1].text} for row in rows])
        connection.execute(insert(chunks), [one for row in rows for one in _chunk_rows(self._shelf, row["id"], *texts[row["identity"]])])
        connection.execute(insert(outbox), [{"kb_id": self._shelf, "op": "put", "document_id": row["id"]} for row in rows])


def forget_told(connection: Connection, kb_id: str, document_ids: Sequence[str]) -> None:
    """Have a search find nothing of these documents of facts any more."""
    if document_ids:
        _forget_texts(connection, document_ids)
        connection.execute(delete(documents).where(documents.c.id.in_(document_ids)))
        connection.execute(insert(outbox), [{"kb_id": facts_shelf(kb_id), "op": "delete", "document_id": one} for one in document_ids])


def _forget_texts(connection: Connection, document_ids: Sequence[str]) -> None:
    if document_ids:
        connection.execute(delete(chunks).where(chunks.c.document_id.in_(document_ids)))
        connection.execute(delete(document_texts).where(document_texts.c.document_id.in_(document_ids)))


def _batches(changed: Sequence[int], page: Page) -> Iterator[list[int]]:
    """Heads to be told together; a hub alone."""
    batch, held = list[int](), 0
    for one in changed:
        if batch and (len(batch) == AT_ONCE or held + page.facts[one] > _FACTS_AT_ONCE):
            yield batch
            batch, held = [], 0
        batch.append(one)
        held += page.facts[one]
    if batch:
        yield batch


def _row(kb_id: str, head: Head, text: Told, document_id: str) -> dict[str, Any]:
    """Only what no document says is told: whoever may enter the knowledge base may read it."""
    data = text.text.encode("utf-8", "replace")
    name = f"{TITLE}{head.name}"[:255]
    says = hashlib.sha256(orjson.dumps(_headings(head)) + data).hexdigest()
    row = new_row(kb_id, f"{FACTS}:{head.id}", name, says, len(data))
    done = {"title": name, "stored": 0, "kind": FACTS, "status": "ready", "chunks": len(text.pieces), "chars": len(text.text), "ready_at": utc_now()}
    return {**row, **done, "level": 0, "mime_type": "text/plain", **({"id": document_id} if document_id else {})}


def _headings(head: Head) -> list[str]:
    """What is searched with each piece: the entity's names."""
    aliases = "、".join(head.aliases[:MOST_NAMED])
    return [head.name[:255], *([aliases] if aliases else [])]


def _chunk_rows(shelf: str, document_id: str, head: Head, text: Told) -> list[dict[str, Any]]:
    headings = orjson.dumps(_headings(head)).decode()
    return [
        {
            "document_id": document_id, "kb_id": shelf, "ordinal": n, "text": text.text[start:end], "start": start, "end": end, "page": None,
            "heading_path": headings, "reference": "",
        }
        for n, (start, end) in enumerate(text.pieces)
    ]  # fmt: skip
