"""One document that takes long, and what was uploaded after it: it goes to a lane of its own and holds up nobody."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from qzbrain.brain import Brain, build
from qzbrain.domain import AddedDocument, Caller, Document
from qzbrain.errors import Conflict
from qzbrain.knowledge import ingest
from qzbrain.settings import Settings
from qzbrain.worker import Workplace
from tests.knowledge.conftest import texts_found

_FILLER = "文件。" * 8000
_HOSTILE = (sys.executable, str(Path(__file__).parent / "hostile_child.py"))
Shown = Callable[[], dict[str, Document]]
Add = Callable[..., AddedDocument]


class Worker:
    """A worker in a thread of the test, whose reading children do what the texts say."""

    def __init__(self, settings: Settings) -> None:
        self._brain = build(settings)
        self._end = threading.Event()
        self.workplace = Workplace(self._brain, _HOSTILE)
        self._thread = threading.Thread(target=lambda: self.workplace.run(self._end.is_set))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._brain.close()


@pytest.fixture
def worker(brain: Brain, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(ingest, "PATIENCE_S", 2)
    made = Worker(brain.settings)
    yield made
    made.stop()


def _until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 40
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _states(shown: dict[str, Document]) -> dict[str, str]:
    return {name: one.status for name, one in shown.items()}


def test_what_comes_after_a_long_document_does_not_wait_for_it(
    brain: Brain, caller: Caller, kb: str, add: Add, documents: Shown, worker: Worker
) -> None:
    long = add(f"FOREVER {_FILLER}", "scan.pdf")
    small = [add(f"第{n}份文件：独角兽须登记。", f"{n}.txt") for n in range(20)]
    worker.start()
    _until(lambda: all(documents()[x.name].status == "ready" for x in small), "the small ones are ready")
    assert documents()["scan.pdf"].status in ("pending", "running")
    _until(lambda: documents()["scan.pdf"].progress_unit == "pages" and documents()["scan.pdf"].progress_rate > 0, "its progress is shown")
    assert brain.knowledge.job(caller, str(long.job_id)).kind == ingest.LONG
    brain.knowledge.delete_document(caller, str(small[0].id))
    added = add("麒麟须登记。", "later.txt")
    _until(lambda: documents()["later.txt"].status == "ready", "what comes later is done beside it")
    assert texts_found(brain, caller, "麒麟") == ["麒麟须登记。"]
    _until(lambda: not brain.jobs.unfinished([x.id for x in brain.jobs.jobs(limit=100).data if x.kind == "purge"]), "the purge is done beside it")
    brain.knowledge.cancel_job(caller, str(long.job_id))
    shown = documents()["scan.pdf"]
    assert (shown.status, shown.reason_code, added.duplicate) == ("failed", "cancelled", False)


def test_a_long_document_ends_ready_and_is_found(brain: Brain, caller: Caller, add: Add, documents: Shown, worker: Worker) -> None:
    long = add(f"STEPS 采购须经批准。\n\n{_FILLER}", "slow.txt")
    add("文件。", "quick.txt")
    worker.start()
    _until(lambda: set(_states(documents()).values()) == {"ready"}, "both are ready")
    assert texts_found(brain, caller, "采购由谁批准")[0].startswith("STEPS 采购须经批准。")
    assert brain.jobs.get(str(long.job_id)).kind == ingest.LONG


def test_what_is_large_or_like_one_that_took_long_is_not_tried_first(
    brain: Brain, caller: Caller, kb: str, add: Add, documents: Shown, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(f"FOREVER {_FILLER}", "1.pdf")
    like = [add(f"FOREVER {n} {_FILLER}", f"{n}.pdf") for n in range(2, 7)]
    monkeypatch.setattr(ingest, "_LARGE_BYTES", 1 << 20)
    large = add("文" * 400_000, "large.txt")
    add("文件。", "quick.txt")
    worker.start()
    _until(lambda: documents()["quick.txt"].status == "ready", "the small one is ready")
    kinds = {x.subject: x.kind for x in brain.jobs.jobs().data}
    assert {kinds[str(x.id)] for x in (*like, large)} == {ingest.LONG}
    for job in brain.jobs.jobs().data:
        with suppress(Conflict):  # it has ended
            brain.knowledge.cancel_job(caller, job.id)


def test_a_worker_that_is_stopped_gives_a_long_document_back(brain: Brain, caller: Caller, add: Add, documents: Shown, worker: Worker) -> None:
    job_id = str(add(f"FOREVER {_FILLER}", "scan.pdf").job_id)
    worker.start()
    _until(lambda: documents()["scan.pdf"].progress_done > 0 and brain.jobs.get(job_id).kind == ingest.LONG, "it is being read")
    worker.stop()
    job = brain.jobs.get(job_id)
    assert (job.status, job.kind, job.attempts) == ("pending", ingest.LONG, 0)


def test_a_cancelled_long_document_ends_its_child_and_can_be_tried_again(
    brain: Brain, caller: Caller, kb: str, documents: Shown, worker: Worker, add: Add
) -> None:
    job_id = str(add(f"FOREVER {_FILLER}", "scan.pdf").job_id)
    worker.start()
    _until(lambda: brain.jobs.get(job_id).kind == ingest.LONG and brain.jobs.get(job_id).status == "running", "it is being read")
    brain.knowledge.cancel_job(caller, job_id)
    brain.knowledge.add_file(caller, kb, "next.pdf", io.BytesIO(f"STEPS {_FILLER}".encode()))
    _until(lambda: documents()["next.pdf"].status == "ready", "the lane goes on with the next")
    assert documents()["scan.pdf"].reason_code == "cancelled"
    brain.knowledge.retry_job(caller, job_id)
    assert documents()["scan.pdf"].status == "pending" and documents()["scan.pdf"].reason_code is None
    _until(lambda: brain.jobs.get(job_id).status == "running", "it is tried again")
    brain.knowledge.cancel_job(caller, job_id)
