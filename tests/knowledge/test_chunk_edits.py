"""Chunks that people edit: the text, the offsets, the search and the history agree after every edit, every re-reading, every undo."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller, Chunk
from qzbrain.errors import Conflict, InvalidRequest, NotFound
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.storage.tables import document_edits

TEXT = "\n".join(f"设备{number}号的保养周期为{number}个月，由{number}班负责检查并登记。" for number in range(1, 41))
Work = Callable[[], None]
Add = Callable[..., AddedDocument]


@pytest.fixture
def document(add: Add, work: Work) -> str:
    """A ready document of several overlapping chunks."""
    document_id = add(TEXT).id
    work()
    assert document_id is not None
    return document_id


def chunks_of(brain: Brain, caller: Caller, document: str) -> list[Chunk]:
    """All chunks, after checking that each is what its offsets say and the counts are right."""
    found = list(brain.knowledge.chunks(caller, document, limit=1000).data)
    text = brain.knowledge.content(caller, document)
    assert [x.text for x in found] == [text[x.start:x.end] for x in found]
    shown = brain.knowledge.document(caller, document)
    assert (shown.chunks, shown.chars) == (len(found), len(text))
    return found


def texts_found(brain: Brain, caller: Caller, question: str) -> list[str]:
    return [hit.text for hit in brain.retriever.search(SearchQuery(question), brain.access.scope(caller, None, None)).hits]


def test_an_edit_is_in_the_text_the_chunks_and_the_search(brain: Brain, caller: Caller, document: str, work: Work) -> None:
    before = chunks_of(brain, caller, document)
    target = before[1]
    made = brain.knowledge.edit_chunk(caller, document, target.id, text=target.text.replace("班", "车间") + "\n另见特急通知甲乙。", note="改了")
    after = chunks_of(brain, caller, document)
    assert made.id > max(x.id for x in before)
    assert made == after[1]
    assert after[0].text.endswith("车间负责检查并登记。"), "the neighbour that overlaps has the new words"
    assert after[0].id != before[0].id
    assert [x.id for x in after[3:]] == [x.id for x in before[3:]], "what only moves keeps its id"
    assert target.text not in texts_found(brain, caller, "特急通知甲乙")
    work()
    assert made.text in texts_found(brain, caller, "特急通知甲乙")[:2], "it, and its neighbour that shares its end"


def test_a_chunk_switched_off_is_listed_and_not_found(brain: Brain, caller: Caller, document: str, work: Work) -> None:
    target = chunks_of(brain, caller, document)[2]
    assert target.text in texts_found(brain, caller, target.text[:20])
    off = brain.knowledge.edit_chunk(caller, document, target.id, enabled=False)
    assert (off.id, off.enabled) == (target.id, False)
    assert target.text not in texts_found(brain, caller, target.text[:20]), "at once"
    work()
    assert target.text not in texts_found(brain, caller, target.text[:20])
    assert not chunks_of(brain, caller, document)[2].enabled
    on = brain.knowledge.edit_chunk(caller, document, target.id, enabled=True)
    assert on.id != target.id
    work()
    assert target.text in texts_found(brain, caller, target.text[:20])


def test_history_and_undo(brain: Brain, caller: Caller, document: str) -> None:
    first = chunks_of(brain, caller, document)[0]
    made = brain.knowledge.edit_chunk(caller, document, first.id, text="开头。\n" + first.text)
    later = chunks_of(brain, caller, document)[4]
    brain.knowledge.edit_chunk(caller, document, later.id, text=later.text + "末尾。")
    assert [x.number for x in brain.knowledge.chunk_history(caller, document, made.id)] == [1]
    brain.knowledge.undo_edit(caller, document, 1)
    assert chunks_of(brain, caller, document)[0].text == first.text
    brain.knowledge.undo_edit(caller, document, 2)
    assert brain.knowledge.content(caller, document) == TEXT
    assert [x.number for x in brain.knowledge.document_edits(caller, document)] == [4, 3, 2, 1]
    with pytest.raises(Conflict, match=r"."):
        brain.knowledge.undo_edit(caller, document, 1)
    with pytest.raises(NotFound):
        brain.knowledge.undo_edit(caller, document, 99)


def test_bad_edits_are_refused(brain: Brain, caller: Caller, document: str) -> None:
    target = chunks_of(brain, caller, document)[0]
    for text in ("", " \n\u3000", "\ud800", "字" * 20_001):
        with pytest.raises(InvalidRequest):
            brain.knowledge.edit_chunk(caller, document, target.id, text=text)
    with pytest.raises(NotFound):
        brain.knowledge.edit_chunk(caller, document, 10**12, text="x")
    with pytest.raises(NotFound):
        brain.knowledge.edit_chunk(caller, "nothing", target.id, text="x")
    with pytest.raises(Conflict) as caught:
        brain.knowledge.edit_chunk(caller, document, target.id, text="x", if_text="别的")
    assert caught.value.code == "chunk_changed"
    assert brain.knowledge.content(caller, document) == TEXT
    assert not brain.knowledge.document_edits(caller, document)


@pytest.mark.parametrize("stored", [True, False], ids=["file", "text"])
def test_edits_outlive_other_chunk_sizes(brain: Brain, caller: Caller, kb: str, add: Add, work: Work, *, stored: bool) -> None:
    added = add(TEXT) if stored else brain.knowledge.add_text(caller, kb, "a", TEXT)
    document = added.id or ""
    work()
    first = chunks_of(brain, caller, document)[1]
    brain.knowledge.edit_chunk(caller, document, first.id, text=first.text.replace("保养", "大修"))
    last = chunks_of(brain, caller, document)[-1]
    brain.knowledge.edit_chunk(caller, document, last.id, enabled=False)
    text = brain.knowledge.content(caller, document)
    before = chunks_of(brain, caller, document)
    job_id = brain.knowledge.rechunk(caller, kb, chunk_chars=100, overlap_chars=20)
    assert job_id is not None
    assert chunks_of(brain, caller, document) == before, "until the job is there"
    work()
    after = chunks_of(brain, caller, document)
    assert brain.knowledge.job(caller, job_id).status == "done"
    assert brain.knowledge.job(caller, job_id).result == {"documents": 1, "failed": 0}
    assert brain.knowledge.content(caller, document) == text
    assert len(after) > len(before)
    assert not after[-1].enabled
    shown = brain.knowledge.document(caller, document)
    assert (shown.status, shown.edits.applied, shown.edits.lost) == ("ready", 2, 0)
    assert brain.knowledge.knowledge_base(caller, kb).chunk_chars == 100
    assert brain.knowledge.rechunk(caller, kb, chunk_chars=100) is None
    brain.knowledge.undo_edit(caller, document, 1)
    assert brain.knowledge.content(caller, document) == TEXT


def test_what_no_longer_fits_is_told(brain: Brain, caller: Caller, kb: str, work: Work) -> None:
    document = brain.knowledge.add_text(caller, kb, "a", "甲方应当在十日内付款。", external_id="1").id or ""
    work()
    one = chunks_of(brain, caller, document)[0]
    brain.knowledge.edit_chunk(caller, document, one.id, text="甲方应当在二十日内付款。")
    brain.knowledge.add_text(caller, kb, "a", "全文已经改写。", external_id="1")
    work()
    assert brain.knowledge.content(caller, document) == "全文已经改写。"
    assert brain.knowledge.document(caller, document).edits.lost == 1
    with pytest.raises(Conflict):
        brain.knowledge.undo_edit(caller, document, 1)


def test_a_file_that_can_no_longer_be_read_keeps_its_chunks(brain: Brain, caller: Caller, kb: str, document: str, work: Work) -> None:
    before = chunks_of(brain, caller, document)
    brain.files.path(brain.knowledge.document(caller, document).sha256).unlink()
    job_id = brain.knowledge.rechunk(caller, kb, chunk_chars=100, overlap_chars=20) or ""
    work()
    assert chunks_of(brain, caller, document) == before
    shown = brain.knowledge.document(caller, document)
    assert shown.status == "ready"
    assert shown.reason_code
    assert (brain.knowledge.job(caller, job_id).result or {})["failed"] == 1


def test_edits_go_with_their_document(brain: Brain, caller: Caller, document: str) -> None:
    one = chunks_of(brain, caller, document)[0]
    brain.knowledge.edit_chunk(caller, document, one.id, text="机密内容")
    brain.knowledge.delete_document(caller, document)
    assert not brain.db.rows(select(document_edits))
