"""Documents through the service: identity, duplicates, replacement, hostile names, pages, content, files."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller, Document
from qzbrain.errors import Conflict, InvalidRequest, NotFound, PayloadTooLarge
from qzbrain.settings import Settings
from tests.knowledge.conftest import LAW, texts_found

Add = Callable[..., AddedDocument]
Work = Callable[[], None]


def test_a_file_becomes_ready_and_every_chunk_stands_at_its_offsets(brain: Brain, caller: Caller, kb: str, add: Add, work: Work) -> None:
    added = add(LAW, "办法.md")
    assert (added.status, added.duplicate, added.size_bytes) == ("pending", False, len(LAW.encode()))
    work()
    document = brain.knowledge.document(caller, str(added.id))
    assert (document.status, document.stage, document.reason_code, document.knowledge_base) == ("ready", "", None, kb)
    assert document.ready_at and document.chars == len(LAW) and document.chunks > 0
    assert (document.progress_done, document.progress_total) == (document.chunks, document.chunks)
    text = brain.knowledge.content(caller, document.id)
    chunks = brain.knowledge.chunks(caller, document.id).data
    assert text == LAW
    assert all(x.text == text[x.start : x.end] for x in chunks)
    assert [x.ordinal for x in chunks] == list(range(len(chunks)))
    path, name, _ = brain.knowledge.file(caller, document.id)
    assert not isinstance(path, bytes) and path.read_bytes() == LAW.encode() and name == "办法.md"


def test_the_same_bytes_again_are_the_first_document(brain: Brain, caller: Caller, kb: str, add: Add, work: Work) -> None:
    first = add("采购须经批准。", "one.txt")
    while_waiting = add("采购须经批准。", "two.txt")
    work()
    later = add("采购须经批准。", "three.txt")
    assert (while_waiting.id, while_waiting.duplicate, while_waiting.job_id) == (first.id, True, first.job_id)
    assert (later.id, later.duplicate, later.status, later.job_id) == (first.id, True, "ready", None)
    other = brain.knowledge.create(caller, name="other")
    elsewhere = brain.knowledge.add_file(caller, other.id, "one.txt", io.BytesIO("采购须经批准。".encode()))
    assert elsewhere.id != first.id and not elsewhere.duplicate


def test_one_that_failed_is_tried_again(brain: Brain, caller: Caller, add: Add, work: Work) -> None:
    first = add(b"", "empty.txt")
    work()
    assert brain.knowledge.document(caller, str(first.id)).reason_code == "empty"
    again = add(b"", "empty.txt")
    assert (again.id, again.duplicate, again.status) == (first.id, True, "pending")
    assert brain.knowledge.document(caller, str(first.id)).reason_code is None
    work()
    assert brain.knowledge.document(caller, str(first.id)).status == "failed"


def test_duplicate_uploads_that_race_make_one_document(brain: Brain, caller: Caller, kb: str) -> None:
    added: list[AddedDocument] = []

    def upload() -> None:
        added.append(brain.knowledge.add_file(caller, kb, "a.txt", io.BytesIO("同样的内容。".encode())))

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({x.id for x in added}) == 1
    assert sum(not x.duplicate for x in added) == 1
    assert brain.knowledge.knowledge_base(caller, kb).documents.total == 1


def test_a_text_with_an_external_id_is_replaced_by_another_text(brain: Brain, caller: Caller, kb: str, work: Work) -> None:
    first = brain.knowledge.add_text(caller, kb, "规定", "独角兽须登记。", external_id="r-1", title="规定一")
    work()
    assert texts_found(brain, caller, "独角兽登记") == ["独角兽须登记。"]
    same = brain.knowledge.add_text(caller, kb, "规定", "独角兽须登记。", external_id="r-1")
    assert (same.id, same.duplicate) == (first.id, True)
    other = brain.knowledge.add_text(caller, kb, "规定", "麒麟须登记。", external_id="r-1")
    assert (other.id, other.duplicate, other.status) == (first.id, False, "pending")
    work()
    assert texts_found(brain, caller, "独角兽") == []
    assert texts_found(brain, caller, "麒麟登记") == ["麒麟须登记。"]
    same_text = brain.knowledge.add_text(caller, kb, "规定", "麒麟须登记。", external_id="r-2")
    assert same_text.id != first.id


def test_a_text_is_stored_exactly_as_given(brain: Brain, caller: Caller, kb: str, work: Work) -> None:
    text = "\ufeff第一行\r\n第二行\t。\n\n  尾部  "
    added = brain.knowledge.add_text(caller, kb, "原文", text)
    work()
    assert brain.knowledge.content(caller, str(added.id)) == text
    data, name, mime = brain.knowledge.file(caller, str(added.id))
    assert (data, name, mime) == (text.encode(), "原文", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"text": ""}, "text"),
        ({"text": " \n"}, "text"),
        ({"text": "a\ud800"}, "text"),
        ({"text": "x", "external_id": ""}, "external_id"),
        ({"text": "x", "external_id": "x" * 256}, "external_id"),
        ({"text": "x", "title": "x" * 256}, "title"),
    ],
)
def test_texts_that_cannot_be_kept_are_refused(brain: Brain, caller: Caller, kb: str, values: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        brain.knowledge.add_text(caller, kb, "名", **values)  # type: ignore[arg-type]
    assert refused.value.param == param
    assert brain.knowledge.knowledge_base(caller, kb).documents.total == 0


def test_a_file_over_the_limit_leaves_nothing(make_settings: Callable[..., Settings]) -> None:
    from qzbrain.brain import build

    brain = build(make_settings(max_upload_mb=1))
    caller = brain.access.local_caller()
    brain.knowledge.create(caller, name="x")
    with pytest.raises(PayloadTooLarge):
        brain.knowledge.add_file(caller, "x", "big.bin", io.BytesIO(b"x" * (1 << 20 | 1)))
    assert brain.knowledge.knowledge_base(caller, "x").documents.total == 0
    assert [x for x in brain.files.root.rglob("*") if x.is_file()] == []
    brain.close()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\规定.txt", "规定.txt"),
        ("a\x00\x1b[31mb.txt", "a[31mb.txt"),
        ("\u202egnp.exe", "gnp.exe"),
        ("", "unnamed"),
        ("/", "unnamed"),
        ("\ud800x", "x"),
        ("长" * 300 + ".docx", "长" * 250 + ".docx"),
    ],
)
def test_a_hostile_name_is_only_shown_and_only_what_can_be(brain: Brain, caller: Caller, add: Add, name: str, shown: str) -> None:
    added = add("内容。", name)
    assert added.name == brain.knowledge.document(caller, str(added.id)).name == shown


def test_pages_states_and_cursors(brain: Brain, caller: Caller, kb: str, add: Add, work: Work) -> None:
    ids = [add(f"第{n}号文件。", f"{n}.txt").id for n in range(5)]
    add(b"", "empty")
    work()
    seen: list[str] = []
    after = None
    while True:
        page = brain.knowledge.documents(caller, kb, "ready", limit=2, after=after)
        seen += [x.id for x in page.data]
        after = page.next
        if not page.has_more:
            break
    assert sorted(seen) == sorted(str(x) for x in ids)
    assert [x.name for x in brain.knowledge.documents(caller, kb, "failed").data] == ["empty"]
    with pytest.raises(InvalidRequest):
        brain.knowledge.documents(caller, kb, "lost")
    with pytest.raises(InvalidRequest):
        brain.knowledge.chunks(caller, seen[0], after="x")
    chunks = brain.knowledge.chunks(caller, seen[0], limit=1)
    assert len(chunks.data) == 1


def test_what_is_not_there_is_not_found(brain: Brain, caller: Caller, add: Add) -> None:
    knowledge = brain.knowledge
    for ask in (knowledge.document, knowledge.content, knowledge.chunks, knowledge.file, knowledge.delete_document):
        for key in ("nothing", "", "\ud800"):
            with pytest.raises(NotFound):
                ask(caller, key)
    with pytest.raises(Conflict):
        knowledge.content(caller, str(add("等待处理。").id))


def test_cancel_and_retry_of_a_documents_job(brain: Brain, caller: Caller, kb: str, add: Add, work: Work, documents: Callable[[], dict[str, Document]]) -> None:
    added = add("采购须经批准。")
    assert brain.knowledge.cancel_job(caller, str(added.job_id)).status == "cancelled"
    work()
    assert (documents()["a.txt"].status, documents()["a.txt"].reason_code) == ("failed", "cancelled")
    assert brain.knowledge.retry_job(caller, str(added.job_id)).status == "pending"
    assert documents()["a.txt"].status == "pending"
    work()
    assert documents()["a.txt"].status == "ready"
    with pytest.raises(Conflict):
        brain.knowledge.cancel_job(caller, str(added.job_id))
