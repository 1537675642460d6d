"""The job `graph-import`: bring a stored file's triples into a graph, some thousands at a time. Run again after a crash, it changes nothing that is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qzbrain.errors import ParseFailed
from qzbrain.graph.base import Fact
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.transfer import BadRow, read
from qzbrain.jobs.leases import Kind, Lease
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.text.decode import decode

KIND = "graph-import"
MOST_ERRORS = 1000
_AT_ONCE = 10_000


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
            payload = lease.job.payload
            text = decode(self._files.path(lease.job.subject).read_bytes()).text
            result = self._take_in(lease, text, str(payload.get("name", "")), lang=str(payload.get("lang", "zh")), dry_run=bool(payload.get("dry_run")))
            with self._db.write() as connection:
                lease.complete(connection, result)

    def _take_in(self, lease: Lease, text: str, name: str, *, lang: str, dry_run: bool) -> dict[str, Any]:
        total = text.count("\n") + 1
        errors: list[dict[str, Any]] = []
        waiting: list[Fact] = []
        heads: set[str] = set()
        relations: set[str] = set()
        taken = row = 0
        for found in read(text, name):
            if isinstance(found, BadRow):
                row = found.row
                if len(errors) < MOST_ERRORS:
                    errors.append({"row": found.row, "message": found.en if lang == "en" else found.zh})
            else:
                row, fact = found
                taken += 1
                waiting.append(fact)
                heads.update((fact.head, fact.tail))
                relations.add(fact.relation)
            if len(waiting) >= _AT_ONCE:
                self._store(lease, waiting, dry_run=dry_run)
                waiting = []
                lease.progress("import", row, total, "rows")
        self._store(lease, waiting, dry_run=dry_run)
        if not taken:
            raise _nothing(errors)
        return {"triples": taken, "entities": len(heads), "relations": len(relations), "errors": errors}

    def _store(self, lease: Lease, facts: Sequence[Fact], *, dry_run: bool) -> None:
        lease.heartbeat()
        if facts and not dry_run:
            with self._db.write() as connection:
                self._graph.add_within(connection, lease.job.kb_id, facts)


def _nothing(errors: Sequence[dict[str, Any]]) -> ParseFailed:
    first = f"{errors[0]['row']}: {errors[0]['message']}" if errors else ""
    return ParseFailed(
        "no_triples",
        zh=f"文件中没有可用的三元组（{first or '文件为空'}）。请提供含 head、relation、tail 三列的 CSV，或每行一个 JSON 对象的 JSONL。",
        en=f"The file holds no usable triple ({first or 'it is empty'}). Give a CSV with the columns head, relation, tail, or JSON lines with these keys.",
    )
