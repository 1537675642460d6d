"""Takes a checked pack in: rows go piece by piece into a knowledge base that nobody sees, its indexes are built, then it appears at once.

How far it is stands in the row of that hidden knowledge base and is committed with each piece, so that whoever comes after a killed worker
goes on there. Ids of documents and entries stay as they are where they are free, else a part of them is replaced; chunk ids are given anew
in the same order, because ties between passages go by them.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from qzbrain.auth.access import HIDDEN
from qzbrain.auth.standing import access_changed
from qzbrain.domain import new_id, utc_now
from qzbrain.errors import BrainError, Conflict, EngineUnavailable
from qzbrain.graph.changes import Touched
from qzbrain.graph.filling import changed, parts
from qzbrain.graph.numbers import reserve
from qzbrain.knowledge.packs.checking import Facts, Progress, check, rows, vector_pages
from qzbrain.knowledge.packs.format import FILES, SECTIONS, VectorsPart
from qzbrain.knowledge.packs.graph_format import GRAPH_ROWS
from qzbrain.knowledge.packs.graph_taking import GRAPH_TABLES, GraphTaking
from qzbrain.knowledge.packs.reading import Pack, bad_pack
from qzbrain.knowledge.semantics import mismatch, wrong_embedder
from qzbrain.models.base import Embedder
from qzbrain.retrieval.spaces import Manifest, Space
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import (
    api_keys,
    chunks,
    document_edits,
    document_texts,
    documents,
    entries,
    entry_versions,
    graph_merges,
    kb_grants,
    knowledge_bases,
    regression_questions,
    vector_spaces,
    vectors,
)

_T = TypeVar("_T")
_BATCH = 500
_BATCH_CHARS = 4_000_000
_SMALLER = 10
"""So many more rows of a graph go into one transaction."""
_TABLES: dict[str, Table] = {
    "documents": documents,
    "texts": document_texts,
    "chunks": chunks,
    "edits": document_edits,
    "entries": entries,
    "entry_versions": entry_versions,
    "regression_questions": regression_questions,
    **GRAPH_TABLES,
}
INTERNAL = 1
"""The level of what comes in a pack from before there were levels."""
_OWN_IDS = ("documents", "entries", "graph_merges", "graph_suggestions")
"""Sections whose ids stay as they are where they are free."""
_NAMED_BY = {"document_id": documents, "entry_id": entries, "merge_id": graph_merges}
_OF_KB = ("documents", "chunks", "entries", "regression_questions")
_SPARE = 64 << 20


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made, before it is seen: the hidden knowledge base, and why its vectors are not searched, if so."""

    kb_id: str
    checksum: str
    space: Space | None
    refusal: BrainError | None
    skipped: Sequence[str]


