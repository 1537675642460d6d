"""What a search finds of an entry: a document of the kind `entry`, written with the entry in one transaction. See decision 16.

It has no file and no job of its own; its chunks reach the index through the outbox as those of any document do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
from sqlalchemy import Connection, insert, select, update

from qzbrain.domain import new_id, utc_now
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.entries.entry import EntryFields
from qzbrain.knowledge.levels import set_level
from qzbrain.knowledge.records import STARTING_OVER
from qzbrain.knowledge.removal import forget_content, remove_documents, submit_index_changes
from qzbrain.storage.tables import chunks, document_texts, documents, knowledge_bases, outbox

KIND = "entry"
Follow = Callable[[Connection, str], None]


class Shadows:
    """Writes and removes the documents of entries. `follow`: what comes after a knowledge base's chunks changed, in the same transaction."""

    def __init__(self, runner: LeaseRunner, follow: Follow) -> None:
        self._jobs, self._follow = runner, follow

    def put(self, connection: Connection, kb_id: str, entry_id: str, document_id: str, fields: EntryFields) -> str:
        """Have a search find this of the entry; returns the document's id (`document_id` unless it is '')."""
        sizes = connection.execute(select(knowledge_bases.c.chunk_chars, knowledge_bases.c.overlap_chars).where(knowledge_bases.c.id == kb_id)).one()
        parsed, _ = fields.document()
        drafts = chunk(parsed, chunk_chars=sizes.chunk_chars, overlap_chars=sizes.overlap_chars)
        now = utc_now()
        values = {
            **STARTING_OVER, "name": fields.title or "entry", "title": fields.title, "status": "ready", "chunks": len(drafts), "chars": len(parsed.text),
            "mime_type": parsed.mime_type, "ready_at": now, "stored": 0, "sha256": fields.key, "size_bytes": len(parsed.text.encode()), "kind": KIND,
            "level": fields.level_place,
        }  # fmt: skip
        if document_id:
            forget_content(connection, [document_id])
            connection.execute(update(documents).where(documents.c.id == document_id).values(values))
        else:
            document_id = new_id()
            row = {"id": document_id, "kb_id": kb_id, "identity": f"entry:{entry_id}", "external_id": "", "created_at": now}
            connection.execute(insert(documents).values({**values, **row}))
        connection.execute(insert(document_texts).values(document_id=document_id, text=parsed.text))
        rows = [
            {
                "document_id": document_id, "kb_id": kb_id, "ordinal": x.ordinal, "text": x.text, "start": x.start, "end": x.end, "page": x.page,
                "heading_path": orjson.dumps(x.heading_path).decode(), "reference": "",
            }
            for x in drafts
        ]  # fmt: skip
        if rows:
            connection.execute(insert(chunks), rows)
        connection.execute(insert(outbox).values(kb_id=kb_id, op="put", document_id=document_id))
        return document_id

    def raise_level(self, connection: Connection, document_id: str, level: int) -> None:
        """Have what is in force found only by who is cleared for this level (place in LEVELS)."""
        set_level(connection, self._jobs, [document_id], level)

    def remove(self, connection: Connection, kb_id: str, document_ids: Sequence[str]) -> None:
        """Have a search find nothing of these any more."""
        remove_documents(connection, kb_id, [one for one in document_ids if one])

    def tell(self, connection: Connection, kb_id: str) -> None:
        """Have the worker bring the index after; a job that waits already will do."""
        submit_index_changes(connection, self._jobs, kb_id)
        self._follow(connection, kb_id)
