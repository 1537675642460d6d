"""Knowledge bases: names, limits, counts, pages, deletion."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller
from qzbrain.errors import Conflict, InvalidRequest, NotFound
from tests.knowledge.conftest import texts_found


@pytest.mark.parametrize("name", ["laws", "法律法规", "a", "x" * 64, "m3elarge-NAME-250-50", "版本_1.2", "नियम", "Ünïcode"])
def test_names_of_any_script_are_taken(brain: Brain, caller: Caller, name: str) -> None:
    assert brain.knowledge.create(caller, name=name).name == unicodedata.normalize("NFC", name)
    assert brain.knowledge.knowledge_base(caller, name).name == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", ["", "x" * 65, "../x", "a b", "a/b", "a\\b", ".", "..", "a\x00", "a\u202eb", "😀", "a@b", "a,b", "\ud800"])
def test_other_names_are_refused(brain: Brain, caller: Caller, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        brain.knowledge.create(caller, name=name)
    assert refused.value.param == "name"
    assert refused.value.status == 400


def test_a_taken_name_is_a_conflict(brain: Brain, caller: Caller, kb: str) -> None:
    with pytest.raises(Conflict):
        brain.knowledge.create(caller, name=kb)
    other = brain.knowledge.create(caller, name="other")
    with pytest.raises(Conflict):
        brain.knowledge.update(caller, other.id, name=kb)


@pytest.mark.parametrize(
    ("field", "value"),
    [("chunk_chars", 0), ("chunk_chars", 10**9), ("overlap_chars", -1), ("overlap_chars", 200), ("without_evidence", "maybe"), ("title", "x" * 256)],
)
def test_values_out_of_range_are_refused_by_name(brain: Brain, caller: Caller, field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        brain.knowledge.create(caller, name="x", **{field: value})  # type: ignore[arg-type]
    assert refused.value.param == field


def test_change_and_counts(brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None]) -> None:
    add("采购须经批准。", "good.txt")
    add(b"", "empty.txt")
    before = brain.knowledge.knowledge_base(caller, kb).documents
    assert (before.total, before.pending, before.ready, before.failed) == (2, 2, 0, 0)
    work()
    changed = brain.knowledge.update(caller, kb, name="新名", title="标题", description="说明", without_evidence="model")
    assert (changed.name, changed.title, changed.description, changed.without_evidence) == ("新名", "标题", "说明", "model")
    assert (changed.documents.total, changed.documents.pending, changed.documents.ready, changed.documents.failed, changed.chunks) == (2, 0, 1, 1, 1)
    with pytest.raises(NotFound):
        brain.knowledge.knowledge_base(caller, kb)


def test_pages_by_name(brain: Brain, caller: Caller) -> None:
    for name in ("c", "a", "b"):
        brain.knowledge.create(caller, name=name)
    first = brain.knowledge.knowledge_bases(caller, limit=2)
    second = brain.knowledge.knowledge_bases(caller, limit=2, after=first.next)
    assert [x.name for x in (*first.data, *second.data)] == ["a", "b", "c"]
    assert (first.has_more, second.has_more, second.next) == (True, False, None)
    with pytest.raises(InvalidRequest):
        brain.knowledge.knowledge_bases(caller, limit=0)


def test_an_unknown_one_is_not_found_by_any_door(brain: Brain, caller: Caller) -> None:
    for name in ("nowhere", "", "\ud800", "x" * 5000):
        with pytest.raises(NotFound) as missing:
            brain.access.resolve(caller, [name])
        assert missing.value.code == "knowledge_base_not_found"


def test_deleting_takes_documents_jobs_and_hits_with_it(
    brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None]
) -> None:
    added = add("独角兽饲养须经批准。")
    work()
    waiting = add("还没有处理的文件。", "b.txt")
    assert texts_found(brain, caller, "独角兽饲养")
    brain.knowledge.delete(caller, kb)
    assert texts_found(brain, caller, "独角兽饲养") == []
    for document in (added, waiting):
        with pytest.raises(NotFound):
            brain.knowledge.document(caller, str(document.id))
    assert [x.kind for x in brain.knowledge.jobs(caller).data] == ["purge"]
    work()
    assert brain.knowledge.jobs(caller).data[0].status == "done"
    with pytest.raises(NotFound):
        brain.knowledge.delete(caller, kb)
    brain.knowledge.create(caller, name=kb)
