"""How a document would be cut with other chunk sizes, beside how it is cut now. Nothing is stored.

The document is read again in a child process of its own, as at an upload: a hostile file comes no nearer to this process than then.
"""

from __future__ import annotations

import struct
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, func, select

from qzbrain.auth.access import Access
from qzbrain.domain import Caller, ChunkDraft, ChunkPreview, CutPreview
from qzbrain.errors import Conflict, NotFound, ParseFailed, Unavailable
from qzbrain.knowledge import frames
from qzbrain.knowledge.answers import ReadDocument, checked_answer
from qzbrain.knowledge.bases import check_sizes
from qzbrain.knowledge.edit_rows import edits_of
from qzbrain.knowledge.edits import Piece, drafts, original, reapplied
from qzbrain.knowledge.ingest import TO_READ, request_of
from qzbrain.knowledge.reader import ReadRequest, child_command
from qzbrain.settings import ROOT, Settings
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import chunks, document_texts, documents

_LONGEST_S = 20
_LONGEST_CHARS = 5_000_000
_SHOWN = 50


class Previews:
    """Cuts documents on trial; one at a time in a process, for each takes the memory of a reading child."""

    def __init__(self, database: Database, files: FileStore, access: Access, settings: Settings) -> None:
        self._db, self._files, self._access, self._settings = database, files, access, settings
        self._one = threading.Semaphore(1)

    def preview(self, caller: Caller, document_id: str, *, chunk_chars: int, overlap_chars: int) -> ChunkPreview:
        """Counts, mean lengths and the first chunks, now and then. Raises NotFound, InvalidRequest, Conflict, Unavailable, ParseFailed."""
        with self._db.read() as connection:
            row = self._readable(connection, caller, document_id)
            check_sizes(chunk_chars, overlap_chars)
            edits = edits_of(connection, [document_id]).get(document_id, [])
            text = None
            if not row.stored:
                found = connection.execute(select(document_texts.c.text).where(document_texts.c.document_id == document_id)).scalar()
                text = original(found or "", edits)
            now = _stored(connection, document_id)
        request = request_of(row, self._files, text)
        read = self._read(replace(request, chunk_chars=chunk_chars, overlap_chars=overlap_chars, tokens=False))
        pieces = [Piece(x.start, x.end) for x in read.chunks]
        edited, _ = reapplied(read.text, pieces, edits)
        return ChunkPreview(now, _shown(drafts(edited, read.chunks, pieces)))

    def _readable(self, connection: Connection, caller: Caller, document_id: str) -> Row[*tuple[Any, ...]]:
        known = TO_READ.add_columns(documents.c.status, documents.c.level).where(documents.c.id == (document_id if document_id.isprintable() else ""))
        row = connection.execute(known).first()
        if row is None or not self._access.sees(caller, row.kb_id, row.level):
            raise NotFound("document_not_found", zh="没有这个文档，或已被删除。", en="There is no such document, or it was deleted.")
        if row.status != "ready":
            raise Conflict(
                "document_not_ready",
                zh=f"该文档还没有处理完（状态：{row.status}），暂不能预览。请在处理完成后再试。",
                en=f"This document is not ready (status: {row.status}), so there is nothing to compare with yet. Try again when it is.",
            )
        return row

    def _read(self, request: ReadRequest) -> ReadDocument:
        if not self._one.acquire(blocking=False):
            raise Unavailable("busy", zh="正在为另一个文档生成预览，请稍后再试。", en="Another document is being previewed; try again in a moment.")
        try:
            return _read_in_child(self._settings, request)
        finally:
            self._one.release()


def _read_in_child(settings: Settings, request: ReadRequest) -> ReadDocument:
    """What a reading child of its own says. In a process of greenlets the others go on meanwhile. Raises ParseFailed."""
    longest = min(settings.max_text_chars, _LONGEST_CHARS)
    command = child_command(settings, max_text_chars=longest)
    try:
        done = subprocess.run(command, input=request.frame(), capture_output=True, cwd=ROOT, timeout=min(_LONGEST_S, settings.parse_timeout_s), check=False)
    except subprocess.TimeoutExpired as exc:
        raise ParseFailed(
            "timeout",
            zh=f"{_LONGEST_S} 秒内没有读完该文档，无法预览；修改知识库的分段大小仍会生效。",
            en=f"This document is not read within {_LONGEST_S} seconds, so it cannot be previewed; changing the knowledge base's sizes works all the same.",
        ) from exc
    try:
        said = frames.unpack_all(done.stdout)
    except (ValueError, struct.error):
        said = []
    outcome = checked_answer(said[-1], request.document_id, request.text, max_text_chars=longest) if len(said) > 1 else None
    if outcome is None:
        raise ParseFailed(zh="读取该文档时程序异常终止，无法预览。", en="The program that reads this document died on it, so it cannot be previewed.")
    if isinstance(outcome, ParseFailed):
        raise outcome
    return outcome


def _stored(connection: Connection, document_id: str) -> CutPreview:
    mine = chunks.c.document_id == document_id
    total, chars = connection.execute(select(func.count(), func.sum(chunks.c.end - chunks.c.start)).where(mine)).one()
    first = connection.execute(select(chunks).where(mine).order_by(chunks.c.ordinal).limit(_SHOWN)).all()
    return CutPreview(total, round(int(chars or 0) / max(total, 1), 1), tuple((x.start, x.end, x.text) for x in first))


def _shown(cut: Sequence[ChunkDraft]) -> CutPreview:
    mean = round(sum(x.end - x.start for x in cut) / max(len(cut), 1), 1)
    return CutPreview(len(cut), mean, tuple((x.start, x.end, x.text) for x in cut[:_SHOWN]))
