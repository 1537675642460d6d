"""Knowledge bases: make, list, change, delete. Knows rows, not files or indexes; what a deletion leaves behind is a `purge` job's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from qzbrain.auth.access import Access, KbRef, unknown_knowledge_base
from qzbrain.auth.grants import forget_grants, grant_to_maker
from qzbrain.domain import Caller, DocumentCounts, KnowledgeBase, Page, new_id, utc_now
from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.knowledge.names import checked_kb_name, checked_text
from qzbrain.knowledge.rechunking import submit_rechunking
from qzbrain.knowledge.removal import forget_entries, forget_facts, forget_folders, remove_documents, submit_purge
from qzbrain.knowledge.semantics import Semantics
from qzbrain.retrieval.shelves import FACTS, shelves
from qzbrain.storage.database import Database
from qzbrain.storage.tables import OF_A_GRAPH, documents, entries, graph_told, graph_versions, jobs, knowledge_bases, outbox, watched_folders

CHUNK_CHARS = 250
OVERLAP_CHARS = 50
_FACTS_AT_ONCE = 1000
WithoutEvidence = Literal["refuse", "model"]
_LONGEST_TITLE, _LONGEST_DESCRIPTION = 255, 10_000
_counted = (
    select(documents.c.kb_id, documents.c.status, func.count().label("documents"), func.sum(documents.c.chunks).label("chunks"))
    .where(documents.c.kind == "file")
    .group_by(documents.c.kb_id, documents.c.status)
)
_INTERNAL = 1


class KnowledgeBases:
    """The knowledge bases of the brain, as a caller may see and change them."""

    def __init__(self, database: Database, access: Access, runner: LeaseRunner, semantics: Semantics) -> None:
        self._db, self._access, self._jobs, self._semantics = database, access, runner, semantics

    def create(
        self,
        caller: Caller,
        *,
        name: str,
        title: str = "",
        description: str = "",
        chunk_chars: int = CHUNK_CHARS,
        overlap_chars: int = OVERLAP_CHARS,
        without_evidence: str = "refuse",
        level: int | None = None,
    ) -> KnowledgeBase:
        """Make an empty knowledge base, which its maker may manage. `level`: place in LEVELS, internal for None (or as far as the caller is cleared).

        Raises InvalidRequest, Conflict (`name_taken`), PermissionRefused.
        """
        self._access.require(caller, "write")
        check_sizes(chunk_chars, overlap_chars)
        if level is None:
            level = min(_INTERNAL, self._access.clearance(caller))
        self._access.require_level(caller, level)
        row: dict[str, Any] = {
            "id": new_id(),
            "chunk_chars": chunk_chars,
            "overlap_chars": overlap_chars,
            "manifest": {"chunk_chars": chunk_chars, "overlap_chars": overlap_chars, "embedder": None},
            "created_at": utc_now(),
            "level": level,
            **_checked(name=name, title=title, description=description, without_evidence=without_evidence),
        }
        def granted(connection: Connection) -> None:
            grant_to_maker(connection, row["id"], caller.id)
            self._access.changed(connection)

        self._write_named(insert(knowledge_bases).values(row), row["name"], granted)
        return self.knowledge_base(caller, row["id"])

    def knowledge_bases(self, caller: Caller, limit: int = 50, after: str | None = None) -> Page[KnowledgeBase]:
        """Those that the caller may read, by name; `after` is the last name of the page before."""
        names = [ref.name for ref in self._access.resolve(caller) if after is None or ref.name > after]
        shown = names[: page_size(limit)]
        found = self._read(caller, knowledge_bases.c.name.in_(shown))
        more = len(names) > len(shown)
        return Page(tuple(sorted(found, key=lambda x: x.name)), more, shown[-1] if more else None)

    def knowledge_base(self, caller: Caller, name_or_id: str) -> KnowledgeBase:
        """One knowledge base with its counts. Raises NotFound (`knowledge_base_not_found`)."""
        ref = self.resolve(caller, [name_or_id])[0]
        found = self._read(caller, knowledge_bases.c.id == ref.id)
        return found[0] if found else self.knowledge_base(caller, name_or_id)  # deleted in between: the look-up says so

    def resolve(self, caller: Caller, names: Sequence[str] | None) -> list[KbRef]:
        """See `Access.resolve`."""
        return self._access.resolve(caller, names)

    def update(
        self,
        caller: Caller,
        name_or_id: str,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        without_evidence: str | None = None,
    ) -> KnowledgeBase:
        """Change what is given. Raises NotFound, InvalidRequest, Conflict (`name_taken`), PermissionRefused."""
        ref = self.managed(caller, name_or_id)
        given = {"name": name, "title": title, "description": description, "without_evidence": without_evidence}
        values = _checked(**{key: value for key, value in given.items() if value is not None})
        if values:
            self._write_named(update(knowledge_bases).where(knowledge_bases.c.id == ref.id).values(values), values.get("name", ""))
        return self.knowledge_base(caller, ref.id)

    def rechunk(self, caller: Caller, name_or_id: str, *, chunk_chars: int | None = None, overlap_chars: int | None = None) -> str | None:
        """Change the size of chunks and have all documents cut anew; returns the job's id, None when the sizes are as they were.

        An overlap that is not given becomes smaller where it would be over half of a chunk. Raises NotFound, InvalidRequest, PermissionRefused.
        """
        ref = self.managed(caller, name_or_id)
        with self._db.write(durable=True) as connection:
            row = connection.execute(select(knowledge_bases).where(knowledge_bases.c.id == ref.id)).first()
            if row is None:
                raise unknown_knowledge_base(ref.name)
            chars = row.chunk_chars if chunk_chars is None else chunk_chars
            overlap = min(row.overlap_chars, chars // 2) if overlap_chars is None else overlap_chars
            check_sizes(chars, overlap)
            if (chars, overlap) == (row.chunk_chars, row.overlap_chars):
                return None
            sizes = {"chunk_chars": chars, "overlap_chars": overlap}
            values = {**sizes, "manifest": {**row.manifest, **sizes}}
            connection.execute(update(knowledge_bases).where(knowledge_bases.c.id == ref.id).values(values))
            return submit_rechunking(connection, self._jobs, ref.id)

    def delete(self, caller: Caller, name_or_id: str) -> None:
        """Remove a knowledge base with everything in it; its traces on the disk follow as a job. Raises NotFound.

        Goes by pieces, so that other writers need not wait long; ended half-way it can be repeated.
        """
        erase(self._db, self._jobs, self.managed(caller, name_or_id).id)
        self._access.standings.forget()

    def reindex(self, caller: Caller, name_or_id: str) -> str:
        """Build the search index of a knowledge base anew, beside the one in use; returns the job's id. Raises NotFound."""
        ref = self.managed(caller, name_or_id)
        with self._db.write(durable=True) as connection:
            return self._jobs.submit(connection, "index", kb_id=ref.id)

    def reembed(self, caller: Caller, name_or_id: str, *, embedder: str | None = None, force: bool = False) -> str:
        """Make the vectors of a knowledge base anew, beside those in use; see `Semantics`. Raises NotFound, Conflict, InvalidRequest."""
        return self._semantics.reembed(self.managed(caller, name_or_id), embedder=embedder, force=force)

    def roll_back(self, caller: Caller, name_or_id: str) -> KnowledgeBase:
        """Go back to the vectors before. Raises NotFound, Conflict."""
        ref = self.managed(caller, name_or_id)
        self._semantics.roll_back(ref)
        return self.knowledge_base(caller, ref.id)

    def managed(self, caller: Caller, name_or_id: str) -> KbRef:
        """A knowledge base that the caller may manage. Raises NotFound, PermissionRefused."""
        ref = self.resolve(caller, [name_or_id])[0]
        self._access.require(caller, "manage", ref.id)
        return ref

    def _read(self, caller: Caller, which: Any) -> list[KnowledgeBase]:
        """Counts are of what the caller may see; in the common case that this is all, they come from an index alone."""
        rows = self._db.rows(select(knowledge_bases).where(which))
        ceilings = {x.id: self._access.ceiling(caller, x.id) for x in rows}
        counts: dict[str, list[Row[Any]]] = {}
        for ceiling in set(ceilings.values()):
            query = _counted.where(documents.c.kb_id.in_([kb_id for kb_id, one in ceilings.items() if one == ceiling]))
            for row in self._db.rows(query if ceiling is None else query.where(documents.c.level <= ceiling)):
                counts.setdefault(row.kb_id, []).append(row)
        meaning = dict(self._semantics.of([x.id for x in rows]))
        for kb_id, ceiling in ceilings.items():
            if ceiling is not None:  # it counts chunks of what may not be seen
                meaning[kb_id] = {**meaning[kb_id], "progress": None}
        return [_knowledge_base(row, counts.get(row.id, []), meaning[row.id]) for row in rows]

    def _write_named(self, statement: Any, name: str, follow: Callable[[Connection], None] = lambda _connection: None) -> None:
        try:
            with self._db.write(durable=True) as connection:
                connection.execute(statement)
                follow(connection)
        except IntegrityError as exc:
            raise Conflict(
                "name_taken", zh=f"知识库名称“{name}”已被使用，请换一个名称。", en=f'The name "{name}" is taken; choose another.', param="name"
            ) from exc


