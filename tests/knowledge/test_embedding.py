"""Chunks get their vectors in the background, from a real llama.cpp engine, and keep them through everything that goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select, update

from qzbrain.brain import Brain, build
from qzbrain.domain import Caller
from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.settings import ROOT, Settings
from qzbrain.storage.tables import chunks, jobs, vector_spaces, vectors
from qzbrain.worker import Workplace
from tests.servers.embedding_engine import TINY, EmbeddingEngine

TEXTS = {
    "采购": "第一条 采购金额超过五十万元的，须经董事会批准。\n\n第二条 供应商应当每年评审一次。",
    "请假": "第一条 员工请假三天以上的，须由部门经理批准。\n\n第二条 病假须附医院证明。",
    "保密": "第一条 涉密文件不得带离办公区。\n\n第二条 离职人员应当签署保密承诺书。",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddingEngine]:
    """One engine for the tests of this module; a test that kills it starts it again."""
    made = EmbeddingEngine(TINY).start()
    yield made
    made.kill()


def with_embedder(engine: EmbeddingEngine, name: str = "tiny", **more: object) -> dict[str, object]:
    """Settings of a brain that embeds with this engine."""
    model = {"engine": "external", "base_url": engine.base_url, "kind": "embedding", "context": 512, **more}
    return {"qzbrain_embedder": name, "models": {name: model}}


@pytest.fixture
def embedding(make_settings: Callable[..., Settings], engine: EmbeddingEngine) -> Iterator[Brain]:
    """A brain with an embedder and one knowledge base, `rules`."""
    made = build(make_settings(**with_embedder(engine)))
    made.knowledge.create(made.access.local_caller("zh"), name="rules")
    yield made
    made.close()


def me(brain: Brain) -> Caller:
    return brain.access.local_caller("zh")


def add(brain: Brain, names: list[str]) -> dict[str, str]:
    """Documents, read and indexed; ids by name."""
    return {name: brain.knowledge.add_text(me(brain), "rules", name=f"{name}.txt", text=TEXTS.get(name, name * 40)).id for name in names}


def work(brain: Brain, until: Callable[[], bool] | None = None, seconds: float = 30.0) -> None:
    """Be the worker until `until()`, by default until no job is left."""
    deadline = time.monotonic() + seconds
    over = False

    def done() -> bool:
        nonlocal over
        assert time.monotonic() < deadline, "the work did not end in time"
        over = over or (until() if until is not None else not open_jobs(brain))  # yes stays yes: what stops is given back
        return over

    Workplace(brain).run(done)


def open_jobs(brain: Brain) -> list[str]:
    return [row.kind for row in brain.db.rows(select(jobs.c.kind).where(jobs.c.status.in_(("pending", "running"))))]


def counts(brain: Brain) -> tuple[int, int]:
    """Chunks, and vectors in SQL."""
    return tuple(brain.db.rows(select(func.count()).select_from(x))[0][0] for x in (chunks, vectors))  # type: ignore[return-value]


def kb_id(brain: Brain) -> str:
    return brain.knowledge.knowledge_base(me(brain), "rules").id


def test_documents_are_ready_first_and_their_vectors_follow(embedding: Brain) -> None:
    ids = add(embedding, list(TEXTS))
    work(embedding)
    space = embedding.spaces.active(kb_id(embedding))
    assert space is not None and space.embedder == "tiny" and not space.refused
    had, made = counts(embedding)
    assert had == made == embedding.vectors.count(space.id) > 0
    assert embedding.embedder is not None
    question = embedding.embedder.embed_query(TEXTS["请假"].split("\n")[0], timeout_s=10)
    assert embedding.vectors.search(space.id, question, top_k=1)[0].document_id == ids["请假"]


def test_what_is_added_later_continues_the_same_space_and_what_is_deleted_leaves_it(embedding: Brain) -> None:
    ids = add(embedding, ["采购", "请假"])
    work(embedding)
    first = embedding.spaces.active(kb_id(embedding))
    add(embedding, ["保密"])
    embedding.knowledge.delete_document(me(embedding), ids["采购"])
    assert not embedding.db.rows(select(vectors.c.chunk_id).where(vectors.c.document_id == ids["采购"])), "gone with the document, not later"
    work(embedding)
    space = embedding.spaces.active(kb_id(embedding))
    assert first is not None and space is not None and space.id == first.id
    had, made = counts(embedding)
    assert had == made == embedding.vectors.count(space.id)


def test_a_deleted_knowledge_base_leaves_no_space(embedding: Brain) -> None:
    add(embedding, ["采购"])
    work(embedding)
    space = embedding.spaces.active(kb_id(embedding))
    assert space is not None
    embedding.knowledge.delete(me(embedding), "rules")
    work(embedding)
    assert not embedding.db.rows(select(vector_spaces.c.id)) and counts(embedding) == (0, 0)
    assert embedding.vectors.upto(space.id) == -1


def test_a_lost_store_is_built_again_from_the_database(embedding: Brain) -> None:
    add(embedding, list(TEXTS))
    work(embedding)
    space = embedding.spaces.active(kb_id(embedding))
    assert space is not None
    embedding.vectors.drop(space.id)
    add(embedding, ["新制度"])
    work(embedding)
    had, made = counts(embedding)
    assert had == made == embedding.vectors.count(space.id)


def test_an_engine_that_is_away_is_waited_for_and_the_job_says_so(embedding: Brain, engine: EmbeddingEngine) -> None:
    engine.kill()
    try:
        add(embedding, ["采购"])
        waits = select(jobs.c.reason_code, jobs.c.attempts).where(jobs.c.kind == "embed", jobs.c.reason_code.is_not(None))
        work(embedding, lambda: bool(embedding.db.rows(waits)))
        reason, attempts = embedding.db.rows(waits)[0]
        assert reason == "engine_unavailable" and attempts == 0
    finally:
        engine.start()
    with embedding.db.write() as connection:
        connection.execute(update(jobs).values(run_after=0))
    work(embedding)
    assert counts(embedding)[1] == counts(embedding)[0] > 0


def test_an_ingest_does_not_wait_for_the_fill(embedding: Brain) -> None:
    add(embedding, [f"规定{x}" for x in range(30)])
    work(embedding, lambda: open_jobs(embedding) == ["embed"])
    late = brain_adds_during_the_fill(embedding)
    document = embedding.knowledge.document(me(embedding), late)
    assert document.status == "ready"
    work(embedding)
    assert counts(embedding)[1] == counts(embedding)[0]


def brain_adds_during_the_fill(brain: Brain) -> str:
    """A document added when the fill has begun; returns when it is ready, with the fill still open."""
    added: list[str] = []

    def until() -> bool:
        begun = brain.db.rows(select(jobs.c.id).where(jobs.c.kind == "embed", jobs.c.progress_done > 0))
        if begun and not added:
            added.extend(add(brain, ["迟到的规定"]).values())
        return bool(added) and brain.knowledge.document(me(brain), added[0]).status == "ready"

    work(brain, until)
    return added[0]


def test_vectors_of_another_embedder_are_refused_and_not_extended(embedding: Brain, engine: EmbeddingEngine, make_settings: Callable[..., Settings]) -> None:
    add(embedding, ["采购"])
    work(embedding)
    before = counts(embedding)[1]
    other = build(make_settings(**with_embedder(engine, "other")))
    try:
        add(other, ["请假"])
        work(other)
        space = other.spaces.active(kb_id(other))
        assert space is not None and space.refused and counts(other)[1] == before
    finally:
        other.close()


def test_another_model_under_the_same_name_is_recognised(embedding: Brain, engine: EmbeddingEngine, make_settings: Callable[..., Settings]) -> None:
    add(embedding, ["采购"])
    work(embedding)
    other = build(make_settings(**with_embedder(engine, passage_prefix="something else entirely, in many words: ")))
    try:
        add(other, ["请假"])
        work(other)
        space = other.spaces.active(kb_id(other))
        assert space is not None and space.refused
    finally:
        other.close()


def test_a_worker_killed_in_the_middle_goes_on_where_it_was(embedding: Brain, engine: EmbeddingEngine) -> None:
    add(embedding, [f"规定{x}" for x in range(300)])
    work(embedding, lambda: open_jobs(embedding) == ["embed"])
    config = embedding.settings.data / "config.toml"
    config.write_text(f'[models.tiny]\nengine = "external"\nkind = "embedding"\ncontext = 512\nbase_url = "{engine.base_url}"\n', encoding="utf-8")
    environment = {**os.environ, "QZBRAIN_DATA": str(embedding.settings.data), "QZBRAIN_EMBEDDER": "tiny"}
    worker = subprocess.Popen([sys.executable, "-m", "qzbrain.worker"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: counts(embedding)[1] > 0)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    had, made = counts(embedding)
    kept = {row.chunk_id: row.vector for row in embedding.db.rows(select(vectors.c.chunk_id, vectors.c.vector))}
    assert made == len(kept) < had, "killed in the middle"
    work(embedding)
    after = {row.chunk_id: row.vector for row in embedding.db.rows(select(vectors.c.chunk_id, vectors.c.vector))}
    assert len(after) == had and all(after[x] == kept[x] for x in kept)
    space = embedding.spaces.active(kb_id(embedding))
    assert space is not None and embedding.vectors.count(space.id) == had


def wait_until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def test_stored_vectors_are_of_unit_length(embedding: Brain) -> None:
    add(embedding, list(TEXTS))
    work(embedding)
    rows = embedding.db.rows(select(vectors.c.vector))
    lengths = [np.linalg.norm(np.frombuffer(row.vector, "<f2").astype(np.float32)) for row in rows]
    assert np.allclose(lengths, 1.0, atol=2e-3)


def test_without_an_embedder_nothing_is_embedded_and_numpy_stays_out(tmp_path: Path) -> None:
    script = (
        "import sys; from qzbrain.settings import Settings; from qzbrain.brain import build; from qzbrain.worker import Workplace\n"
        f"brain = build(Settings(qzbrain_data={str(tmp_path / 'data')!r}, qzbrain_embedder='none')); caller = brain.access.local_caller('zh')\n"
        "brain.knowledge.create(caller, name='rules'); one = brain.knowledge.add_text(caller, 'rules', name='a.txt', text='采购金额')\n"
        "Workplace(brain).run(lambda: brain.knowledge.document(caller, one.id).status == 'ready')\n"
        "assert brain.embedding is None and 'numpy' not in sys.modules and 'qzbrain.knowledge.embedding' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=60)


def state(brain: Brain) -> dict[str, Any]:
    """The knowledge base's `manifest`."""
    return dict(brain.knowledge.knowledge_base(me(brain), "rules").manifest)


