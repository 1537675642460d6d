"""Chunks edited by people: a text corrected at its place in the document, a chunk switched off or on, each undone again.

A chunk whose text becomes another gets a new id (the indexes never see an id twice); those after it only move. All of an edit is one
transaction; the search index and the vectors follow as jobs, and until then what an edit took out of use is already found no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from qzbrain.auth.access import Access
from qzbrain.domain import Caller, Chunk, ChunkEdit
from qzbrain.errors import Conflict, InvalidRequest, NotFound
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.extraction_jobs import submit_automatic
from qzbrain.graph.forgetting import forget_chunks
from qzbrain.graph.links import forget_chunk_links
from qzbrain.graph.stated import state
from qzbrain.graph.upkeep import submit_where_graph
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.knowledge.edit_rows import edit_of, note_edit
from qzbrain.knowledge.edits import Edit, Kind, Piece, replaced
from qzbrain.knowledge.names import checked_text
from qzbrain.knowledge.removal import submit_index_changes
from qzbrain.knowledge.semantics import Semantics
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, document_edits, document_texts, documents, outbox, vectors

LONGEST_CHUNK = 20_000
_LONGEST_NOTE = 2000
_chunks = select(chunks)


class ChunkEdits:
    """Edits, their history, and undoing them, as a caller may."""

    def __init__(self, database: Database, access: Access, runner: LeaseRunner, semantics: Semantics, settings: Settings) -> None:
        self._db, self._access, self._jobs, self._semantics, self._settings = database, access, runner, semantics, settings

    def edit_chunk(
        self,
        caller: Caller,
        document_id: str,
        chunk_id: int,
        *,
        text: str | None = None,
        enabled: bool | None = None,
        note: str = "",
        if_text: str | None = None,
    ) -> Chunk:
        """The chunk as it is then. `if_text`: what the caller saw; Conflict (`chunk_changed`) when the chunk is another by now.

        Raises NotFound, InvalidRequest, Conflict (`document_not_ready`).
        """
        after = None if text is None else _checked_text(text)
        note = checked_text(note, param="note", longest=_LONGEST_NOTE).strip()
        with self._db.write(durable=True) as connection:
            document = self._editable(connection, caller, document_id)
            row = connection.execute(_chunks.where(chunks.c.document_id == document_id, chunks.c.id == chunk_id)).first()
            if if_text is not None and (row is None or row.text != if_text):
                raise _changed_meanwhile()
            if row is None:
                raise _no_chunk()
            same = _chunks.where(chunks.c.document_id == document_id, chunks.c.ordinal == row.ordinal)
            if after is not None and after != row.text:
                self._correct(connection, document, (row.start, row.end), after, ordinal=row.ordinal, author=caller.name, note=note)
                row = connection.execute(same).one()
            if enabled is not None and enabled == bool(row.disabled):
                self._switch(connection, document, [row], enabled=enabled, author=caller.name, note=note)
                row = connection.execute(same).one()
        return shown_chunk(row)

    def document_edits(self, caller: Caller, document_id: str) -> list[ChunkEdit]:
        """All edits of a document, the newest first. Raises NotFound."""
        self._readable(caller, document_id)
        query = select(document_edits).where(document_edits.c.document_id == document_id).order_by(document_edits.c.number.desc())
        return [_shown(row) for row in self._db.rows(query)]

    def chunk_history(self, caller: Caller, document_id: str, chunk_id: int) -> list[ChunkEdit]:
        """The edits that made what stands in a chunk now, the newest first. Raises NotFound."""
        self._readable(caller, document_id)
        rows = self._db.rows(select(chunks).where(chunks.c.document_id == document_id, chunks.c.id == chunk_id))
        if not rows:
            raise _no_chunk()
        found = list(reversed(self.document_edits(caller, document_id)))
        places = traced([Edit(x.number, x.kind, x.start, x.end, x.before, x.after, x.applies) for x in found])
        inside = [x for x in found if x.number in places and places[x.number][0] < rows[0].end and places[x.number][1] > rows[0].start]
        return inside[::-1]

    def undo_edit(self, caller: Caller, document_id: str, number: int) -> ChunkEdit:
        """Take one edit back, as an edit of its own, which is returned. Raises NotFound, Conflict (`edit_not_undoable`) where what it made no longer stands."""
        with self._db.write(durable=True) as connection:
            document = self._editable(connection, caller, document_id)
            query = select(document_edits).where(document_edits.c.document_id == document_id).order_by(document_edits.c.number)
            made = {row.number: edit_of(row) for row in connection.execute(query)}
            if number not in made:
                raise NotFound("edit_not_found", zh="没有这次修改。", en="There is no such edit.")
            edit, place = made[number], traced(list(made.values()), whole=True).get(number)
            if place is None:
                raise _not_undoable(edit)
            note = f"undo {number}"
            rows = connection.execute(_overlapping(document_id, place)).all()
            if edit.kind == "text":
                if not rows or _text(connection, document_id)[slice(*place)] != edit.after:
                    raise _not_undoable(edit)
                self._correct(connection, document, place, edit.before, ordinal=rows[0].ordinal, author=caller.name, note=note)
            else:
                disabled = edit.kind == "disable"
                inside = [row for row in rows if place[0] <= row.start and row.end <= place[1] and bool(row.disabled) == disabled]
                if not inside:
                    raise _not_undoable(edit)
                self._switch(connection, document, inside, enabled=disabled, author=caller.name, note=note)
            last = connection.execute(query.with_only_columns(func.max(document_edits.c.number)).order_by(None)).scalar()
            row = connection.execute(select(document_edits).where(document_edits.c.document_id == document_id, document_edits.c.number == last)).one()
        return _shown(row)

    # -- how

    def _readable(self, caller: Caller, document_id: str) -> Row[Any]:
        rows = self._db.rows(select(documents).where(documents.c.id == (document_id if document_id.isprintable() else "")))
        if not rows or not self._access.sees(caller, rows[0].kb_id, rows[0].level):
            raise _no_document()
        return rows[0]

    def _editable(self, connection: Connection, caller: Caller, document_id: str) -> Row[Any]:
        row = connection.execute(select(documents).where(documents.c.id == (document_id if document_id.isprintable() else ""))).first()
        if row is None or not self._access.sees(caller, row.kb_id, row.level):
            raise _no_document()
        self._access.require(caller, "write", row.kb_id)
        if row.status != "ready":
            raise Conflict(
                "document_not_ready",
                zh=f"该文档还没有处理完（状态：{row.status}），暂不能修改。请在处理完成后再试。",
                en=f"This document is not ready (status: {row.status}), so it cannot be edited yet. Try again when it is.",
            )
        if row.kind != "file":
            raise Conflict(
                "not_editable", zh="这是知识条目的内容，请修改条目本身。", en="This is what a curated entry looks like to a search. Edit the entry itself."
            )
        return row

    def _correct(self, connection: Connection, document: Row[Any], span: tuple[int, int], after: str, *, ordinal: int, author: str, note: str) -> None:
        """Only the chunks that overlap the place are looked at; those behind it are moved by one statement."""
        start, end = span
        old = _text(connection, document.id)
        before, grown = old[start:end], len(after) - (end - start)
        rows = connection.execute(_overlapping(document.id, span)).all()
        pieces = [Piece(row.start, row.end) for row in rows]
        text = replaced(old, pieces, start, end, after)
        connection.execute(update(document_texts).where(document_texts.c.document_id == document.id).values(text=text))
        touched = [(row, piece) for row, piece in zip(rows, pieces, strict=True) if piece.touched]
        _drop(connection, document.id, [row.id for row, _ in touched])
        if grown:
            behind = (chunks.c.document_id == document.id) & (chunks.c.start >= end)
            connection.execute(update(chunks).where(behind).values(end=chunks.c.end + grown, start=chunks.c.start + grown))
        for row, piece in zip(rows, pieces, strict=True):
            if not piece.touched and (piece.start, piece.end) != (row.start, row.end):
                connection.execute(update(chunks).where(chunks.c.id == row.id).values(start=piece.start, end=piece.end))
        _put_back(connection, [_row(row, piece, text, row.disabled) for row, piece in touched if piece.end > piece.start])
        note_edit(connection, document.id, kind="text", ordinal=ordinal, span=span, before=before, after=after, author=author, note=note)
        gone = sum(piece.end == piece.start for _, piece in touched)
        connection.execute(update(documents).where(documents.c.id == document.id).values(chars=len(text), chunks=documents.c.chunks - gone))
        self._tell(connection, document)

    def _switch(self, connection: Connection, document: Row[Any], rows: Sequence[Row[Any]], *, enabled: bool, author: str, note: str) -> None:
        """Switched on, a chunk gets a new id: the vectors are counted by ids, and it has none any more."""
        ids = [row.id for row in rows]
        if enabled:
            _drop(connection, document.id, ids)
            _put_back(connection, [{**_kept(row), "text": row.text, "start": row.start, "end": row.end, "disabled": 0} for row in rows])
        else:
            _drop_derived(connection, document.id, ids)
            connection.execute(update(chunks).where(chunks.c.id.in_(ids)).values(disabled=1))
        kind: Kind = "enable" if enabled else "disable"
        for row in rows:
            span = row.start, row.end
            note_edit(connection, document.id, kind=kind, ordinal=row.ordinal, span=span, before=row.text, after=row.text, author=author, note=note)
        self._tell(connection, document)

    def _tell(self, connection: Connection, document: Row[Any]) -> None:
        """The index and the vectors are brought up to date in the background."""
        connection.execute(insert(outbox).values(kb_id=document.kb_id, op="put", document_id=document.id))
        submit_index_changes(connection, self._jobs, document.kb_id)
        self._semantics.embed_later(connection, document.kb_id)
        submit_automatic(connection, self._jobs, self._settings, document.kb_id)
        self._state(connection, document)

    def _state(self, connection: Connection, document: Row[Any]) -> None:
        """What the document says about itself may be another thing now; its new chunks are looked through for known names in the background."""
        if document.graph_rules:
            state(connection, SqlGraph(self._db), document.kb_id, [document.id])
        submit_where_graph(connection, self._jobs, document.kb_id)


def traced(edits: Sequence[Edit], *, whole: bool = False) -> dict[int, tuple[int, int]]:
    """Where in the text as it is now stands what each edit made, by the edit's number. `whole`: only of those that no later edit has changed."""
    places: dict[int, tuple[int, int]] = {}
    for edit in edits:
        if not edit.applies:
            continue
        start, end, grown = edit.start, edit.start + len(edit.before), len(edit.after) - len(edit.before)
        for number, (first, last) in list(places.items()) if edit.kind == "text" else ():
            if first >= end:
                places[number] = first + grown, last + grown
            elif last > start:
                places[number] = min(first, start), max(last, end) + grown
                if whole:
                    del places[number]
        places[edit.number] = start, start + len(edit.after)
    return places


