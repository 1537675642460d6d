"""Knowledge written straight into SQL, as ingestion leaves it: rows and outbox, nothing indexed yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import delete, insert

from qzbrain.brain import Brain
from qzbrain.domain import ReadScope, new_id, utc_now
from qzbrain.storage.tables import chunks, documents, knowledge_bases, outbox

Articles = Sequence[tuple[str, str]]
"""Pairs of article key ('' for none) and text."""


class Writer:
    """Adds and removes documents of knowledge bases as the ingest and delete jobs do."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self.kb_ids: dict[str, str] = {}

    def kb(self, name: str) -> str:
        """The id of a knowledge base, made when it is not there."""
        if name not in self.kb_ids:
            row = {
                "id": new_id(),
                "name": name,
                "title": name,
                "description": "",
                "chunk_chars": 250,
                "overlap_chars": 50,
                "without_evidence": "refuse",
                "manifest": {},
                "created_at": utc_now(),
            }
            with self._brain.db.write() as connection:
                connection.execute(insert(knowledge_bases), row)
            self.kb_ids[name] = row["id"]
        return self.kb_ids[name]

    def put(self, kb: str, title: str, articles: Articles, *, external_id: str = "") -> str:
        """A document with one chunk for each article; returns its id."""
        kb_id, document_id = self.kb(kb), new_id()
        row = {
            "id": document_id,
            "kb_id": kb_id,
            "identity": f"ext:{document_id}",
            "external_id": external_id,
            "name": f"{title}.md",
            "title": title,
            "status": "ready",
            "chunks": len(articles),
            "chars": 1,
            "sha256": "0" * 64,
            "size_bytes": 1,
            "created_at": utc_now(),
        }
        with self._brain.db.write() as connection:
            connection.execute(insert(documents), row)
            self._chunks(connection, kb_id, document_id, title, articles)
        return document_id

    def replace(self, kb: str, document_id: str, title: str, articles: Articles) -> None:
        """Other chunks for a document."""
        with self._brain.db.write() as connection:
            connection.execute(delete(chunks).where(chunks.c.document_id == document_id))
            self._chunks(connection, self.kb(kb), document_id, title, articles)

    def delete(self, kb: str, document_id: str) -> None:
        """A document's rows, and the word of it in the outbox."""
        with self._brain.db.write() as connection:
            connection.execute(delete(chunks).where(chunks.c.document_id == document_id))
            connection.execute(delete(documents).where(documents.c.id == document_id))
            connection.execute(insert(outbox), {"kb_id": self.kb(kb), "op": "delete", "document_id": document_id})

    def _chunks(self, connection: object, kb_id: str, document_id: str, title: str, articles: Articles) -> None:
        rows = [
            {
                "document_id": document_id,
                "kb_id": kb_id,
                "ordinal": n,
                "text": text,
                "start": 0,
                "end": len(text),
                "heading_path": json.dumps([title], ensure_ascii=False),
                "reference": key,
            }
            for n, (key, text) in enumerate(articles)
        ]
        if rows:
            connection.execute(insert(chunks), rows)  # type: ignore[attr-defined]
        connection.execute(insert(outbox), {"kb_id": kb_id, "op": "put", "document_id": document_id})  # type: ignore[attr-defined]

    def scope(self, *names: str, document_ids: Sequence[str] | None = None) -> ReadScope:
        """What may be read: these knowledge bases."""
        return ReadScope(tuple(self.kb(name) for name in names), tuple(document_ids) if document_ids is not None else None)

    def catch_up(self, *names: str) -> None:
        """Index what is in SQL."""
        for name in names:
            self._brain.feeder.catch_up(self.kb(name))


LAWS: Mapping[str, Articles] = {
    "中华人民共和国民法典": [
        ("10", "第十条 处理民事纠纷，应当依照法律。"),
        ("11", "第十一条 其他法律有特别规定的，依照其规定。"),
        ("12", "第十二条 中国领域内的民事活动。"),
        ("1042", "第一千零四十二条 禁止包办、买卖婚姻。"),
        ("1042", "禁止家庭暴力。"),
    ],
    "中华人民共和国刑法": [
        ("12", "第十二条 本法施行以前的行为。"),
        ("120", "第一百二十条 组织恐怖活动组织。"),
        ("120-1", "第一百二十条之一 资助恐怖活动组织。"),
    ],
    "中华人民共和国民事诉讼法": [("12", "第十二条 当事人有权进行辩论。"), ("92", "第九十二条 受送达人是军人的。")],
    "中华人民共和国劳动合同法": [("12", "第十二条 劳动合同分为固定期限劳动合同。"), ("58", "第五十八条 劳务派遣单位。")],
    "中华人民共和国合同法（1999年）": [("12", "第十二条 合同的内容由当事人约定。")],
    "员工手册": [("12", "第十二条 年假每年十天。"), ("30", "第三十条 报销须在一个月内提出。")],
}
