"""Gathering from SQL while documents come, go and change their level: every one is found afterwards, and none that should not be."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
from knowledge_rows import Writer
from sqlalchemy import insert, select, update

from qzbrain.brain import Brain
from qzbrain.errors import IndexUnavailable
from qzbrain.retrieval.base import LexicalHit, Parts
from qzbrain.retrieval.embedded import parts
from qzbrain.retrieval.embedded.lexical import TantivyIndex
from qzbrain.retrieval.feeder import Feeder
from qzbrain.storage.tables import chunks, documents, outbox

TERMS = ("罚款", "合同", "采购", "验收", "付款", "警告", "批准", "登记", "许可", "海关")
SECRET = 4


def text(number: int) -> str:
    return "，".join(random.Random(number).choices(TERMS, k=9)) + f"，编号{number}。"


def answers(index: TantivyIndex, kb_id: str) -> list[list[LexicalHit]]:
    return [index.search(kb_id, term, top_k=5000, max_level=level) for term in TERMS for level in (None, SECRET - 1)]


def relevel(brain: Brain, kb_id: str, document_id: str, level: int) -> None:
    with brain.db.write() as connection:
        connection.execute(update(documents).where(documents.c.id == document_id).values(level=level))
        connection.execute(insert(outbox), {"kb_id": kb_id, "op": "put", "document_id": document_id})


def segments(brain: Brain, kb_id: str) -> int:
    folder = brain.settings.index_path / kb_id
    return len(parts.segments(folder / (folder / "current").read_text()))


class Grown:
    """A knowledge base in four parts, and its documents."""

    def __init__(self, brain: Brain, write: Writer) -> None:
        self.brain, self.write, self.kb_id = brain, write, write.kb("kb")
        self.names: list[str] = []
        for amount in (40, 30, 20, 10):
            self.add(amount)
            write.catch_up("kb")

    def add(self, amount: int) -> None:
        for _ in range(amount):
            n = len(self.names)
            self.names.append(self.write.put("kb", f"文件{n}", [("", text(2 * n)), ("", text(2 * n + 1))]))

    def chunk_ids(self, name: str) -> set[int]:
        return {row.id for row in self.brain.db.rows(select(chunks.c.id).where(chunks.c.document_id == name))}

    def found(self, max_level: int | None = None) -> set[int]:
        return {hit.chunk_id for term in TERMS for hit in self.brain.index.search(self.kb_id, term, top_k=5000, max_level=max_level)}

    def check(self, folder: Path) -> None:
        """The index holds what SQL holds, in the same order with the same scores as one that is built now; nothing lies beside it."""
        fresh = TantivyIndex(folder)
        Feeder(self.brain.db, fresh).rebuild(self.kb_id)
        assert self.brain.index.chunk_count(self.kb_id) == fresh.chunk_count(self.kb_id)
        if self.brain.index.deleted_share(self.kb_id) == 0:
            assert answers(self.brain.index, self.kb_id) == answers(fresh, self.kb_id)  # type: ignore[arg-type]
        for level in (None, SECRET - 1):
            assert self.found(level) == {hit.chunk_id for term in TERMS for hit in fresh.search(self.kb_id, term, top_k=5000, max_level=level)}
        assert len([path for path in (self.brain.settings.index_path / self.kb_id).iterdir() if path.is_dir()]) == 1


@pytest.fixture
def grown(brain: Brain, write: Writer, monkeypatch: pytest.MonkeyPatch) -> Grown:
    monkeypatch.setattr(parts, "FEWEST", 50)
    return Grown(brain, write)


def at(chunk: int, happens: Callable[[], object]) -> Callable[[], bool]:
    """Goes on; before this chunk something happens."""
    count = iter(range(10**9))

    def goes_on() -> bool:
        if next(count) == chunk:
            happens()
        return True

    return goes_on


def test_at_rest(grown: Grown, tmp_path: Path) -> None:
    before = answers(grown.brain.index, grown.kb_id)  # type: ignore[arg-type]
    assert segments(grown.brain, grown.kb_id) == 4 and grown.brain.feeder.gather(grown.kb_id)
    assert segments(grown.brain, grown.kb_id) == 1 and answers(grown.brain.index, grown.kb_id) == before  # type: ignore[arg-type]
    assert not grown.brain.feeder.gather(grown.kb_id), "there is nothing to gain"
    grown.check(tmp_path / "fresh")


def test_both_shelves_have_their_own(grown: Grown) -> None:
    assert grown.brain.feeder.parts(grown.kb_id) is not None and grown.brain.feeder.parts(f"{grown.kb_id}.facts") is None


@pytest.mark.parametrize("chunk", [0, 100, 199])
@pytest.mark.parametrize("by", ["this feeder", "another process"])
@pytest.mark.parametrize("what", ["added", "deleted", "levelled", "replaced", "disabled", "purged"])
def test_what_is_indexed_meanwhile_wins(grown: Grown, tmp_path: Path, what: str, by: str, chunk: int) -> None:
    brain, kb_id, victim = grown.brain, grown.kb_id, grown.names[5]
    feeder = brain.feeder if by == "this feeder" else Feeder(brain.db, TantivyIndex(brain.settings.index_path))
    was = grown.chunk_ids(victim)

    def happens() -> None:
        if what == "added":
            grown.add(3)
        elif what == "levelled":
            relevel(brain, kb_id, victim, SECRET)
        elif what == "replaced":
            grown.write.replace("kb", victim, "文件", [("", text(5000))])
        elif what == "disabled":
            with brain.db.write() as connection:
                connection.execute(update(chunks).where(chunks.c.document_id == victim).values(disabled=1))
                connection.execute(insert(outbox), {"kb_id": kb_id, "op": "put", "document_id": victim})
        else:
            grown.write.delete("kb", victim)
        feeder.catch_up(kb_id)
        if what == "purged":
            feeder.rebuild(kb_id)

    assert not brain.feeder.gather(kb_id, at(chunk, happens))
    assert bool(grown.found(SECRET - 1) & was) == (what == "added")
    assert bool(grown.found() & was) == (what in ("added", "levelled"))
    assert not brain.db.rows(select(outbox))
    grown.check(tmp_path / "fresh")
    if what != "purged":
        assert brain.feeder.gather(kb_id) and segments(brain, kb_id) == 1 and brain.index.deleted_share(kb_id) == 0
    grown.check(tmp_path / "again")


@pytest.mark.parametrize("chunk", [0, 100, 199])
@pytest.mark.parametrize("what", ["added", "deleted", "levelled"])
def test_what_is_only_in_sql_yet_is_applied_afterwards(grown: Grown, tmp_path: Path, what: str, chunk: int) -> None:
    victim = grown.names[-1]
    was = grown.chunk_ids(victim)
    happens: dict[str, Callable[[], None]] = {
        "added": lambda: grown.add(3),
        "deleted": lambda: grown.write.delete("kb", victim),
        "levelled": lambda: relevel(grown.brain, grown.kb_id, victim, SECRET),
    }
    assert grown.brain.feeder.gather(grown.kb_id, at(chunk, happens[what]))
    assert segments(grown.brain, grown.kb_id) == 1 and grown.brain.db.rows(select(outbox)), "still to be applied"
    grown.write.catch_up("kb")
    assert bool(grown.found(SECRET - 1) & was) == (what == "added")
    assert not grown.brain.db.rows(select(outbox))
    grown.check(tmp_path / "fresh")


@pytest.mark.parametrize("what", ["deleted", "levelled"])
def test_what_another_process_has_indexed_before_its_first_turn_is_in_it(grown: Grown, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL is read after the watermark is known, never before."""
    victim, other = grown.names[5], Feeder(grown.brain.db, TantivyIndex(grown.brain.settings.index_path))
    was = grown.chunk_ids(victim)

    class Turn(AbstractContextManager[None]):
        def __enter__(self) -> None:
            if was & grown.found(SECRET - 1):
                if what == "deleted":
                    grown.write.delete("kb", victim)
                else:
                    relevel(grown.brain, grown.kb_id, victim, SECRET)
                other.catch_up(grown.kb_id)

        def __exit__(self, *_given: object) -> None:
            pass

    monkeypatch.setattr(grown.brain.feeder, "_turn", Turn())
    assert grown.brain.feeder.gather(grown.kb_id)
    assert not grown.found(SECRET - 1) & was and bool(grown.found() & was) == (what == "levelled")


