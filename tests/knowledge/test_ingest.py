"""From upload to found passage, and the ugly twins: bad files, deletion meanwhile, a full disk."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import func, select, text

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller, Document
from qzbrain.errors import NotFound, StorageFull
from qzbrain.knowledge.reader import Reader, ReadRequest
from qzbrain.storage.tables import chunks, document_texts, jobs, outbox
from tests.knowledge.conftest import LAW, texts_found

Add = Callable[..., AddedDocument]
Work = Callable[[], None]
Shown = Callable[[], dict[str, Document]]


def _bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", b"<w>" + b"0" * 60_000_000)
    return packed.getvalue()


def test_good_files_beside_bad_ones(brain: Brain, caller: Caller, kb: str, add: Add, work: Work, documents: Shown) -> None:
    add(LAW, "good.md")
    bad = {"empty.txt": b"", "broken.pdf": b"%PDF-1.7\n" + os.urandom(2000), "bomb.docx": _bomb(), "noise.md": os.urandom(50_000)}
    for name, data in bad.items():
        add(data, name)
    add("本文件其实是文本。".encode("gbk"), "mislabelled.pdf")
    work()
    shown = documents()
    assert {name: x.status for name, x in shown.items()} == {**dict.fromkeys(bad, "failed"), "good.md": "ready", "mislabelled.pdf": "ready"}
    assert all(shown[name].reason_zh and shown[name].reason_en and shown[name].chunks == 0 for name in bad)
    assert "五十万元" in texts_found(brain, caller, "五十万元的采购由谁批准")[0]
    counts = brain.knowledge.knowledge_base(caller, kb).documents
    assert (counts.ready, counts.failed, counts.pending) == (2, 4, 0)


def test_a_text_over_the_limit_fails_and_says_so(make_settings: Callable[..., object], add_and_work: Callable[..., Document]) -> None:
    document = add_and_work("长" * 1001, max_text_chars=1000)
    assert (document.status, document.reason_code) == ("failed", "too_large")


@pytest.fixture
def add_and_work(make_settings: Callable[..., object]) -> Callable[..., Document]:
    from qzbrain.brain import build
    from qzbrain.worker import work_inline

    def one(content: str, **settings: object) -> Document:
        brain = build(make_settings(**settings))  # type: ignore[arg-type]
        caller = brain.access.local_caller()
        brain.knowledge.create(caller, name="x")
        added = brain.knowledge.add_file(caller, "x", "a.txt", io.BytesIO(content.encode()))
        work_inline(brain, lambda: brain.knowledge.document(caller, str(added.id)).status in ("ready", "failed"))
        document = brain.knowledge.document(caller, str(added.id))
        brain.close()
        return document

    return one


def test_done_twice_changes_nothing(brain: Brain, caller: Caller, add: Add, work: Work) -> None:
    added = add(LAW, "a.md")
    work()
    before = [x.text for x in brain.knowledge.chunks(caller, str(added.id)).data]
    with brain.db.write() as connection:
        connection.execute(jobs.update().values(status="pending"))
    work()
    assert [x.text for x in brain.knowledge.chunks(caller, str(added.id)).data] == before
    with brain.db.read() as connection:
        assert connection.execute(select(func.count()).select_from(outbox)).scalar() == 0
        total = connection.execute(select(func.count()).select_from(chunks)).scalar()
    kb_id = brain.knowledge.document(caller, str(added.id)).kb_id
    assert brain.index.chunk_count(kb_id) == total == len(before)
    found = texts_found(brain, caller, "采购由谁批准")
    assert len(found) == len(set(found))


def test_deleted_before_and_while_it_is_read_it_is_dropped_silently(
    brain: Brain, caller: Caller, add: Add, work: Work, documents: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, during, kept = add("先删除的文件。", "before"), add("处理时删除的文件。", "during"), add("留下的文件。", "kept")
    brain.knowledge.delete_document(caller, str(before.id))
    real = Reader.read

    def read(reader: Reader, requests: Sequence[ReadRequest], **options: object) -> object:
        for request, outcome in real(reader, requests, **options):  # type: ignore[arg-type]
            if request.document_id == during.id:
                brain.knowledge.delete_document(caller, str(during.id))
            yield request, outcome

    monkeypatch.setattr(Reader, "read", read)
    work()
    assert {name: x.status for name, x in documents().items()} == {"kept": "ready"}
    assert [x.subject for x in brain.knowledge.jobs(caller).data if x.kind == "ingest"] == [kept.id]
    assert all(x.status == "done" for x in brain.knowledge.jobs(caller).data)
    assert texts_found(brain, caller, "删除的文件") in ([], ["留下的文件。"])
    with brain.db.read() as connection:
        assert set(connection.execute(select(document_texts.c.document_id)).scalars()) == {kept.id}


def test_a_full_database_refuses_uploads_and_keeps_what_it_has(brain: Brain, caller: Caller, kb: str, add: Add, work: Work, documents: Shown) -> None:
    add(LAW, "first.md")
    work()
    with brain.db.write() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
    brain.db.close()
    limit = _limit_pages(brain, int(pages or 0) + 2)
    with pytest.raises(StorageFull) as full:
        for n in range(200):
            brain.knowledge.add_text(caller, kb, f"{n}", f"第{n}号" + "采购须经批准。" * 2000)
    assert full.value.status == 503 and full.value.zh and full.value.en
    waiting = [x for x in documents().values() if x.status == "pending"]
    limit(1 << 30)
    assert {x.status for x in documents().values()} <= {"ready", "pending"}
    work()
    assert {x.status for x in documents().values()} == {"ready"}
    assert len(documents()) == 1 + len(waiting)
    with brain.db.read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"


def _limit_pages(brain: Brain, pages: int) -> Callable[[int], None]:
    """Let the database grow to so many pages, as a full disk would; the function given back sets another limit."""
    from sqlalchemy import event

    limit = [pages]

    def set_limit(connection: object, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={limit[0]}")  # type: ignore[attr-defined]

    event.listen(brain.db.engine, "checkout", set_limit)

    def change(to: int) -> None:
        limit[0] = to

    return change


def test_a_disk_that_is_full_while_reading_loses_no_upload(brain: Brain, caller: Caller, add: Add, work: Work, documents: Shown) -> None:
    added = add(LAW * 200, "long.md")
    brain.db.close()
    with brain.db.write() as connection:
        pages = int(connection.execute(text("PRAGMA page_count")).scalar() or 0)
    brain.db.close()
    limit = _limit_pages(brain, pages + 1)
    work()
    assert documents()["long.md"].status in ("pending", "running")
    limit(1 << 30)
    with brain.db.write() as connection:
        connection.execute(jobs.update().values(run_after=0.0))
    work()
    assert documents()["long.md"].status == "ready"
    assert brain.knowledge.job(caller, str(added.job_id)).status == "done"


def test_what_cannot_be_indexed_waits_and_is_found_later(
    brain: Brain, caller: Caller, add: Add, work: Work, documents: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, catch_up = [True], brain.feeder.catch_up

    def until_there_is_room(*given: Any) -> int:
        if full:
            raise StorageFull
        return catch_up(*given)

    monkeypatch.setattr(brain.feeder, "catch_up", until_there_is_room)
    for n in range(3):
        add(LAW.replace("五十万元", f"{n}百万元"), f"{n}.md")
    work()
    assert {(one.status, one.reason_code) for one in documents().values()} == {("pending", StorageFull().code)}
    full.clear()
    with brain.db.write() as connection:
        connection.execute(jobs.update().values(run_after=0.0))
    work()
    assert {one.status for one in documents().values()} == {"ready"}
    assert "2百万元" in texts_found(brain, caller, "2百万元的采购由谁批准")[0]


def test_a_reindex_builds_the_same_index(brain: Brain, caller: Caller, kb: str, add: Add, work: Work) -> None:
    add(LAW, "a.md")
    work()
    before = texts_found(brain, caller, "采购由谁批准")
    job_id = brain.knowledge.reindex(caller, kb)
    work()
    assert brain.knowledge.job(caller, job_id).status == "done"
    assert texts_found(brain, caller, "采购由谁批准") == before
    with pytest.raises(NotFound):
        brain.knowledge.reindex(caller, "nowhere")


def test_a_lost_index_comes_back_with_the_worker(brain: Brain, caller: Caller, kb: str, add: Add, work: Work) -> None:
    add(LAW, "a.md")
    work()
    brain.index.drop(brain.access.resolve(caller, [kb])[0].id)
    assert texts_found(brain, caller, "采购由谁批准") == []
    work()
    assert "五十万元" in texts_found(brain, caller, "采购由谁批准")[0]
