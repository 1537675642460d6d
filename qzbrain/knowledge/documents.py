"""Documents: take files and texts in, list, show, delete. An upload is acknowledged when its bytes and its rows are on the disk.

Which bytes are the same document is decided by identity: `ext:<external_id>` where one is given, else `sha:<SHA-256>`. Reading
them is the worker's part (`ingest`); names are shown, never used as paths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

from sqlalchemy import Connection, Row, insert, select, update

from qzbrain.auth.access import VISIBLE, Access, KbRef, unknown_knowledge_base
from qzbrain.domain import AddedDocument, Caller, Chunk, Document, DocumentStatus, EditCounts, Page
from qzbrain.errors import Conflict, InvalidRequest, NotFound, PayloadTooLarge, StorageBusy
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.knowledge.archives import is_archive
from qzbrain.knowledge.bases import lock_knowledge_base, page_size
from qzbrain.knowledge.bringing import Bringer
from qzbrain.knowledge.chunk_edits import shown_chunk
from qzbrain.knowledge.corpus import looks_like_corpus
from qzbrain.knowledge.edit_rows import edit_counts
from qzbrain.knowledge.levels import set_level
from qzbrain.knowledge.names import LONGEST_NAME, checked_text, display_name
from qzbrain.knowledge.records import STARTING_OVER, new_row
from qzbrain.knowledge.removal import forget_content, remove_documents, submit_purge
from qzbrain.knowledge.waiting import WaitingLine
from qzbrain.retrieval.shelves import FACTS
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.files import ByteSource, FileStore
from qzbrain.storage.tables import chunks, document_texts, documents, jobs, knowledge_bases, outbox, watched_files

_HEAD_BYTES = 1 << 16
_SHOWN = tuple(name for name in Document.__dataclass_fields__ if name in documents.c)
_listed = select(
    *(documents.c[name] for name in _SHOWN), documents.c.stored, documents.c.kind, documents.c.identity, knowledge_bases.c.name.label("knowledge_base")
).join(knowledge_bases, documents.c.kb_id == knowledge_bases.c.id)


@dataclass(frozen=True, slots=True)
class Kept:
    """One content that is on the disk, or whose text goes with its row. `corpus`, `archive`: it is taken apart by a job of that kind."""

    name: str
    sha256: str
    size_bytes: int
    title: str = ""
    external_id: str = ""
    text: str | None = None
    corpus: bool = False
    archive: bool = False

    @property
    def identity(self) -> str:
        return f"ext:{self.external_id}" if self.external_id else f"sha:{self.sha256}"


class Documents:
    """The documents of knowledge bases, as a caller may see and change them."""

    def __init__(self, database: Database, files: FileStore, access: Access, runner: LeaseRunner, settings: Settings) -> None:
        self._db, self._files, self._access, self._jobs, self._settings = database, files, access, runner, settings
        self._line = WaitingLine(database, settings)

    # -- taking in

    def add_file(self, caller: Caller, kb: str, name: str, stream: BinaryIO, *, level: int | None = None) -> AddedDocument:
        """Keep one file and have it read. Raises NotFound, PayloadTooLarge, StorageFull; see `add_files`."""
        return self.add_files(caller, kb, [(name, stream)], level=level)[0]

    def add_files(
        self, caller: Caller, kb: str, files: Iterable[tuple[str, BinaryIO]], *, level: int | Callable[[], int | None] | None = None, from_folder: bool = False
    ) -> list[AddedDocument]:
        """Keep files and have them read, in their order; all rows are made in one transaction, or none is.

        A corpus or an archive (see `corpus`, `archives`) gives an `AddedDocument` without id. `level`: see `Bringer`; one that is known only when the
        files have come is asked for then. `from_folder`: a watched folder brings them; what others bring stays when its file in a folder goes.
        Raises NotFound, PermissionRefused, PayloadTooLarge, StorageFull.
        """
        ref = self._writable(caller, kb)
        given: list[tuple[str, BinaryIO]] = []
        kept: list[Kept] = []
        for name, stream in files:  # one after the other: an upload's next file is found only when this one has been read
            kept.append(self.keep(name, stream))
            given.append((name, stream))
        bringer = Bringer.of(self._access, caller, ref.id, level() if callable(level) else level)
        while True:
            try:
                added = self.register(ref.id, kept, bringer, kb_name=ref.name)
                if not from_folder:
                    self._keep_without_folder([one.id for one in added if one.id and one.duplicate])
                return added
            except _Vanished as gone:
                name, stream = given[gone.position]
                if not stream.seekable():
                    raise StorageBusy from gone
                stream.seek(0)
                kept[gone.position] = self.keep(name, stream)

    def add_text(
        self, caller: Caller, kb: str, name: str, text: str, *, title: str = "", external_id: str | None = None, level: int | None = None
    ) -> AddedDocument:
        """Keep one text as it is given. The same `external_id` with another text replaces. `level`: see `Bringer`.

        Raises NotFound, InvalidRequest, PermissionRefused, PayloadTooLarge.
        """
        ref = self._writable(caller, kb)
        bringer = Bringer.of(self._access, caller, ref.id, level)
        if len(text) > self._settings.max_text_chars:
            raise PayloadTooLarge(
                zh=f"文本超过 {self._settings.max_text_chars} 个字符。请拆分，或调高 MAX_TEXT_CHARS。",
                en=f"The text is over {self._settings.max_text_chars} characters. Split it, or raise MAX_TEXT_CHARS.",
                param="text",
            )
        if not text.strip():
            raise InvalidRequest("empty", zh="text 没有内容。", en="text is empty.", param="text")
        if external_id is not None and not 1 <= len(external_id) <= LONGEST_NAME:
            raise InvalidRequest(zh="external_id 须为 1 至 255 个字符。", en="external_id is 1 to 255 characters.", param="external_id")
        data = checked_text(text, param="text", longest=len(text)).encode()
        one = Kept(
            name=display_name(name, default="untitled"),
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            title=checked_text(title, param="title", longest=LONGEST_NAME),
            external_id=checked_text(external_id or "", param="external_id", longest=LONGEST_NAME),
            text=text,
        )
        return self.register(ref.id, [one], bringer, kb_name=ref.name)[0]

    def keep(self, name: str, stream: ByteSource) -> Kept:
        """Store a file's bytes, and see what it is. Raises PayloadTooLarge, StorageFull."""
        noting = _Noting(stream)
        stored = self._files.put(noting, limit_bytes=self._settings.max_upload_mb << 20)
        corpus = looks_like_corpus(name, noting.head)
        archive = not corpus and is_archive(self._files.path(stored.sha256), name, noting.head)
        return Kept(display_name(name, default="unnamed"), stored.sha256, stored.size_bytes, corpus=corpus, archive=archive)

    def register(self, kb_id: str, kept: Sequence[Kept], bringer: Bringer, *, kb_name: str = "") -> list[AddedDocument]:
        """Rows and jobs for what is stored, in one transaction; who may do so was asked before. Raises NotFound when the knowledge base is gone."""
        with self._db.write(durable=True) as connection:
            if not lock_knowledge_base(connection, kb_id):
                raise unknown_knowledge_base(kb_name or kb_id)
            for position, one in enumerate(kept):
                if one.text is None and not self._files.path(one.sha256).exists():
                    raise _Vanished(position)
            return [(self._take_apart if x.corpus or x.archive else self._take)(connection, kb_id, x, bringer) for x in kept]

    # -- showing

    def documents(self, caller: Caller, kb: str, status: str | None = None, limit: int = 50, after: str | None = None) -> Page[Document]:
        """A knowledge base's documents, in the order of their making; `after` is the last id of the page before. Raises NotFound, InvalidRequest."""
        ref = self._access.resolve(caller, [kb])[0]
        query = _listed.where(documents.c.kb_id == ref.id, documents.c.kind == "file").order_by(documents.c.id).limit(page_size(limit) + 1)
        if (ceiling := self._access.ceiling(caller, ref.id)) is not None:
            query = query.where(documents.c.level <= ceiling)
        if status is not None:
            if status not in get_args(DocumentStatus):
                allowed = ", ".join(get_args(DocumentStatus))
                raise InvalidRequest(zh=f"status 只能是 {allowed} 之一。", en=f"status is one of {allowed}.", param="status")
            query = query.where(documents.c.status == status)
        if after is not None:
            query = query.where(documents.c.id > _printable(after))
        found = self._db.rows(query)
        edits = edit_counts(self._db, [row.id for row in found])
        rows = [_document(row, edits.get(row.id)) for row in found]
        more = len(rows) > limit
        return Page(tuple(self._line.documents(rows[:limit])), more, rows[limit - 1].id if more else None)

    def document(self, caller: Caller, document_id: str) -> Document:
        """One document. Raises NotFound (`document_not_found`)."""
        row = self._row(caller, document_id)
        return self._line.documents([_document(row, edit_counts(self._db, [row.id]).get(row.id))])[0]

    def content(self, caller: Caller, document_id: str) -> str:
        """The stored text. Raises NotFound; Conflict while there is none."""
        row = self._row(caller, document_id)
        found = self._db.rows(select(document_texts.c.text).where(document_texts.c.document_id == row.id))
        if not found:
            raise Conflict(
                "document_not_ready",
                zh=f"该文档还没有可显示的文本（状态：{row.status}）。",
                en=f"This document has no text yet (status: {row.status}).",
            )
        return str(found[0].text)

    def chunks(self, caller: Caller, document_id: str, limit: int = 50, after: str | None = None) -> Page[Chunk]:
        """A document's chunks in order; `after` is the last ordinal of the page before. Raises NotFound, InvalidRequest."""
        row = self._row(caller, document_id)
        query = select(chunks).where(chunks.c.document_id == row.id).order_by(chunks.c.ordinal).limit(page_size(limit) + 1)
        if after is not None:
            if not (after.isascii() and after.isdecimal() and len(after) < 10):
                raise InvalidRequest(zh="after 不是有效的游标。", en="after is no cursor of this list.", param="after")
            query = query.where(chunks.c.ordinal > int(after))
        rows = [shown_chunk(x) for x in self._db.rows(query)]
        more = len(rows) > limit
        return Page(tuple(rows[:limit]), more, str(rows[limit - 1].ordinal) if more else None)

    def file(self, caller: Caller, document_id: str) -> tuple[Path | bytes, str, str]:
        """The original: its path (or the bytes of a text given directly), the name to offer, the media type ('' = not known). Raises NotFound."""
        row = self._row(caller, document_id)
        if not row.stored:
            return self.content(caller, document_id).encode(), row.name, "text/plain; charset=utf-8"
        return self._files.path(row.sha256), row.name.rpartition("/")[2], row.mime_type  # of a member of an archive, without its folders

    # -- changing

    def change_level(self, caller: Caller, document_id: str, level: int) -> Document:
        """Give a document another level (place in LEVELS), at once for every reader. To lower one the knowledge base must be the caller's to manage.

        Raises NotFound, PermissionRefused, Conflict for what is no file.
        """
        row = self._row(caller, document_id)
        self._access.require(caller, "write" if level >= row.level else "manage", row.kb_id)
        self._access.require_level(caller, level)
        _require_file(row.kind)
        with self._db.write(durable=True) as connection:
            set_level(connection, self._jobs, [row.id], level)
        self._access.standings.forget()
        return self.document(caller, document_id)

    # -- forgetting

    def delete_document(self, caller: Caller, document_id: str) -> None:
        """Remove a document; searches no longer find it when this returns, its traces on the disk follow as a job. Raises NotFound."""
        row = self._row(caller, document_id)
        self._access.require(caller, "write", row.kb_id)
        _require_file(row.kind)
        with self._db.write(durable=True) as connection:
            remove_documents(connection, row.kb_id, [row.id])
            submit_purge(connection, self._jobs, row.kb_id)

    # -- how

    def _writable(self, caller: Caller, kb: str) -> KbRef:
        ref = self._access.resolve(caller, [kb])[0]
        self._access.require(caller, "write", ref.id)
        return ref

    def _row(self, caller: Caller, document_id: str) -> Row[Any]:
        whole = documents.c.kb_id.in_(select(knowledge_bases.c.id).where(VISIBLE))
        rows = self._db.rows(_listed.where(documents.c.id == _printable(document_id), whole))
        if not rows or not self._access.sees(caller, rows[0].kb_id, rows[0].level):
            raise NotFound("document_not_found", zh="没有这个文档，或已被删除。", en="There is no such document, or it was deleted.")
        return rows[0]

    def _keep_without_folder(self, document_ids: Sequence[str]) -> None:
        if document_ids:
            with self._db.write(durable=True) as connection:
                connection.execute(update(watched_files).where(watched_files.c.document_id.in_(document_ids)).values(owned=0))

    def _take(self, connection: Connection, kb_id: str, one: Kept, bringer: Bringer) -> AddedDocument:
        there, identity = bringer.there(connection, kb_id, one.identity)
        level = bringer.level if there is None else bringer.raised(there.level)
        if there is not None and level > there.level:
            set_level(connection, self._jobs, [there.id], level)
        if there is None:
            document_id = self._insert(connection, kb_id, identity, one, level)
        elif there.sha256 == one.sha256 and there.status != "failed":
            return AddedDocument(there.id, one.name, there.status, one.sha256, one.size_bytes, True, open_job(connection, there.id), level)
        else:
            document_id = there.id
            self._replace(connection, kb_id, document_id, one)
        job_id = self._jobs.submit(connection, "ingest", subject=document_id, kb_id=kb_id)
        duplicate = there is not None and there.sha256 == one.sha256
        return AddedDocument(document_id, one.name, "pending", one.sha256, one.size_bytes, duplicate, job_id, level)

    def _take_apart(self, connection: Connection, kb_id: str, one: Kept, bringer: Bringer) -> AddedDocument:
        """The same corpus or archive again while it is being read is the same job; later it is read again, and what has not changed is skipped."""
        wanted = {"name": one.name, **bringer.payload()}
        job_id = open_job(connection, one.sha256, kb_id=kb_id, like=wanted)
        duplicate = job_id is not None
        if job_id is None:
            job_id = self._jobs.submit(connection, "archive" if one.archive else "corpus", subject=one.sha256, kb_id=kb_id, payload=wanted)
        return AddedDocument(None, one.name, "pending", one.sha256, one.size_bytes, duplicate, job_id, bringer.level)

    def _insert(self, connection: Connection, kb_id: str, identity: str, one: Kept, level: int) -> str:
        row = new_row(kb_id, identity, one.name, one.sha256, one.size_bytes, level)
        row |= {"title": one.title, "external_id": one.external_id, "stored": int(one.text is None)}
        connection.execute(insert(documents).values(row))
        if one.text is not None:
            connection.execute(insert(document_texts).values(document_id=row["id"], text=one.text))
        return str(row["id"])

    def _replace(self, connection: Connection, kb_id: str, document_id: str, one: Kept) -> None:
        """Start over with other content (or the same, after a failure): what was found of it is found no more."""
        forget_content(connection, [document_id])
        connection.execute(insert(outbox).values(kb_id=kb_id, op="delete", document_id=document_id))
        values = {**STARTING_OVER, "name": one.name, "title": one.title, "sha256": one.sha256, "size_bytes": one.size_bytes, "stored": int(one.text is None)}
        connection.execute(update(documents).where(documents.c.id == document_id).values(values))
        if one.text is not None:
            connection.execute(insert(document_texts).values(document_id=document_id, text=one.text))