def shown_chunk(row: Row[Any]) -> Chunk:
    """A chunk's row as it is shown."""
    values = {name: getattr(row, name) for name in Chunk.__dataclass_fields__ if name != "enabled"}
    return Chunk(**{**values, "heading_path": tuple(orjson.loads(row.heading_path)), "enabled": not row.disabled})


def _shown(row: Row[Any]) -> ChunkEdit:
    fields = {name: getattr(row, name) for name in ChunkEdit.__dataclass_fields__}
    return ChunkEdit(**{**fields, "applies": bool(row.applies)})


def _overlapping(document_id: str, span: tuple[int, int]) -> Select[Any]:
    """The chunks that have a part of `span`, in order."""
    return _chunks.where(chunks.c.document_id == document_id, chunks.c.start < span[1], chunks.c.end > span[0]).order_by(chunks.c.ordinal)


def _text(connection: Connection, document_id: str) -> str:
    return str(connection.execute(select(document_texts.c.text).where(document_texts.c.document_id == document_id)).scalar() or "")


def _kept(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("document_id", "kb_id", "ordinal", "page", "heading_path", "reference")}


def _row(row: Row[Any], piece: Piece, text: str, disabled: int) -> dict[str, Any]:
    return {**_kept(row), "text": text[piece.start:piece.end], "start": piece.start, "end": piece.end, "disabled": disabled}