def page_size(limit: int) -> int:
    """The limit of a list. Raises InvalidRequest outside 1..1000."""
    if not 1 <= limit <= 1000:
        raise InvalidRequest(zh="limit 须在 1 到 1000 之间。", en="limit must be between 1 and 1000.", param="limit")
    return limit


def erase(database: Database, runner: LeaseRunner, kb_id: str) -> None:
    """Remove a knowledge base with everything in it, as `KnowledgeBases.delete` says."""
    while True:
        with database.write() as connection:
            connection.execute(delete(jobs).where(jobs.c.kb_id == kb_id, jobs.c.kind != "purge"))
            ids = connection.execute(select(documents.c.id).where(documents.c.kb_id == kb_id, documents.c.kind != FACTS).limit(200)).scalars().all()
            remove_documents(connection, kb_id, ids)
            facts = forget_facts(connection, kb_id, most=_FACTS_AT_ONCE)
        if not ids and not facts:
            break
    with database.write(durable=True) as connection:
        while forget_facts(connection, kb_id, most=_FACTS_AT_ONCE):
            pass
        remove_documents(connection, kb_id, connection.execute(select(documents.c.id).where(documents.c.kb_id == kb_id)).scalars().all())
        connection.execute(delete(jobs).where(jobs.c.kb_id == kb_id))
        forget_folders(connection, connection.execute(select(watched_folders.c.id).where(watched_folders.c.kb_id == kb_id)).scalars().all())
        told = connection.execute(select(graph_told.c.entity_id).where(graph_told.c.kb_id == kb_id).limit(1)).first() is not None
        for table in (*OF_A_GRAPH, graph_told, graph_versions):
            connection.execute(delete(table).where(table.c.kb_id == kb_id))
        forget_entries(connection, connection.execute(select(entries.c.id).where(entries.c.kb_id == kb_id)).scalars().all())
        for shelf in shelves(kb_id) if told else (kb_id,):
            connection.execute(delete(outbox).where(outbox.c.kb_id == shelf))
            connection.execute(insert(outbox).values(kb_id=shelf, op="drop", document_id=""))
        connection.execute(delete(knowledge_bases).where(knowledge_bases.c.id == kb_id))
        forget_grants(connection, kb_id)
        submit_purge(connection, runner, kb_id)