def test_the_knowledge_base_tells_its_state(embedding: Brain, engine: EmbeddingEngine, make_settings: Callable[..., Settings]) -> None:
    assert state(embedding)["state"] == "none"
    add(embedding, list(TEXTS))
    work(embedding, lambda: open_jobs(embedding) == ["embed"])
    assert state(embedding)["state"] == "building"
    work(embedding)
    shown = state(embedding)
    assert (shown["state"], shown["embedder"], shown["progress"], shown["reason"]) == ("active", "tiny", None, None)
    assert shown["width"] == embedding.spaces.active(kb_id(embedding)).width  # type: ignore[union-attr]
    other = build(make_settings(**with_embedder(engine, "other")))
    assert state(other)["state"] == "refused" and "kb reembed" in state(other)["reason"]["en"]
    other.close()
    without = build(make_settings())
    assert state(without)["reason"]["code"] == "no_embedder"
    without.close()


def test_embedding_anew_with_another_model_takes_over_and_can_be_undone(
    embedding: Brain, engine: EmbeddingEngine, make_settings: Callable[..., Settings]
) -> None:
    add(embedding, list(TEXTS))
    work(embedding)
    first = embedding.spaces.active(kb_id(embedding))
    other = build(make_settings(**with_embedder(engine, "other")))
    try:
        job = other.knowledge.reembed(me(other), "rules")
        work(other)
        assert other.knowledge.job(me(other), job).status == "done"
        second = other.spaces.active(kb_id(other))
        assert first is not None and second is not None and second.embedder == "other" and not second.refused
        assert other.vectors.count(second.id) == counts(other)[0]
        with pytest.raises(Conflict):
            other.knowledge.roll_back(me(other), "rules")  # its model is not the one in use
    finally:
        other.close()
    add(embedding, ["新制度"])
    embedding.knowledge.roll_back(me(embedding), "rules")
    work(embedding)
    back = embedding.spaces.active(kb_id(embedding))
    assert back is not None and back.id == first.id and not back.refused
    assert embedding.vectors.count(back.id) == counts(embedding)[0], "what was added meanwhile has its vector there too"