class Importer:
    """Brings the rows and files of one pack into the hidden knowledge base. For one thread."""

    def __init__(self, database: Database, files: FileStore, pack: Pack, progress: Progress) -> None:
        self._db, self._files, self._pack, self._progress = database, files, pack, progress
        self._hidden = hidden_name(pack.checksum)
        self._kb_id = ""
        self._state: dict[str, Any] = {}
        self._graph: GraphTaking | None = None
        self._done = 0

    def run(self, embedder: Embedder | None) -> Imported:
        """Check, then take in what is not there yet. Raises InvalidRequest, Conflict, StorageFull."""
        facts = check(self._pack, self._progress)
        self._begin()
        for section in SECTIONS:
            self._take(section, facts)
        self._count_graph()
        self._take_files()
        space, refusal = self._take_vectors(embedder)
        return Imported(self._kb_id, self._pack.checksum, space, refusal, self._pack.skipped)

    def _begin(self) -> None:
        """Find the hidden knowledge base of this pack, or make it where there is room for the pack."""
        row = self._row()
        if row is None:
            _require_room(self._files.root, self._pack.size_bytes)
            kb = self._pack.manifest.knowledge_base
            fields = {key: kb[key] for key in ("title", "description", "chunk_chars", "overlap_chars", "without_evidence", "created_at")}
            fields["level"] = kb.get("level", INTERNAL)
            row = {"id": new_id(), "name": self._hidden, "manifest": {"import": {}, **_reset(kb["manifest"])}, **fields}
            with self._db.write() as connection:
                try:
                    connection.execute(insert(knowledge_bases).values(**row))
                except IntegrityError as exc:
                    raise _elsewhere() from exc
        self._kb_id, self._state = row["id"], dict(row["manifest"]["import"])

    def _row(self) -> dict[str, Any] | None:
        found = self._db.rows(select(knowledge_bases).where(knowledge_bases.c.name == self._hidden))
        return dict(found[0]._mapping) if found else None

    def _advance(self, connection: Connection, **state: Any) -> None:
        """Note how far it is, in the transaction that made it so. Raises Conflict when somebody else takes the same pack in."""
        query = select(knowledge_bases.c.manifest).where(knowledge_bases.c.id == self._kb_id)
        manifest = connection.execute(query).scalar()
        if manifest is None or manifest.get("import") != self._state:
            raise _elsewhere()
        self._state = {**self._state, **state}
        values = {"manifest": {**manifest, "import": self._state}}
        connection.execute(update(knowledge_bases).where(knowledge_bases.c.id == self._kb_id).values(**values))

    def _take(self, section: str, facts: Facts) -> None:
        taken = int(self._state.get(section, 0))
        total = sum(self._pack.manifest.counts.values())
        self._done += taken
        most = 1 if section == "graph_merges" else _BATCH * (_SMALLER if section in GRAPH_TABLES else 1)
        for batch in _batches(islice(rows(self._pack, section), taken, None), most):
            graph = self._graph_rows(facts) if section in GRAPH_ROWS else None
            with self._db.write() as connection:
                if graph is None:
                    connection.execute(insert(_TABLES[section]), self._rows(connection, section, batch, facts))
                else:
                    self._add_to_graph(connection, graph, section, batch)
                taken += len(batch)
                self._advance(connection, **{section: taken})
            self._done += len(batch)
            self._progress("rows", self._done, total, "rows")

    def _rows(self, connection: Connection, section: str, batch: Sequence[dict[str, Any]], facts: Facts) -> list[dict[str, Any]]:
        """The rows as this database takes them."""
        made = [dict(row) for row in batch]
        if section in _OWN_IDS:
            self._give_ids(connection, _TABLES[section], made)
        else:
            key = "document_id" if "document_id" in made[0] else "entry_id"
            self._rename(connection, made, key)
        if section == "entries":
            self._rename(connection, made, "document_id")
        if section == "regression_questions":
            for row in made:  # conversations do not travel; nor do ids of questions, which nothing names
                row["message_id"], row["id"] = "", new_id()
        for row, was in zip(made, batch, strict=True):
            if section in _OF_KB:
                row["kb_id"] = self._kb_id
            if section == "documents":
                row["chunks"], row["chars"] = facts.chunks[was["id"]], facts.chars.get(was["id"], 0)
                row["level"] = self._pack.manifest.knowledge_base.get("level", INTERNAL) if row["level"] is None else row["level"]
                row["stored"] = int(f"{FILES}{row['sha256']}" in self._pack.members and row["stored"] == 1)
            if section == "chunks":
                row["heading_path"] = orjson.dumps(row["heading_path"]).decode()
        return made

    def _give_ids(self, connection: Connection, table: Table, made: Sequence[dict[str, Any]]) -> None:
        """Have rows keep their ids, but for those that other knowledge bases have."""
        for some in parts(made):
            taken = set(connection.execute(select(table.c.id).where(table.c.id.in_([row["id"] for row in some]), table.c.kb_id != self._kb_id)).scalars())
            for row in some:
                row["id"] = self._other(row["id"]) if row["id"] in taken else row["id"]

    def _rename(self, connection: Connection, made: Sequence[dict[str, Any]], key: str) -> None:
        """Have rows name documents, entries or merges by the ids that these have here."""
        table = _NAMED_BY[key]
        for some in parts(sorted({row[key] for row in made if row[key]})):
            query = select(table.c.id).where(table.c.id.in_([*some, *map(self._other, some)]), table.c.kb_id == self._kb_id)
            mine = set(connection.execute(query).scalars())
            others = {one: self._other(one) for one in some if one not in mine}
            for row in made if others else ():
                row[key] = others.get(row[key], row[key])

    def _other(self, one: str) -> str:
        """The id that stands for one that is taken: its time, so that lists keep their order, and a part of this import's own."""
        return one[:13] + hashlib.sha256(f"{self._kb_id} {one}".encode()).hexdigest()[:9]

    # -- the graph

    def _graph_rows(self, facts: Facts) -> GraphTaking:
        """What makes rows of the graph, once numbers are reserved for them."""
        if self._graph is None:
            if "graph" not in self._state:
                with self._db.write() as connection:
                    self._advance(connection, graph=reserve(connection, facts.spans))
            self._graph = GraphTaking(self._kb_id, self._state["graph"])
        return self._graph

    def _add_to_graph(self, connection: Connection, graph: GraphTaking, section: str, batch: Sequence[dict[str, Any]]) -> None:
        made = [dict(row) for row in batch]
        if section in _OWN_IDS:
            self._give_ids(connection, _TABLES[section], made)
        for row in made if section == "graph_merges" else ():
            for name in ("aliases", "mentions", "added"):
                self._rename(connection, row[name], "document_id")
        for key in ("document_id", "merge_id"):
            if key in made[0]:
                self._rename(connection, made, key)
        if section == "graph_stated":
            graph.note_rules(connection, made)
        else:
            connection.execute(insert(_TABLES[section]), graph.rows(connection, section, made))

    def _count_graph(self) -> None:
        """From here on there is a graph: one change, of which whoever looks at graphs may know."""
        if self._state.get("graph") and not self._state.get("graph_counted"):
            with self._db.write() as connection:
                changed(connection, self._kb_id, Touched())
                self._advance(connection, graph_counted=True)

    # -- what is beside the rows

    def _take_files(self) -> None:
        """Originals, after the rows that keep a sweep from taking them for strays."""
        names = [name for name in self._pack.members if name.startswith(FILES)]
        for done, name in enumerate(names, 1):
            if not self._files.path(name.removeprefix(FILES)).exists():
                with self._pack.member(name) as stream:
                    stored = self._files.put(stream, limit_bytes=self._pack.members[name].file_size)
                if stored.sha256 != name.removeprefix(FILES):  # the file of the pack was changed since it was checked
                    raise bad_pack(f"{name} 在导入过程中发生了变化", f"{name} changed while it was taken in")
            self._progress("files", done, len(names), "files")

    def _take_vectors(self, embedder: Embedder | None) -> tuple[Space | None, BrainError | None]:
        part = self._pack.manifest.vectors
        if part is None or not part.upto:
            return None, None
        space = self._space(part)
        taken = int(self._state.get("vectors", 0))
        for page in vector_pages(self._pack, part, _BATCH):
            if page.rows[-1] < taken:
                continue
            with self._db.write() as connection:
                last = self._add_vectors(connection, space, page.rows.tolist(), page.vectors)
                taken = int(page.rows[-1]) + 1
                self._advance(connection, vectors=taken, last_chunk=last)
            self._progress("vectors", taken, part.upto, "rows")
        query = select(chunks.c.id).where(chunks.c.kb_id == self._kb_id).order_by(chunks.c.id).offset(part.upto - 1).limit(1)
        upto = int(self._db.rows(query)[0].id)
        name, refusal = _verdict(space, embedder)
        with self._db.write() as connection:
            values = {"embedder": name, "embedded_upto": upto}
            connection.execute(update(vector_spaces).where(vector_spaces.c.id == space.id).values(**values))
        return replace(space, embedder=name, embedded_upto=upto), refusal

    def _space(self, part: VectorsPart) -> Space:
        manifest = Manifest.of(part.manifest)
        if "space" not in self._state:
            space_id = new_id()
            row = {"id": space_id, "kb_id": self._kb_id, "status": "building", "embedder": part.embedder, "width": part.width}
            with self._db.write() as connection:
                values = {**row, "manifest": manifest.column(), "embedded_upto": 0, "created_at": utc_now()}
                connection.execute(insert(vector_spaces).values(**values))
                self._advance(connection, space=space_id)
        return Space(str(self._state["space"]), self._kb_id, part.embedder, part.width, manifest, 0)

    def _add_vectors(self, connection: Connection, space: Space, numbers: Sequence[int], made: Any) -> int:
        """Store these vectors for the chunks of these rows; returns the id of the last chunk. Rows grow, as chunk ids do."""
        begun = int(self._state.get("vectors", 0))
        after = int(self._state.get("last_chunk", 0))
        query = select(chunks.c.id, chunks.c.document_id).where(chunks.c.kb_id == self._kb_id, chunks.c.id > after)
        found = connection.execute(query.order_by(chunks.c.id).limit(numbers[-1] + 1 - begun)).all()
        of = [found[number - begun] for number in numbers]
        some = [
            {"space_id": space.id, "chunk_id": row.id, "document_id": row.document_id, "vector": half.tobytes()} for row, half in zip(of, made, strict=True)
        ]
        connection.execute(insert(vectors), some)
        return int(found[-1].id)