class _Noting:
    """A stream that remembers how it began."""

    def __init__(self, stream: ByteSource) -> None:
        self._stream = stream
        self.head = b""

    def read(self, size: int = -1, /) -> bytes:
        piece = self._stream.read(size)
        self.head += piece[: max(0, _HEAD_BYTES - len(self.head))]
        return piece


class _Vanished(Exception):
    """A file was purged between its writing and its row: the last document with these bytes was deleted just then."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


def open_job(connection: Connection, subject: str, *, kb_id: str = "", like: Mapping[str, Any] | None = None) -> str | None:
    """The id of a job on this subject that waits or runs. `like`: only one that treats what it finds likewise."""
    query = select(jobs.c.id, jobs.c.payload).where(jobs.c.subject == subject, jobs.c.status.in_(("pending", "running")))
    for row in connection.execute(query.where(jobs.c.kb_id == kb_id) if kb_id else query):
        if like is None or all(row.payload.get(name, like[name]) == like[name] for name in ("level", "clearance", "stated")):
            return str(row.id)
    return None


def _require_file(kind: str) -> None:
    """Raises Conflict for a document that stands for something else."""
    if kind == FACTS:
        raise Conflict(
            "document_is_facts",
            zh="这是由知识图谱生成的文本，不能作为文档删除或修改；图谱改变后会自动更新。",
            en="This text is made from the knowledge graph; it cannot be deleted or changed as a document. It follows the graph when that changes.",
        )
    if kind == "entry":
        raise Conflict(
            "document_is_entry",
            zh="这是知识条目的内容，不能作为文档删除或修改。请删除或修改该知识条目。",
            en="This is what a curated entry says; it cannot be deleted or changed as a document. Delete or change the entry instead.",
        )


def _printable(key: str) -> str:
    return key if key.isprintable() else ""  # the driver takes no lone surrogates, and no id has one


def _document(row: Row[Any], edits: EditCounts | None) -> Document:
    values = {name: getattr(row, name) for name in (*_SHOWN, "knowledge_base")}
    entry_id = row.identity.removeprefix("entry:") if row.kind == "entry" else None
    return Document(**{**values, "external_id": row.external_id or None, "entry_id": entry_id, "edits": edits or EditCounts()})