def test_embedding_anew_with_the_same_model_is_judged_first(embedding: Brain) -> None:
    add(embedding, list(TEXTS))
    work(embedding)
    job = embedding.knowledge.reembed(me(embedding), "rules")
    work(embedding, lambda: embedding.knowledge.job(me(embedding), job).status == "running")
    add(embedding, ["新制度"])
    work(embedding)
    result = embedding.knowledge.job(me(embedding), job).result
    assert result is not None and result["evaluation"]["questions"] > 0 and result["evaluation"]["new"] >= result["evaluation"]["old"] > 0
    space = embedding.spaces.active(kb_id(embedding))
    assert space is not None and embedding.vectors.count(space.id) == counts(embedding)[0]


def test_another_embedder_than_the_one_in_use_is_not_taken_for_embedding_anew(embedding: Brain) -> None:
    with pytest.raises(InvalidRequest, match="QZBRAIN_EMBEDDER=bge-m3"):
        embedding.knowledge.reembed(me(embedding), "rules", embedder="bge-m3")
    with pytest.raises(Conflict, match="no vectors to go back to"):
        embedding.knowledge.roll_back(me(embedding), "rules")


def test_a_cancelled_fill_stops_and_a_retry_ends_it(embedding: Brain) -> None:
    add(embedding, [f"规定{x}" for x in range(30)])
    work(embedding, lambda: open_jobs(embedding) == ["embed"])
    job = embedding.db.rows(select(jobs.c.id).where(jobs.c.kind == "embed"))[0].id
    cancelled: list[str] = []

    def until() -> bool:
        begun = embedding.db.rows(select(jobs.c.id).where(jobs.c.id == job, jobs.c.progress_done > 0))
        if begun and not cancelled:
            cancelled.append(embedding.knowledge.cancel_job(me(embedding), job).id)
        return bool(cancelled) and not open_jobs(embedding)

    work(embedding, until)
    assert counts(embedding)[1] < counts(embedding)[0]
    embedding.knowledge.retry_job(me(embedding), job)
    work(embedding)
    assert counts(embedding)[1] == counts(embedding)[0]