def hidden_name(checksum: str) -> str:
    """What the knowledge base of a pack is called while nobody may see it: no name that can be given."""
    return f"{HIDDEN}{checksum}"[:64]


def show(connection: Connection, made: Imported, name: str, *, in_place: bool) -> str | None:
    """Have the knowledge base appear under its name, whole; returns the id of one that it took the place of, hidden now.

    Raises Conflict (`name_taken`).
    """
    old = connection.execute(select(knowledge_bases.c.id, knowledge_bases.c.name).where(knowledge_bases.c.name == name)).first()
    if old is not None and not in_place:
        raise name_taken(name)
    if old is not None:
        _take_over(connection, old.id, made.kb_id)
        connection.execute(update(knowledge_bases).where(knowledge_bases.c.id == old.id).values(name=f"{HIDDEN}old-{old.id}"))
    manifest = connection.execute(select(knowledge_bases.c.manifest).where(knowledge_bases.c.id == made.kb_id)).scalar_one()
    shown = {**{key: value for key, value in manifest.items() if key != "import"}, "pack": made.checksum}
    connection.execute(update(knowledge_bases).where(knowledge_bases.c.id == made.kb_id).values(name=name, manifest=shown))
    if made.space is not None:
        reason = made.refusal
        values = {"status": "active", "activated_at": utc_now()}
        if reason is not None:
            values |= {"reason_code": reason.code, "reason_zh": reason.zh, "reason_en": reason.en}
        connection.execute(update(vector_spaces).where(vector_spaces.c.id == made.space.id).values(**values))
    return old.id if old is not None else None


