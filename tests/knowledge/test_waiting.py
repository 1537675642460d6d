"""What is shown of documents that wait and of those that are being read: a reason, a place, a rate, the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import update

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller, Document
from qzbrain.errors import StorageFull
from qzbrain.jobs import leases
from qzbrain.jobs.lock import WorkerLock
from qzbrain.storage.tables import documents as documents_table
from qzbrain.web import render
from qzbrain.worker import Workplace

Add = Callable[..., AddedDocument]
Shown = Callable[[], dict[str, Document]]


@pytest.fixture
def worker(brain: Brain) -> Iterator[WorkerLock]:
    """Somebody holds the data folder, as a worker would."""
    lock = WorkerLock(brain.settings.data)
    assert lock.acquire()
    yield lock
    lock.release()


def _places(shown: dict[str, Document]) -> dict[str, tuple[str, int | None] | None]:
    return {name: None if one.waiting is None else (one.waiting.code, one.waiting.place) for name, one in shown.items()}


def test_each_waiting_document_has_its_place_in_the_line(brain: Brain, caller: Caller, worker: WorkerLock, add: Add, documents: Shown) -> None:
    added = [add(f"第{n}份文件。", f"{n}.txt") for n in range(4)]
    assert _places(documents()) == {f"{n}.txt": ("in_line", n + 1) for n in range(4)}
    brain.knowledge.cancel_job(caller, str(added[1].job_id))
    assert _places(documents()) == {"0.txt": ("in_line", 1), "1.txt": None, "2.txt": ("in_line", 2), "3.txt": ("in_line", 3)}
    job = brain.knowledge.job(caller, str(added[3].job_id))
    assert job.waiting is not None and job.waiting.place == 3
    assert {x.waiting.place for x in brain.knowledge.jobs(caller, "pending").data if x.waiting} == {1, 2, 3}


def test_without_a_worker_that_is_the_reason(add: Add, documents: Shown) -> None:
    add("文件。")
    shown = render.document(documents()["a.txt"], "en")
    assert shown["waiting_for"]["code"] == "no_worker" and "not running" in shown["waiting_for"]["message"]
    assert shown["waiting_for"]["position"] == 1 and shown["progress"]["eta_s"] is None


def test_what_a_job_waits_out_is_the_reason(brain: Brain, worker: WorkerLock, add: Add, documents: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    add("文件。")
    place = Workplace(brain)

    def full(_leases: object) -> None:
        raise StorageFull

    kinds = place.kinds | {"ingest": leases.Kind(full, waits=place.kinds["ingest"].waits)}
    assert brain.jobs.work(kinds)
    shown = render.document(documents()["a.txt"], "zh")
    assert shown["waiting_for"]["code"] == StorageFull().code and shown["status"] == "pending"


def test_progress_has_a_rate_and_the_time_left(
    brain: Brain, caller: Caller, add: Add, documents: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = str(add("文件。").job_id)
    with brain.db.write() as connection:
        connection.execute(update(documents_table).values(status="running", stage="parse"))
    (lease,) = brain.jobs.claim(Workplace(brain).kinds)
    now = 1000.0
    monkeypatch.setattr(leases.time, "monotonic", lambda: now)
    lease.progress("parse", 10, 100, "pages")
    now += 10
    lease.progress("parse", 60, 100, "pages")
    for shown in (render.document(documents()["a.txt"], "zh"), render.job(brain.knowledge.job(caller, job_id), "zh")):
        assert shown["progress"] == {"done": 60, "total": 100, "unit": "pages", "rate": 5.0, "eta_s": 8}
        assert shown["waiting_for"] is None
    now += 10
    lease.progress("chunk", 7, 70, "chunks")
    assert render.document(documents()["a.txt"], "zh")["progress"]["rate"] == 0