def test_all_of_it_on_a_mysql_server(engine: EmbeddingEngine, make_settings: Callable[..., Settings], mysql: dict[str, object]) -> None:
    brain = build(make_settings(**mysql, **with_embedder(engine)))
    try:
        brain.knowledge.create(me(brain), name="rules")
        ids = add(brain, list(TEXTS))
        work(brain)
        space = brain.spaces.active(kb_id(brain))
        assert space is not None and state(brain)["state"] == "active"
        brain.knowledge.delete_document(me(brain), ids["采购"])
        brain.knowledge.reembed(me(brain), "rules", force=True)
        work(brain)
        anew = brain.spaces.active(kb_id(brain))
        assert anew is not None and anew.id != space.id
        assert counts(brain)[0] == brain.vectors.count(anew.id) == brain.vectors.count(space.id)
        brain.knowledge.roll_back(me(brain), "rules")
        work(brain)
        assert brain.spaces.active(kb_id(brain)) == space
        brain.knowledge.delete(me(brain), "rules")
        work(brain)
        assert not brain.db.rows(select(vector_spaces.c.id))
    finally:
        brain.close()


def test_a_large_fill_waits_until_nobody_asks(embedding: Brain, monkeypatch: pytest.MonkeyPatch) -> None:
    from qzbrain.knowledge import embedding as module

    monkeypatch.setattr(module, "_MANY_CHUNKS", 2)
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr(module, "_STARTS_AFTER_S", 0.4)
    add(embedding, list(TEXTS))
    asked_until = time.monotonic() + 1.5
    vectors_while_asked = []

    def quiet() -> bool:
        if time.monotonic() < asked_until:
            embedding.courtesy.note()
            vectors_while_asked.append(counts(embedding)[1])
            return False
        return not open_jobs(embedding)

    work(embedding, quiet)
    assert set(vectors_while_asked) == {0}
    assert embedding.spaces.active(kb_id(embedding)) is not None
    assert {row.attempts for row in embedding.db.rows(select(jobs.c.attempts).where(jobs.c.kind == "embed"))} == {1}, "putting it off is no attempt"


def test_vectors_follow_edits_and_leave_what_is_switched_off(embedding: Brain) -> None:
    ids = add(embedding, ["采购"])
    work(embedding)
    space = embedding.spaces.active(kb_id(embedding))
    assert space is not None
    one = embedding.knowledge.chunks(me(embedding), ids["采购"]).data[0]
    off = embedding.knowledge.edit_chunk(me(embedding), ids["采购"], one.id, enabled=False)
    assert counts(embedding)[1] == counts(embedding)[0] - 1, "gone with the edit"
    work(embedding)
    assert embedding.vectors.count(space.id) == counts(embedding)[1]
    made = embedding.knowledge.edit_chunk(me(embedding), ids["采购"], off.id, enabled=True, text="第一条 采购须经董事会批准。")
    work(embedding)
    had, there = counts(embedding)
    assert had == there == embedding.vectors.count(space.id)
    assert embedding.db.rows(select(vectors.c.chunk_id).where(vectors.c.chunk_id == made.id))
    embedding.knowledge.rechunk(me(embedding), "rules", chunk_chars=60, overlap_chars=0)
    work(embedding)
    had, there = counts(embedding)
    assert had == there == embedding.vectors.count(space.id)
