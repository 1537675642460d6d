"""The index holds exactly what SQL holds: after changes, replays, kills in the middle, damaged files and a full disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import orjson
import pytest
from knowledge_rows import Writer
from sqlalchemy import func, select

from qzbrain.brain import Brain
from qzbrain.errors import StorageFull
from qzbrain.retrieval.base import IndexChange, LexicalHit, NoIndex
from qzbrain.retrieval.embedded import schema
from qzbrain.retrieval.embedded.lexical import TantivyIndex
from qzbrain.retrieval.feeder import DocumentTokens, Feeder
from qzbrain.storage.tables import chunks, documents, outbox
from qzbrain.text.tokenize import index_tokens

QUESTIONS = ("罚款数额", "劳动合同 书面", "采购 验收 付款", "第三章")
TEXTS = ("罚款数额由规章设定。", "劳动合同应当以书面形式订立。", "采购验收合格后付款。", "第三章规定了程序。")


def waiting(brain: Brain) -> int:
    """Outbox rows."""
    return int(brain.db.rows(select(func.count()).select_from(outbox))[0][0])


def answers(index: TantivyIndex, kb_id: str) -> list[list[LexicalHit]]:
    """What an index says to all questions."""
    return [index.search(kb_id, question, top_k=50) for question in QUESTIONS]


def rebuilt(brain: Brain, kb_id: str, folder: Path) -> list[list[LexicalHit]]:
    """What a fresh index over the same SQL says."""
    index = TantivyIndex(folder)
    Feeder(brain.db, index).rebuild(kb_id)
    return answers(index, kb_id)


def fill(write: Writer, count: int) -> list[str]:
    """Documents with varied texts."""
    dice = random.Random(7)
    return [write.put("kb", f"文件{n}", [("", text) for text in dice.sample(TEXTS, dice.randint(1, 3))]) for n in range(count)]


def test_catch_up_applies_and_prunes(brain: Brain, write: Writer, tmp_path: Path) -> None:
    fill(write, 20)
    assert brain.feeder.catch_up(write.kb("kb")) == 20
    assert waiting(brain) == 0
    assert brain.feeder.catch_up(write.kb("kb")) == 0
    assert answers(brain.index, write.kb("kb")) == rebuilt(brain, write.kb("kb"), tmp_path / "fresh")


def test_replaced_and_deleted_documents(brain: Brain, write: Writer) -> None:
    first, second, third = fill(write, 3)
    write.catch_up("kb")
    write.replace("kb", first, "文件", [("", "海关申报的期限。")])
    write.delete("kb", second)
    late = write.put("kb", "文件四", [("", "检疫证书。")])
    write.delete("kb", late)
    write.catch_up("kb")
    ids = {hit.chunk_id for question in ("海关申报", "检疫证书", *QUESTIONS) for hit in brain.index.search(write.kb("kb"), question, top_k=50)}
    found = set(brain.db.rows(select(chunks.c.document_id).where(chunks.c.id.in_(ids))))
    assert {row.document_id for row in found} == {first, third}
    assert waiting(brain) == 0


def test_given_tokens_make_the_same_index(brain: Brain, write: Writer, tmp_path: Path) -> None:
    document = write.put("kb", "文件", [("", text) for text in TEXTS])
    other = write.put("kb", "文件二", [("", TEXTS[0])])
    headings = {heading: index_tokens(heading) for heading in ("文件", "文件二")}
    tokens = {document: DocumentTokens([index_tokens(text) for text in TEXTS], headings), other: DocumentTokens(["not", "as", "many"], {"文": "file"})}
    brain.feeder.catch_up(write.kb("kb"), tokens)
    assert answers(brain.index, write.kb("kb")) == rebuilt(brain, write.kb("kb"), tmp_path / "fresh")


def test_who_gives_all_tokens_does_without_the_dictionary(brain: Brain, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    document = write.put("kb", "文件", [("第一章 总则\n文件", text) for text in TEXTS])
    headings = {row.title for row in brain.db.rows(select(documents.c.title))} | {
        heading for row in brain.db.rows(select(chunks.c.heading_path)) for heading in orjson.loads(row.heading_path)
    }
    tokens = DocumentTokens([index_tokens(text) for text in TEXTS], {heading: index_tokens(heading) for heading in headings})
    assert brain.index.watermark(write.kb("kb")) < 0  # the first documents of a knowledge base make its index

    def refused(text: str) -> str:
        raise AssertionError(f"tokenised again: {text}")

    monkeypatch.setattr(schema, "index_tokens", refused)
    brain.feeder.catch_up(write.kb("kb"), {document: tokens})
    assert brain.index.chunk_count(write.kb("kb")) == len(TEXTS)


def test_rows_that_were_applied_but_not_pruned_change_nothing(brain: Brain, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(write, 5)
    write.catch_up("kb")
    fill(write, 5)

    def killed(feeder: Feeder, kb_id: str, last: int) -> int:
        raise RuntimeError("killed before pruning")

    with monkeypatch.context() as patched:
        patched.setattr(Feeder, "_prune", killed)
        with pytest.raises(RuntimeError):
            write.catch_up("kb")
    before = answers(brain.index, write.kb("kb"))
    assert waiting(brain) == 5
    write.catch_up("kb")
    assert (answers(brain.index, write.kb("kb")), waiting(brain)) == (before, 0)


def test_dropping_a_knowledge_base(brain: Brain, write: Writer) -> None:
    from sqlalchemy import insert

    fill(write, 3)
    write.catch_up("kb")
    with brain.db.write() as connection:
        connection.execute(insert(outbox), {"kb_id": write.kb("kb"), "op": "drop", "document_id": ""})
    write.catch_up("kb")
    assert (brain.index.chunk_count(write.kb("kb")), waiting(brain)) == (0, 0)
    assert not (brain.settings.index_path / write.kb("kb")).exists()


def test_much_deletion_compacts(brain: Brain, write: Writer) -> None:
    names = fill(write, 30)
    write.catch_up("kb")
    for name in names[:25]:
        write.delete("kb", name)
    write.catch_up("kb")
    assert brain.index.deleted_share(write.kb("kb")) == 0.0


@pytest.mark.parametrize("damage", ["pointer", "meta", "truncated", "removed", "flipped"])
def test_a_damaged_index_is_rebuilt(brain: Brain, write: Writer, damage: str) -> None:
    fill(write, 10)
    write.catch_up("kb")
    folder = brain.settings.index_path / write.kb("kb")
    before = answers(brain.index, write.kb("kb"))
    generation = folder / (folder / "current").read_text()
    parts = [part for part in generation.iterdir() if part.suffix in (".idx", ".term", ".fast")]
    if damage == "pointer":
        (folder / "current").write_text("nonsense/../..")
    elif damage == "meta":
        (generation / "meta.json").write_bytes(b'{"segments": [')
    for part in parts:
        data = part.read_bytes()
        if damage == "truncated":
            part.write_bytes(data[: len(data) // 2])
        elif damage == "removed":
            part.unlink()
        elif damage == "flipped":
            part.write_bytes(bytes(byte ^ 0x55 for byte in data))
    fresh = TantivyIndex(brain.settings.index_path)
    with pytest.raises(NoIndex):
        fresh.search(write.kb("kb"), QUESTIONS[0], top_k=5)
    assert Feeder(brain.db, fresh).ensure(write.kb("kb"))
    assert answers(fresh, write.kb("kb")) == before


def test_another_schema_is_rebuilt_beside_and_the_old_one_removed(brain: Brain, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(write, 4)
    write.catch_up("kb")
    folder = brain.settings.index_path / write.kb("kb")
    monkeypatch.setattr("qzbrain.retrieval.embedded.lexical.SCHEMA_HASH", "000000000000")
    newer = TantivyIndex(brain.settings.index_path)
    assert newer.watermark(write.kb("kb")) == -1
    assert Feeder(brain.db, newer).ensure(write.kb("kb"))
    assert [path.name.split("-")[0] for path in folder.iterdir() if path.is_dir()] == ["000000000000"]


def test_rows_that_come_while_rebuilding_are_applied_afterwards(brain: Brain, write: Writer, tmp_path: Path) -> None:
    fill(write, 70)
    kb_id = write.kb("kb")
    brain.feeder.rebuild(kb_id, lambda done, total: (write.put("kb", "后来的", [("", TEXTS[0])]), None)[1] if done == total else None)
    assert brain.feeder.catch_up(kb_id) >= 1
    assert answers(brain.index, kb_id) == rebuilt(brain, kb_id, tmp_path / "fresh")


def test_a_full_disk_is_named_and_loses_nothing(brain: Brain, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(write, 3)
    write.catch_up("kb")
    before = answers(brain.index, write.kb("kb"))
    fill(write, 3)

    def full(writer: object, changes: Iterable[IndexChange], watermark: int, present: object) -> int:
        list(changes)
        raise ValueError("An IO error occurred: 'No space left on device (os error 28)'")

    with monkeypatch.context() as patched:
        patched.setattr("qzbrain.retrieval.embedded.writing._add", full)
        with pytest.raises(StorageFull):
            write.catch_up("kb")
    assert (answers(brain.index, write.kb("kb")), waiting(brain)) == (before, 3)
    write.catch_up("kb")
    assert waiting(brain) == 0


CHILD = """
import sys
from pathlib import Path
from qzbrain.settings import Settings
from qzbrain.brain import build
brain = build(Settings(qzbrain_data=Path(sys.argv[1])))
print("go", flush=True)
brain.feeder.catch_up(sys.argv[2])
print("done", flush=True)
"""


def test_killed_at_any_moment_the_index_ends_as_a_rebuild(brain: Brain, write: Writer, tmp_path: Path) -> None:
    kb_id, dice = write.kb("kb"), random.Random(3)
    brain.feeder.catch_up(kb_id)
    for _ in range(4):
        fill(write, 150)
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(brain.settings.data), kb_id], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with child, child.stdout:
            assert child.stdout.readline() == "go\n"
            try:
                child.wait(dice.uniform(0.0, 0.25))
            except subprocess.TimeoutExpired:
                os.kill(child.pid, signal.SIGKILL)
    brain.feeder.catch_up(kb_id)
    assert waiting(brain) == 0
    assert answers(brain.index, kb_id) == rebuilt(brain, kb_id, tmp_path / "fresh")