def test_a_knowledge_base_that_is_deleted_meanwhile_stays_deleted(grown: Grown) -> None:
    def drop() -> None:
        with grown.brain.db.write() as connection:
            connection.execute(insert(outbox), {"kb_id": grown.kb_id, "op": "drop", "document_id": ""})
        grown.brain.feeder.catch_up(grown.kb_id)

    assert not grown.brain.feeder.gather(grown.kb_id, at(100, drop))
    assert not (grown.brain.settings.index_path / grown.kb_id).exists()


def test_while_another_thread_and_another_process_write_all_the_time(grown: Grown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of it comes to an end, some does not; whatever happens, what was acknowledged is found, and what is gone is not."""
    monkeypatch.setattr(parts, "parts", lambda _generation, _now: Parts(100, 9, 100.0))
    brain, kb_id, chance = grown.brain, grown.kb_id, random.Random(11)
    other, end, failures = Feeder(brain.db, TantivyIndex(brain.settings.index_path)), threading.Event(), list[BaseException]()
    pause = threading.Event()

    def write() -> None:
        try:
            while not end.is_set():
                _change(grown, chance)
                with suppress(IndexUnavailable):  # another writes
                    chance.choice((brain.feeder, other)).catch_up(kb_id)
                pause.wait(chance.choice((0, 0, 0.01, 0.1, 0.3)))
        except BaseException as exc:
            failures.append(exc)

    writer, until = threading.Thread(target=write), time.monotonic() + 60
    writer.start()
    done: list[bool] = []
    while min(done.count(True), done.count(False)) < 10 and not failures and time.monotonic() < until:
        with suppress(IndexUnavailable):
            done.append(brain.feeder.gather(kb_id))
    end.set()
    writer.join(30)
    assert {True, False} == set(done)
    assert failures == []
    brain.feeder.catch_up(kb_id)
    live = {row.id for row in brain.db.rows(select(chunks.c.id))}
    secret = {row.id for row in brain.db.rows(select(chunks.c.id).join(documents, documents.c.id == chunks.c.document_id).where(documents.c.level == SECRET))}
    assert secret and (grown.found(), grown.found(SECRET - 1)) == (live, live - secret)
    grown.check(tmp_path / "fresh")


def _change(grown: Grown, chance: random.Random) -> None:
    name, what = grown.names[chance.randrange(len(grown.names))], chance.randrange(3)
    if what == 0:
        grown.add(1)
    elif what == 1:
        grown.write.delete("kb", name)
    else:
        relevel(grown.brain, grown.kb_id, name, chance.choice((1, SECRET)))
