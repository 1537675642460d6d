"""A brain with accounts and everybody who may ask it something, for the matrix of rights: makes things of each level, and tells what each caller may do."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from flask import Flask
from sqlalchemy import insert

from qzbrain.auth.standing import access_changed
from qzbrain.brain import Brain
from qzbrain.domain import LEVELS, Caller, Right, Role, new_id, utc_now
from qzbrain.knowledge.records import new_row
from qzbrain.storage.tables import chunks, conversation_shares, conversations, document_edits, document_texts, documents, kb_grants, messages, users

CLEARANCE, LOW_CLEARANCE = 2, 1
ABSENT = "0000000000000absent000"
TEXT = "第一条 保密期限为五年。"


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who asks. `right`: what he may in the knowledge bases of the matrix; `whole`: what he may make or rule."""

    name: str
    headers: dict[str, str]
    user_id: str
    role: Role | None
    right: Right | None
    clearance: int
    creates: bool = False
    rules: bool = False


@dataclass(slots=True)
class Target:
    """A request on something, and the same on what is not there. `url`, `json` hold `{kb}`, `{id}`: replaced by `kb` and `id`."""

    url: str
    json: Any = None
    data: dict[str, Any] | None = None
    kb: str = ""
    id: str = ""


class World:
    """Makes what requests need. Everything is made by the local user, in knowledge bases that reader, editor and manager have rights in."""

    def __init__(self, brain: Brain, app: Flask) -> None:
        self.brain, self.app, self._number = brain, app, itertools.count()
        self.local = brain.access.local_caller("en")
        self.watched = Path(brain.settings.watch_roots)
        self._kbs: dict[int, str] = {}
        people: tuple[tuple[str, Role, Right | None, int], ...] = (
            ("stranger", "reader", None, CLEARANCE), ("reader", "reader", "read", CLEARANCE), ("editor", "editor", "write", CLEARANCE),
            ("manager", "manager", "manage", CLEARANCE), ("low_administrator", "administrator", None, LOW_CLEARANCE), ("other", "administrator", None, 4),
        )  # fmt: skip
        self.ids = {name: new_id() for name, *_ in people}
        rows = [
            {"id": self.ids[name], "name": name, "role": role, "clearance": clearance, "recovery": [], "created_at": utc_now()}
            for name, role, _, clearance in people
        ]
        with brain.db.write() as connection:
            connection.execute(insert(users), rows)
            access_changed(connection)
        self._granted = {name: right for name, _, right, _ in people if right is not None}
        self.elsewhere = self.kb(1, fresh=True)
        keys = {name: brain.api_keys.create(self.ids[name], name)[1] for name in self.ids}
        keys["key_for_reading"] = brain.api_keys.create(self.ids["manager"], "read", right="read")[1]
        keys["key_for_elsewhere"] = brain.api_keys.create(self.ids["manager"], "other", knowledge_bases=[self.elsewhere])[1]
        bearer = {name: {"Authorization": f"Bearer {key}"} for name, key in keys.items()}
        self.callers = (
            Who("nobody", {}, "", None, None, -1),
            Who("stranger", bearer["stranger"], self.ids["stranger"], "reader", None, CLEARANCE),
            Who("reader", bearer["reader"], self.ids["reader"], "reader", "read", CLEARANCE),
            Who("editor", bearer["editor"], self.ids["editor"], "editor", "write", CLEARANCE),
            Who("manager", bearer["manager"], self.ids["manager"], "manager", "manage", CLEARANCE, creates=True),
            Who("low_administrator", bearer["low_administrator"], self.ids["low_administrator"], "administrator", "manage", LOW_CLEARANCE, True, True),
            Who("key_for_reading", bearer["key_for_reading"], self.ids["manager"], "manager", "read", CLEARANCE),
            Who("key_for_elsewhere", bearer["key_for_elsewhere"], self.ids["manager"], "manager", None, CLEARANCE),
        )

    def caller(self, who: Who) -> Caller:
        """The same as services see him (without what a key narrows)."""
        return Caller(who.user_id, who.name, "en")

    def kb(self, level: int = 0, *, fresh: bool = False) -> str:
        """Id of a knowledge base of this level."""
        if fresh or level not in self._kbs:
            made = self.brain.knowledge.create(self.local, name=f"kb{next(self._number)}", level=level).id
            with self.brain.db.write() as connection:
                grants = [{"kb_id": made, "user_id": self.ids[name], "group_id": "", "granted": right} for name, right in self._granted.items()]
                connection.execute(insert(kb_grants), grants)
                access_changed(connection)
            self.brain.access.standings.forget()
            if fresh:
                return made
            self._kbs[level] = made
        return self._kbs[level]

    def document(self, level: int, kb: str = "") -> tuple[str, str]:
        """(knowledge base, document) of a ready document of this level in a knowledge base that everybody is cleared for."""
        kb, number = kb or self.kb(0), next(self._number)
        row = new_row(kb, f"sha:{number}", f"d{number}.txt", f"{number:064x}", 1, level)
        row |= {"status": "ready", "stored": 0, "chunks": 1, "chars": len(TEXT), "ready_at": utc_now()}
        chunk = {"document_id": row["id"], "kb_id": kb, "ordinal": 0, "text": TEXT, "start": 0, "end": len(TEXT), "heading_path": "[]"}
        with self.brain.db.write() as connection:
            connection.execute(insert(documents), row)
            connection.execute(insert(document_texts), {"document_id": row["id"], "text": TEXT})
            connection.execute(insert(chunks), chunk)
        return kb, row["id"]

    def chunk(self, document_id: str) -> int:
        """The id of a document's only chunk."""
        return self.brain.knowledge.chunks(self.local, document_id).data[0].id

    def edited(self, document_id: str) -> None:
        """Note an edit of a document that switched its chunk off."""
        chunk = self.chunk(document_id)
        self.brain.knowledge.edit_chunk(self.local, document_id, chunk, enabled=False)
        assert self.brain.db.rows(document_edits.select().where(document_edits.c.document_id == document_id))

    def entry(self, level: int) -> tuple[str, str]:
        """(knowledge base, entry) of an entry of this level."""
        kb = self.kb(0)
        question = f"第{next(self._number)}个问题是什么？"
        return kb, self.brain.entries.create(self.local, kb, question=question, answer="答案。", level=LEVELS[level]).id

    def job(self, level: int, status: str = "pending") -> tuple[str, str]:
        """(knowledge base, job) of a job on a document of this level."""
        kb, document_id = self.document(level)
        with self.brain.db.write() as connection:
            job_id = self.brain.jobs.submit(connection, "ingest", subject=document_id, kb_id=kb)
            if status == "cancelled":
                self.brain.jobs.cancel_within(connection, job_id)
        return kb, job_id

    def export(self, kb: str) -> str:
        """The id of an export of a knowledge base."""
        from qzbrain.knowledge.packs.writing import Choice

        return self.brain.packs.submit_export(self.local, kb, Choice())

    def folder(self, kb: str) -> str:
        """The id of a watched folder."""
        folder = self.brain.settings.data.parent / f"watched{next(self._number)}"
        folder.mkdir()
        return self.brain.folders.watch(self.local, kb, str(folder), anywhere=True).id

    def conversation(self, owner: str, *, shared_with: str = "") -> tuple[str, str]:
        """(conversation, message) with one answer that cites nothing."""
        now, conversation_id, message_id = utc_now(), new_id(), new_id()
        common = {"conversation_id": conversation_id, "status": "complete", "details": {"level": 0}, "created_at": now, "finished_at": now}
        with self.brain.db.write() as connection:
            row = {"id": conversation_id, "owner": owner, "knowledge_bases": [self.kb(0)], "created_at": now, "updated_at": now}
            connection.execute(insert(conversations), row)
            asked = {**common, "id": new_id(), "role": "user", "content": "问？", "position": 0}
            connection.execute(insert(messages), [asked, {**common, "id": message_id, "role": "assistant", "content": "答。", "position": 1}])
            if shared_with:
                share = {"conversation_id": conversation_id, "user_id": shared_with, "group_id": "", "created_at": now}
                connection.execute(insert(conversation_shares), share)
        return conversation_id, message_id

    def ask(self, who: Who, method: str, target: Target) -> tuple[int, Any]:
        """(status, body) of a request."""
        fill = {"{kb}": target.kb, "{id}": target.id}
        given: dict[str, Any] = {}
        if target.json is not None:
            given["json"] = orjson.loads(_filled(orjson.dumps(target.json).decode(), fill))
        if target.data is not None:
            given["data"] = target.data
        headers = {**who.headers, "Accept-Language": "en"}
        response = self.app.test_client().open(_filled(target.url, fill), method=method, headers=headers, **given)
        try:
            return response.status_code, response.get_json(silent=True)
        finally:
            response.close()


def _filled(text: str, values: dict[str, str]) -> str:
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text