def _take_over(connection: Connection, old_id: str, kb_id: str) -> None:
    """Who had rights in what is replaced has them in what replaces it, and its level falls no lower."""
    level = connection.execute(select(knowledge_bases.c.level).where(knowledge_bases.c.id == old_id)).scalar_one()
    lower = (knowledge_bases.c.id == kb_id) & (knowledge_bases.c.level < level)
    connection.execute(update(knowledge_bases).where(lower).values(level=level))
    connection.execute(update(kb_grants).where(kb_grants.c.kb_id == old_id).values(kb_id=kb_id))
    for key in connection.execute(select(api_keys.c.id, api_keys.c.knowledge_bases)).all():
        if old_id in key.knowledge_bases:
            values = {"knowledge_bases": [kb_id if one == old_id else one for one in key.knowledge_bases]}
            connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(values))
    access_changed(connection)


def name_taken(name: str) -> Conflict:
    """A knowledge base of this name is there."""
    return Conflict(
        "name_taken",
        zh=f"知识库名称“{name}”已被使用。请用 --name 另起名称，或用 --replace 取代现有的知识库。",
        en=f'The name "{name}" is taken. Give another with --name, or put it in the place of the one there with --replace.',
        param="name",
    )


def _verdict(space: Space, embedder: Embedder | None) -> tuple[str, BrainError | None]:
    """The name by which the embedder of these vectors is known here, and why they cannot be searched with the one that is here."""
    if embedder is None:
        return space.embedder, None
    try:
        profile = embedder.profile()
    except EngineUnavailable:  # asked again by the job that embeds what is missing, once the engine is there
        return space.embedder, None if embedder.name == space.embedder else wrong_embedder(space, embedder.name, space.width)
    error = mismatch(replace(space, embedder=embedder.name), embedder.name, profile)
    return (embedder.name, None) if error is None else (space.embedder, wrong_embedder(space, embedder.name, profile.width))


def _reset(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a knowledge base says of how it was made, without what belongs to an import."""
    return {key: value for key, value in manifest.items() if key not in ("import", "pack")}


def _require_room(folder: Path, size_bytes: int) -> None:
    """Rows, indexes and originals take some three times what the pack holds unpacked."""
    free, wanted = shutil.disk_usage(folder).free, 3 * size_bytes + _SPARE
    if free < wanted:
        raise Conflict(
            "not_enough_space",
            zh=f"导入约需 {wanted >> 20} MiB 磁盘空间，数据目录所在磁盘只剩 {free >> 20} MiB。请清理磁盘后重试。",
            en=f"The import needs some {wanted >> 20} MiB and the disk of the data folder has {free >> 20} MiB left. Free space, then try again.",
        )


def _elsewhere() -> Conflict:
    return Conflict(
        "import_running",
        zh="同一个知识包正由另一个进程导入。请等它完成后再查看。",
        en="The same pack is being imported by another process. Wait until that has ended.",
    )


def _batches(given: Iterable[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    """Some rows at a time, fewer where their texts are long."""
    batch: list[dict[str, Any]] = []
    chars = 0
    for row in given:
        batch.append(row)
        chars += sum(len(value) for value in row.values() if type(value) is str)
        if len(batch) == most or chars >= _BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch
