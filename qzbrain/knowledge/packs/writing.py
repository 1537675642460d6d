"""Writes a pack from one moment of the database. Pages of rows go straight into the file: memory stays at a page, and the ids of a graph."""

from __future__ import annotations

import errno
import hashlib
import zipfile
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson
from sqlalchemy import Column, Connection, Row, Select, and_, func, select

from qzbrain import __version__
from qzbrain.domain import utc_now
from qzbrain.errors import Conflict, NotFound, StorageFull
from qzbrain.knowledge.packs.format import CHECKSUMS, FILES, MAJOR, MANIFEST, MINOR, ROWS, SECTIONS, VECTOR_ROWS, VECTORS, PackManifest, VectorsPart
from qzbrain.knowledge.packs.graph_format import GRAPH_SECTIONS
from qzbrain.knowledge.packs.graph_writing import GraphRows
from qzbrain.knowledge.packs.levels import highest_level
from qzbrain.knowledge.packs.paging import PAGE, paged
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
    knowledge_bases,
    regression_questions,
    vector_spaces,
    vectors,
)
from qzbrain.text.tokenize import TOKENIZER_VERSION

Progress = Callable[[str, int, int, str], None]
"""stage, done, total, unit"""
_PIECE = 1 << 20
_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """What goes into a pack."""

    originals: bool = True
    vectors: bool = True


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written. `left_out`: documents that were not read to their end at that moment; `level`: the highest of what is in it."""

    path: Path
    checksum: str
    size_bytes: int
    counts: dict[str, int]
    left_out: int
    level: int = 0


@dataclass(slots=True)
class _Out:
    """The file that grows, with the checksums of its members."""

    file: zipfile.ZipFile
    lines: list[str] = field(default_factory=list)

    @contextmanager
    def member(self, name: str, *, packed: bool) -> Iterator[Callable[[bytes], None]]:
        """A member; what it is given is counted into its checksum."""
        self.file.compression = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        digest = hashlib.sha256()
        with self.file.open(name, "w", force_zip64=True) as out:

            def write(data: bytes) -> None:
                digest.update(data)
                out.write(data)

            yield write
        self.lines.append(f"{digest.hexdigest()}  {name}\n")

    def finish(self) -> str:
        """Write the checksums; returns that of the pack."""
        listed = "".join(self.lines).encode()
        checksum = hashlib.sha256(listed).hexdigest()
        self.file.writestr(zipfile.ZipInfo(CHECKSUMS), listed + checksum.encode() + b"\n")
        return checksum


def write_pack(database: Database, files: FileStore, kb_id: str, target: Path | Callable[[str], Path], choice: Choice, progress: Progress) -> Exported:
    """Write a knowledge base's pack; it appears under its name when it is whole. `target`: where, or where for a default file name.

    Raises NotFound, StorageFull, Conflict (`cannot_write`).
    """
    with database.snapshot() as connection:
        graph = GraphRows(
            connection, kb_id, _finished(kb_id), lambda: _chunk_ids(connection, kb_id), lambda done, total: progress("graph", done, total, "triples")
        )
        manifest, space_id, left_out = _manifest(connection, kb_id, choice, graph.counts)
        path = target(manifest.file_name) if callable(target) else target
        part = path.with_name(path.name + ".part")
        try:
            with part.open("w+b") as raw:
                checksum = _write(connection, files, kb_id, raw, manifest, space_id, graph, progress)
            part.replace(path)
        except OSError as exc:
            part.unlink(missing_ok=True)
            raise _translated(exc, path) from exc
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    return Exported(path, checksum, path.stat().st_size, manifest.counts, left_out, manifest.knowledge_base["highest"])


def _write(
    connection: Connection, files: FileStore, kb_id: str, raw: IO[bytes], manifest: PackManifest, space_id: str, graph: GraphRows, progress: Progress
) -> str:
    with zipfile.ZipFile(raw, "w", allowZip64=True, compresslevel=_LEVEL) as archive:
        out = _Out(archive)
        with out.member(MANIFEST, packed=True) as write:
            write(orjson.dumps(manifest.column(), option=orjson.OPT_INDENT_2))
        done, total = 0, sum(manifest.counts.values())
        for name in SECTIONS:
            with out.member(f"{name}.jsonl", packed=True) as write:
                for page in graph.pages(name) if name in GRAPH_SECTIONS else _pages(connection, kb_id, name):
                    write(b"".join(orjson.dumps(one) + b"\n" for one in page))
                    done += len(page)
                    progress("rows", done, total, "rows")
        if manifest.vectors is not None:
            _write_vectors(connection, kb_id, space_id, manifest.vectors, out)
        if manifest.originals:
            _write_files(connection, files, kb_id, out, progress)
        return out.finish()


def _finished(kb_id: str) -> Any:
    """Facts are left out: they are made from the graph."""
    return (documents.c.kb_id == kb_id) & documents.c.status.in_(("ready", "failed")) & (documents.c.kind != FACTS)


def _chunk_ids(connection: Connection, kb_id: str) -> Any:
    """The ids of the chunks that go into the pack, in order."""
    import numpy as np

    found = array("q")
    for page in paged(connection, _query(kb_id, "chunks").with_only_columns(chunks.c.id), (chunks.c.id,), size=20 * PAGE):
        found.extend(row.id for row in page)
    return np.array(found, np.int64)


def _manifest(connection: Connection, kb_id: str, choice: Choice, of_graph: dict[str, int]) -> tuple[PackManifest, str, int]:
    """The manifest, the id of the vector space that it speaks of, and how many documents are left out."""
    row = connection.execute(select(knowledge_bases).where(knowledge_bases.c.id == kb_id)).first()
    if row is None:
        raise NotFound("knowledge_base_not_found", zh="该知识库已被删除。", en="The knowledge base is gone.")
    counts = {name: of_graph[name] if name in of_graph else int(connection.execute(_counting(kb_id, name)).scalar_one()) for name in SECTIONS}
    every = connection.execute(select(func.count()).select_from(documents).where(documents.c.kb_id == kb_id, documents.c.kind != FACTS)).scalar_one()
    space, part = None, None
    if choice.vectors:
        query = select(vector_spaces).where(vector_spaces.c.kb_id == kb_id, vector_spaces.c.status == "active", vector_spaces.c.reason_code.is_(None))
        space = connection.execute(query).first()
    if space is not None:
        mine = _query(kb_id, "chunks").with_only_columns(func.count()).order_by(None)
        upto = connection.execute(mine.where(chunks.c.id <= space.embedded_upto)).scalar_one()
        there = mine.join(vectors, and_(vectors.c.chunk_id == chunks.c.id, vectors.c.space_id == space.id))
        rows = connection.execute(there.where(chunks.c.id <= space.embedded_upto)).scalar_one()
        part = VectorsPart(space.embedder, space.width, int(rows), int(upto), dict(space.manifest))
    kb = {name: getattr(row, name) for name in ("name", "title", "description", "chunk_chars", "overlap_chars", "without_evidence", "created_at")}
    kb |= {"level": row.level, "highest": highest_level(connection, kb_id)}
    kb["manifest"] = {key: value for key, value in row.manifest.items() if key != "pack"}
    manifest = PackManifest((MAJOR, MINOR), __version__, utc_now(), TOKENIZER_VERSION, kb, counts, part, choice.originals)
    return manifest, space.id if space is not None else "", int(every) - counts["documents"]


def _query(kb_id: str, name: str) -> Select[Any]:
    """Rows of a section, unpaged. Those of documents that are not read to their end are left out."""
    of_documents = select(documents.c.id).where(_finished(kb_id))
    match name:
        case "documents":
            return select(documents).where(_finished(kb_id))
        case "texts":
            return select(document_texts).join(documents, documents.c.id == document_texts.c.document_id).where(_finished(kb_id))
        case "chunks":
            return select(chunks).join(documents, documents.c.id == chunks.c.document_id).where(chunks.c.kb_id == kb_id, _finished(kb_id))
        case "edits":
            return select(document_edits).where(document_edits.c.document_id.in_(of_documents))
        case "entries":
            return select(entries).where(entries.c.kb_id == kb_id)
        case "entry_versions":
            return select(entry_versions).join(entries, entries.c.id == entry_versions.c.entry_id).where(entries.c.kb_id == kb_id)
        case _:
            return select(regression_questions).where(regression_questions.c.kb_id == kb_id)


_KEYS: dict[str, tuple[Column[Any], ...]] = {
    "documents": (documents.c.id,),
    "texts": (document_texts.c.document_id,),
    "chunks": (chunks.c.id,),
    "edits": (document_edits.c.document_id, document_edits.c.number),
    "entries": (entries.c.id,),
    "entry_versions": (entry_versions.c.entry_id, entry_versions.c.version),
    "regression_questions": (regression_questions.c.id,),
}


def _counting(kb_id: str, name: str) -> Select[Any]:
    return _query(kb_id, name).with_only_columns(func.count())


def _pages(connection: Connection, kb_id: str, name: str) -> Iterator[list[dict[str, Any]]]:
    for rows in paged(connection, _query(kb_id, name), _KEYS[name]):
        yield [_plain(row, name) for row in rows]


def _plain(row: Row[Any], name: str) -> dict[str, Any]:
    plain = {key: getattr(row, key) for key in ROWS[name]}
    if name == "chunks":
        plain["heading_path"] = orjson.loads(plain["heading_path"])
    return plain


def _write_vectors(connection: Connection, kb_id: str, space_id: str, part: VectorsPart, out: _Out) -> None:
    """The vectors in the order of their chunks, then the row of each one's chunk, as little-endian 32-bit numbers."""
    rows = bytearray()
    at = 0
    with out.member(VECTORS, packed=False) as write:
        query = _query(kb_id, "chunks").with_only_columns(chunks.c.id, vectors.c.vector)
        query = query.outerjoin(vectors, and_(vectors.c.chunk_id == chunks.c.id, vectors.c.space_id == space_id))
        for page in paged(connection, query, _KEYS["chunks"]):
            for row in page:
                if row.vector is not None and at < part.upto:
                    write(row.vector)
                    rows += at.to_bytes(4, "little")
                at += 1
    with out.member(VECTOR_ROWS, packed=True) as write:
        write(bytes(rows))


def _write_files(connection: Connection, files: FileStore, kb_id: str, out: _Out, progress: Progress) -> None:
    """The originals, each once. One that is gone meanwhile is left out: an import keeps that document's text alone."""
    query = select(documents.c.sha256).where(_finished(kb_id), documents.c.stored == 1).distinct().order_by(documents.c.sha256)
    addresses = [row.sha256 for row in connection.execute(query)]
    for done, sha256 in enumerate(addresses, 1):
        try:
            stream = files.open(sha256)
        except FileNotFoundError:
            continue
        with stream, out.member(FILES + sha256, packed=False) as write:
            while piece := stream.read(_PIECE):
                write(piece)
        progress("files", done, len(addresses), "files")


def _translated(exc: OSError, path: Path) -> Exception:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull()
    return Conflict(
        "cannot_write",
        zh=f"无法写入 {path}：{exc.strerror}。请检查目录是否存在且可写，或换一个位置（-o）。",
        en=f"{path} cannot be written: {exc.strerror}. See that its folder is there and may be written, or choose another place (-o).",
        param="output",
    )