def lock_knowledge_base(connection: Connection, kb_id: str) -> bool:
    """Whether the knowledge base is still there; asked inside a write, it stays there until that write's end."""
    return connection.execute(select(knowledge_bases.c.id).where(knowledge_bases.c.id == kb_id)).first() is not None


def check_sizes(chunk_chars: int, overlap_chars: int) -> None:
    """Raises InvalidRequest for sizes that no knowledge base can have."""
    if not 50 <= chunk_chars <= 8000:
        raise InvalidRequest(zh="chunk_chars 须在 50 到 8000 之间。", en="chunk_chars must be between 50 and 8000.", param="chunk_chars")
    if not 0 <= overlap_chars <= chunk_chars // 2:
        raise InvalidRequest(
            zh="overlap_chars 须在 0 到 chunk_chars 的一半之间。", en="overlap_chars must be between 0 and half of chunk_chars.", param="overlap_chars"
        )


def _checked(**given: str) -> dict[str, str]:
    values = dict(given)
    if "name" in values:
        values["name"] = checked_kb_name(values["name"])
    for param, longest in (("title", _LONGEST_TITLE), ("description", _LONGEST_DESCRIPTION)):
        if param in values:
            checked_text(values[param], param=param, longest=longest)
    if values.get("without_evidence", "refuse") not in ("refuse", "model"):
        raise InvalidRequest(zh="without_evidence 只能是 refuse 或 model。", en="without_evidence is refuse or model.", param="without_evidence")
    return values


def _knowledge_base(row: Row[Any], counted: Sequence[Row[Any]], meaning: Mapping[str, Any]) -> KnowledgeBase:
    by_status = {x.status: x.documents for x in counted}
    counts = DocumentCounts(
        total=sum(by_status.values()),
        ready=by_status.get("ready", 0),
        failed=by_status.get("failed", 0),
        pending=by_status.get("pending", 0) + by_status.get("running", 0),
    )
    fields = {name: getattr(row, name) for name in KnowledgeBase.__dataclass_fields__ if name not in ("documents", "chunks", "manifest")}
    return KnowledgeBase(**fields, manifest={**row.manifest, **meaning}, documents=counts, chunks=sum(x.chunks for x in counted))
