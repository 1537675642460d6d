"""After a deletion no file of the data folder holds a word of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller, new_id, utc_now
from qzbrain.errors import StorageBusy
from qzbrain.graph.importing import KIND, submit
from qzbrain.knowledge.removal import forget_file
from qzbrain.knowledge.scrub import REMOVED, cited_documents, scrubbed
from qzbrain.storage.tables import conversations, jobs, messages
from tests.knowledge.conftest import files_holding, texts_found

Add = Callable[..., AddedDocument]
Work = Callable[[], None]
SECRET = "独角兽饲养须经麒麟署批准"
CODE = "QX7731ZETA"


def _store_answer(brain: Brain, document_id: str, quote: str) -> str:
    """A stored turn that cites the document, as the extractive answerer leaves it."""
    now, conversation_id, message_id = utc_now(), new_id(), new_id()
    citation = {"index": 1, "document_id": document_id, "document": "规定.txt", "title": "规定", "quote": quote, "url": f"/#d={document_id}"}
    with brain.db.write() as connection:
        owner = {"id": conversation_id, "owner": "local", "title": "问", "knowledge_bases": [], "created_at": now, "updated_at": now}
        connection.execute(insert(conversations).values(owner))
        row = {"id": message_id, "conversation_id": conversation_id, "role": "assistant", "status": "complete", "created_at": now, "position": 1}
        connection.execute(insert(messages).values(**row, content=f"{quote}[1] 其他内容。", details={"citations": [citation], "usage": {}}))
    return message_id


@pytest.mark.parametrize("whole", ["document", "knowledge base"])
def test_no_trace_is_left(brain: Brain, caller: Caller, kb: str, add: Add, work: Work, whole: str) -> None:
    kept = brain.knowledge.create(caller, name="kept")
    brain.knowledge.add_file(caller, kept.id, "b.txt", io.BytesIO("青龙须登记。".encode()))
    document = add(f"总则。\n\n{SECRET}。编号 {CODE}。", "规定.txt")
    text = brain.knowledge.add_text(caller, kb, "直接给的", f"{SECRET}，另见{CODE}。")
    corpus = add(json.dumps({"id": "c", "text": f"{SECRET}。{CODE}"}, ensure_ascii=False).encode() + b"\n", "c.jsonl")
    work()
    brain.db.close()
    message_id = _store_answer(brain, str(document.id), f"{SECRET}。")
    assert texts_found(brain, caller, SECRET)
    for words in (SECRET, CODE):
        assert files_holding(brain.settings.data, words)
    if whole == "document":
        for one in brain.knowledge.documents(caller, kb).data:
            brain.knowledge.delete_document(caller, one.id)
    else:
        brain.knowledge.delete(caller, kb)
    assert texts_found(brain, caller, SECRET) in ([], ["青龙须登记。"])
    work()
    assert {x.status for x in brain.knowledge.jobs(caller).data} == {"done"}
    for words in (SECRET, CODE, CODE.lower(), "麒麟署"):
        assert files_holding(brain.settings.data, words) == []
    with brain.db.read() as connection:
        row = connection.execute(select(messages.c.content, messages.c.details).where(messages.c.id == message_id)).one()
    assert row.content == f"{REMOVED}[1] 其他内容。"
    assert row.details["citations"][0]["index"] == 1
    assert texts_found(brain, caller, "青龙登记") == ["青龙须登记。"]
    for added in (document, text, corpus):
        assert not brain.files.path(added.sha256).exists()


def test_bytes_that_another_document_uses_stay(brain: Brain, caller: Caller, kb: str, add: Add, work: Work) -> None:
    first = add("共用的内容。")
    other = brain.knowledge.create(caller, name="other")
    second = brain.knowledge.add_file(caller, other.id, "b.txt", io.BytesIO("共用的内容。".encode()))
    work()
    brain.knowledge.delete_document(caller, str(first.id))
    work()
    path, _, _ = brain.knowledge.file(caller, str(second.id))
    assert not isinstance(path, bytes) and path.read_bytes() == "共用的内容。".encode()


def test_an_upload_of_bytes_that_are_being_purged_is_not_lost(brain: Brain, caller: Caller, kb: str, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last document with these bytes is deleted and purged between the writing of the file and its row."""
    real = brain.files.put
    removed: list[str] = []

    def put(stream: Any, *, limit_bytes: int) -> Any:
        stored = real(stream, limit_bytes=limit_bytes)
        if not removed:
            removed.append(stored.sha256)
            brain.files.remove(stored.sha256)
        return stored

    monkeypatch.setattr(brain.files, "put", put)
    added = add("又上传的内容。")
    assert removed == [added.sha256]
    assert brain.files.path(added.sha256).read_bytes() == "又上传的内容。".encode()


