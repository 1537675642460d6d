"""The job `graph-import`: bring a stored file's triples into a graph, some thousands at a time.

Each part is a transaction of a fraction of a second, between which others write. With it goes how far the file has been taken in, so that a worker that was
killed goes on behind it; when the graph has been changed by others since, from the beginning, which changes nothing that is there.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from sqlalchemy import Connection, update

from qzbrain.errors import Cancelled, ParseFailed, StorageBusy
from qzbrain.graph.base import Fact
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.filling import Filling, graph_version
from qzbrain.graph.reading import Found, TextFile, examined
from qzbrain.graph.rows import BadRow
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import jobs

KIND = "graph-import"
MOST_ERRORS = 1000
AT_ONCE = 10_000


def submit(
    database: Database, runner: LeaseRunner, files: FileStore, stream: BinaryIO, *, kb_id: str, payload: Mapping[str, Any], limit_bytes: int
) -> str:
    """Keep a file of triples and have it taken in; the job's id. `payload`: its `name`, the reader's `lang`, and whether it is a `dry_run`.

    Raises PayloadTooLarge, StorageFull; StorageBusy when a purge took the file before its job was there, as one that nobody names, and it cannot be
    read a second time.
    """
    while True:
        stored = files.put(stream, limit_bytes=limit_bytes)
        with database.write(durable=True) as connection:
            if files.path(stored.sha256).exists():  # whatever removes one looks for its job first, in a write
                return runner.submit(connection, KIND, subject=stored.sha256, kb_id=kb_id, payload=dict(payload))
        if not stream.seekable():
            raise StorageBusy
        stream.seek(0)


class GraphImport:
    """Handles jobs whose subject is the address of a stored file."""

    def __init__(self, database: Database, files: FileStore, graph: SqlGraph) -> None:
        self._db, self._files, self._graph = database, files, graph

    @property
    def kind(self) -> Kind:
        """How the runner does these jobs."""
        return Kind(self.handle)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Import the files of these jobs. Raises ParseFailed for one that is no text, or holds no triple at all."""
        for lease in leases:
            lease.heartbeat()
            with _no_cycles_sought():
                result = _Import(self._db, lease, examined(self._files.path(lease.job.subject))).result()
            with self._db.write() as connection:
                lease.complete(connection, result)


@contextmanager
def _no_cycles_sought() -> Iterator[None]:
    """Rows are no cycles, but looking for some among them took a sixth of an import (2026-11-28). The youngest objects are looked at after each part."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass
class _Import:
    """One file on its way in."""

    db: Database
    lease: Lease
    file: TextFile
    errors: list[dict[str, Any]] = field(default_factory=list)
    bad: int = 0

    def __post_init__(self) -> None:
        self._filling = Filling(self.lease.job.kb_id)
        self._payload: dict[str, Any] = self.lease.job.payload
        self._dry, self._lang = bool(self._payload.get("dry_run")), str(self._payload.get("lang", "zh"))

    def result(self) -> dict[str, Any]:
        """Take the file in; what came of it."""
        after = self._taken_before()
        names, relations = set[str](), set[str]()
        taken = row = 0
        with self.file.facts(str(self._payload.get("name", ""))) as found, closing(_read_ahead(_parts(found))) as parts:
            for part in parts:
                for bad in part.bad:
                    self._note(bad)
                names.update([fact.head for fact in part.facts])
                names.update([fact.tail for fact in part.facts])
                relations.update([fact.relation for fact in part.facts])
                begun, taken, row = taken, taken + len(part.facts), part.row or row
                self._store([] if self._dry else part.facts[max(0, after - begun) :], taken, row)
        if not taken:
            raise _nothing(self.errors)
        result = {"triples": taken, "entities": len(names), "relations": len(relations), "errors": self.errors}
        return result if self.bad <= MOST_ERRORS else {**result, "more_errors": self.bad - MOST_ERRORS}

    def _taken_before(self) -> int:
        """How many facts of the file are in the graph, as this job put them there before its worker was lost."""
        before = self._payload.get("taken_in") or {}
        with self.db.read() as connection:
            return int(before.get("facts", 0)) if before.get("version") == graph_version(connection, self.lease.job.kb_id) else 0

    def _note(self, bad: BadRow) -> None:
        self.bad += 1
        if self.bad <= MOST_ERRORS:
            self.errors.append({"row": bad.row, "message": bad.en if self._lang == "en" else bad.zh})

    def _store(self, facts: Sequence[Fact], taken: int, row: int) -> None:
        self.lease.heartbeat()
        if not facts:
            self.lease.progress("import", row, self.file.rows, "rows")
            return
        with self.db.write() as connection:
            self._filling.add(connection, facts)
            self.lease.show(connection, "import", row, self.file.rows, "rows")
            self._remember(connection, taken)
        gc.collect(0)

    def _remember(self, connection: Connection, taken: int) -> None:
        """In the transaction of a part: that the file is taken in as far as this. Raises Cancelled, and nothing of it stays, when the job is gone."""
        before = {"facts": taken, "version": graph_version(connection, self.lease.job.kb_id)}
        ours = update(jobs).where(jobs.c.id == self.lease.job.id, jobs.c.status == "running")
        if not connection.execute(ours.values(payload={**self._payload, "taken_in": before})).rowcount:
            raise Cancelled


@dataclass(slots=True)
class _Part:
    """AT_ONCE rows, or what is left; `row`: how far they go."""

    facts: list[Fact] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    row: int = 0


def _parts(found: Iterator[Found]) -> Iterator[_Part]:
    part = _Part()
    for one in found:
        if isinstance(one, BadRow):
            part.bad.append(one)
            part.row = one.row
        else:
            part.row, fact = one
            part.facts.append(fact)
        if len(part.facts) + len(part.bad) >= AT_ONCE:
            yield part
            part = _Part()
    yield part


def _read_ahead(parts: Iterator[_Part]) -> Generator[_Part, None, None]:
    """The same; the next one is read while the database, which needs no Python for most of it, writes this one."""
    with ThreadPoolExecutor(1, "reading") as pool:
        coming = pool.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = pool.submit(next, parts, None)
            yield part


def _nothing(errors: Sequence[dict[str, Any]]) -> ParseFailed:
    first = f"{errors[0]['row']}: {errors[0]['message']}" if errors else ""
    return ParseFailed(
        "no_triples",
        zh=f"文件中没有可用的三元组（{first or '文件为空'}）。请提供含 head、relation、tail 三列的 CSV，或每行一个 JSON 对象的 JSONL。",
        en=f"The file holds no usable triple ({first or 'it is empty'}). Give a CSV with the columns head, relation, tail, or JSON lines with these keys.",
    )