def _drop_derived(connection: Connection, document_id: str, chunk_ids: Sequence[int]) -> None:
    connection.execute(delete(vectors).where(vectors.c.document_id == document_id, vectors.c.chunk_id.in_(chunk_ids)))
    forget_chunk_links(connection, chunk_ids)
    forget_chunks(connection, document_id, chunk_ids)


def _drop(connection: Connection, document_id: str, chunk_ids: Sequence[int]) -> None:
    _drop_derived(connection, document_id, chunk_ids)
    connection.execute(delete(chunks).where(chunks.c.id.in_(chunk_ids)))


def _put_back(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(chunks), rows)


def _checked_text(text: str) -> str:
    """An edit's text as it is stored: newlines as in every stored text, no blanks at its ends. Raises InvalidRequest."""
    kept = checked_text(text, param="text", longest=LONGEST_CHUNK).replace("\r\n", "\n").replace("\r", "\n").strip()
    if not kept:
        raise InvalidRequest(
            "empty",
            zh="text 没有内容。要让该段不再被检索到，请停用它（enabled=false）。",
            en="text is empty. To have this chunk found no more, switch it off (enabled=false).",
            param="text",
        )
    return kept


def _no_document() -> NotFound:
    return NotFound("document_not_found", zh="没有这个文档，或已被删除。", en="There is no such document, or it was deleted.")


def _no_chunk() -> NotFound:
    return NotFound(
        "chunk_not_found",
        zh="该文档没有这个段落；修改过的段落会得到新的编号。请重新读取段落列表。",
        en="This document has no such chunk; an edited one gets a new id. Read the list of chunks again.",
    )


def _changed_meanwhile() -> Conflict:
    return Conflict(
        "chunk_changed",
        zh="该段落在你修改期间已被他人改动，没有保存。请查看最新内容后再改。",
        en="Somebody changed this chunk meanwhile, so nothing was saved. Look at it as it is now, then edit again.",
        param="if_text",
    )


def _not_undoable(edit: Edit) -> Conflict:
    if not edit.applies:
        return Conflict(
            "edit_not_undoable",
            zh="文档重新解析后这次修改已不适用，无需撤销。",
            en="The document was read anew and no longer holds this edit, so there is nothing to undo.",
        )
    return Conflict(
        "edit_not_undoable",
        zh="这里之后又被改动过，不能直接撤销这次修改。请先撤销之后的修改，或直接编辑该段。",
        en="What this edit made was changed again later. Undo the later edits first, or edit the chunk.",
    )