class Once(io.BytesIO):
    """What can be read once, as what comes over the network."""

    def seekable(self) -> bool:
        return False


def test_triples_that_are_purged_before_their_job_is_there_are_not_lost(brain: Brain, kb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, purged = brain.files.put, list[bool]()

    def put(stream: Any, *, limit_bytes: int) -> Any:
        stored = real(stream, limit_bytes=limit_bytes)
        if not purged:
            purged.append(forget_file(brain.db, brain.files, stored.sha256))
        return stored

    def bring(stream: io.BytesIO) -> str:
        return submit(brain.db, brain.jobs, brain.files, stream, kb_id=kb, payload={"name": "a.csv", "lang": "zh", "dry_run": False}, limit_bytes=1 << 20)

    monkeypatch.setattr(brain.files, "put", put)
    with pytest.raises(StorageBusy):
        bring(Once("甲,与,乙\n".encode()))
    assert brain.db.rows(select(jobs.c.id).where(jobs.c.kind == KIND)) == [] and purged == [True]
    purged.clear()
    job_id = bring(io.BytesIO("甲,与,乙\n".encode()))
    (row,) = brain.db.rows(select(jobs).where(jobs.c.kind == KIND))
    assert row.id == job_id and purged == [True]
    assert brain.files.path(row.subject).read_text() == "甲,与,乙\n"
    assert not forget_file(brain.db, brain.files, row.subject)  # now that its job names it


def test_many_deletions_wait_for_one_purge(brain: Brain, caller: Caller, add: Add, work: Work) -> None:
    ids = [str(add(f"第{n}份。").id) for n in range(5)]
    work()
    for one in ids:
        brain.knowledge.delete_document(caller, one)
    assert [x.status for x in brain.knowledge.jobs(caller).data if x.kind == "purge"] == ["pending"]


def test_a_purge_that_meets_a_reader_comes_again(brain: Brain, caller: Caller, add: Add, work: Work) -> None:
    document = add(f"{SECRET}。")
    work()
    brain.knowledge.delete_document(caller, str(document.id))
    with brain.db.read() as connection:
        cursor = connection.connection.cursor()
        cursor.execute("SELECT * FROM jobs, knowledge_bases")
        cursor.fetchone()
        work()
        cursor.close()
    with brain.db.write() as connection:
        connection.execute(update(jobs).where(jobs.c.status == "pending").values(run_after=0.0))
    work()
    assert files_holding(brain.settings.data, SECRET) == []


DETAILS: dict[str, Any] = {
    "citations": [
        {"index": 1, "document_id": "gone", "document": "规定.txt", "quote": "甲须经批准。乙须登记。", "heading_path": ["章"]},
        {"index": 2, "document_id": "kept", "document": "办法.txt", "quote": "丙须公告。"},
    ],
    "degraded": [],
}


class TestScrub:
    def test_only_the_words_of_what_is_gone_are_taken_out(self) -> None:
        content, details = scrubbed("甲须经批准。[1] 丙须公告。[2]\n乙须登记。[1]", DETAILS, {"gone"})
        assert content == f"{REMOVED}[1] 丙须公告。[2]\n{REMOVED}[1]"
        first, second = details["citations"]
        assert (first["index"], first["quote"], first["document"], first["heading_path"], first["deleted"]) == (1, "", "", [], True)
        assert second == DETAILS["citations"][1]
        assert details["degraded"] == []

    def test_twice_is_once(self) -> None:
        once = scrubbed("甲须经批准。[1]", DETAILS, {"gone"})
        assert cited_documents(once[1]) == {"kept"}
        assert scrubbed(*once, {"gone"}) == once

    @pytest.mark.parametrize("details", [{}, {"citations": None}, {"citations": ["x", {"document_id": 5, "quote": "x"}]}, {"error": {}}])
    def test_messages_without_citations_are_let_alone(self, details: dict[str, Any]) -> None:
        assert cited_documents(details) == set()
