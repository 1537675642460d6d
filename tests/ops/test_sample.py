"""The sample laws come once, whole, and only where there is nothing of that name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qzbrain.brain import build
from qzbrain.domain import Caller, KnowledgeBase
from qzbrain.errors import NotFound
from qzbrain.ops import sample
from qzbrain.settings import Settings


def laws(settings: Settings) -> KnowledgeBase:
    brain = build(settings)
    try:
        return brain.knowledge.knowledge_base(brain.access.local_caller(), sample.NAME)
    finally:
        brain.close()


def test_a_first_start_brings_every_law(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    assert sample.needed(settings)
    sample.add(settings)
    assert laws(settings).documents.total == len(list(sample.FOLDER.glob("*.md"))) >= 12
    assert not sample.needed(settings)


def test_deleted_laws_do_not_come_back(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    sample.add(settings)
    brain = build(settings)
    brain.knowledge.delete(brain.access.local_caller(), sample.NAME)
    brain.close()
    assert not sample.needed(settings)
    with pytest.raises(NotFound):
        laws(settings)


def test_an_interrupted_first_start_is_completed(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings()
    with monkeypatch.context() as patched:
        patched.setattr("qzbrain.knowledge.documents.Documents.add_files", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sample.add(settings)
    assert laws(settings).documents.total == 0
    assert sample.needed(settings)
    sample.add(settings)
    assert laws(settings).documents.total >= 12


def test_a_knowledge_base_of_that_name_made_before_is_left_alone(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    brain = build(settings)
    brain.knowledge.create(brain.access.local_caller(), name=sample.NAME, title="mine")
    brain.close()
    assert sample.needed(settings)
    sample.add(settings)
    assert (laws(settings).title, laws(settings).documents.total) == ("mine", 0)
    assert not sample.needed(settings)


def test_a_new_database_gets_it_again(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    sample.add(settings)
    for path in settings.data.glob("brain.sqlite*"):
        path.unlink()
    assert sample.needed(settings)


def test_the_laws_keep_their_notice_and_their_order() -> None:
    assert "MIT License" in (sample.FOLDER / "LICENSE").read_text(encoding="utf-8")
    code = (sample.FOLDER / "中华人民共和国民法典.md").read_text(encoding="utf-8")
    assert code.startswith("# 中华人民共和国民法典")
    assert code.index("**第一条**") < code.index("**第一千零四十二条**") < code.index("**第一千二百六十条**")


def test_everybody_may_read_the_sample_where_there_are_accounts(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(qzbrain_accounts="on")
    sample.add(settings)
    brain = build(settings)
    local = brain.access.local_caller()
    assert [(one.group, one.right) for one in brain.accounts.grants.of(local, sample.NAME).grants] == [("everyone", "read")]
    made = brain.accounts.users.create(local, name="ann")
    reader = Caller(made.id, "ann")
    kb = brain.knowledge.knowledge_base(reader, sample.NAME)
    assert not brain.access.allows(reader, "write", kb.id)
    brain.close()
