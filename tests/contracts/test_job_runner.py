"""What every job runner promises (see qzbrain/jobs/base.py). A new runner adds its harness to the fixture; the tests stay as they are."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from celery import Celery

from qzbrain.brain import Brain, build
from qzbrain.domain import JobRecord
from qzbrain.errors import Cancelled, Conflict, NotFound, ParseFailed, Unavailable
from qzbrain.jobs import broker
from qzbrain.jobs.base import MAX_ATTEMPTS, Handler, Job, JobContext, JobRunner
from qzbrain.jobs.celery import Announcer, CeleryRunner
from qzbrain.jobs.leases import Kind, LeaseRunner
from qzbrain.jobs.shift import Shift
from qzbrain.settings import Settings
from tests.servers.redis_server import RedisServer


class Harness(Protocol):
    """A runner with a worker and a clock that a test can turn."""

    runner: JobRunner

    def submit(self, kind: str, **options: Any) -> str: ...
    def work(self, handlers: dict[str, Handler]) -> None:
        """Let the worker do all that is due now, and return."""

    def pass_time(self, seconds: float) -> None: ...
    def job(self, job_id: str) -> JobRecord: ...
    def lose_worker(self, kind: str) -> None:
        """A worker takes the next job of this kind and is gone without a word; its lease runs out."""


class LeaseHarness:
    def __init__(self, brain: Brain) -> None:
        self._brain, self._now = brain, time.time()
        self.runner = self._new()

    def _new(self) -> LeaseRunner:
        return LeaseRunner(self._brain.db, clock=lambda: self._now)

    def submit(self, kind: str, **options: Any) -> str:
        with self._brain.db.write() as connection:
            return self.runner.submit(connection, kind, **options)

    def work(self, handlers: dict[str, Handler]) -> None:
        end = threading.Event()
        self._new().run(handlers, end.is_set, idle=lambda _: end.set())

    def pass_time(self, seconds: float) -> None:
        self._now += seconds

    def job(self, job_id: str) -> JobRecord:
        return self.runner.get(job_id)

    def lose_worker(self, kind: str) -> None:
        runner, kinds = self._new(), {kind: Kind(lambda leases: None)}
        runner.reclaim(kinds)
        self.pass_time(31)
        assert runner.claim(kinds)
        self.pass_time(61)


class CeleryHarness(LeaseHarness):
    """Messages go through a real Redis; what the worker's tasks do with them is done here, in the order in which they come."""

    def __init__(self, brain: Brain, redis: RedisServer) -> None:
        self._settings = brain.settings.model_copy(update=redis.settings)
        self._announcer = Announcer(self._settings)
        super().__init__(brain)

    def _new(self) -> CeleryRunner:
        return CeleryRunner(self._brain.db, self._announcer, clock=lambda: self._now)

    def work(self, handlers: dict[str, Handler]) -> None:
        app, runner = broker.application(self._settings), self._new()
        shift = Shift(app, runner, handlers)
        known = {name: Kind(lambda leases: None) for name in handlers}
        self._take_messages(app)
        while runner.due(known, 1):
            shift.sweep()
            assert self._take_messages(app), "a sweep leaves no due row without a message"

    def _take_messages(self, app: Celery) -> int:
        self._announcer.wait(10)
        with app.connection_for_read() as connection, connection.SimpleQueue(broker.QUEUE) as queue:
            for taken in itertools.count():
                try:
                    message = queue.get(block=False)
                except queue.Empty:
                    return taken
                app.tasks[message.headers["task"]](*message.payload[0])
                message.ack()
        raise AssertionError


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.servers)])
def brain(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Iterator[Brain]:
    """A wired brain on each kind of database."""
    made = build(make_settings(**request.getfixturevalue("mysql")) if request.param == "mysql" else make_settings())
    yield made
    made.close()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture(params=["leases", pytest.param("celery", marks=pytest.mark.servers)])
def harness(request: pytest.FixtureRequest, brain: Brain) -> Harness:
    return LeaseHarness(brain) if request.param == "leases" else CeleryHarness(brain, request.getfixturevalue("redis"))


def _recording(done: list[str], result: dict[str, Any] | None = None) -> Handler:
    def handle(job: Job, context: JobContext) -> dict[str, Any] | None:
        done.append(job.subject)
        return result

    return handle


def _raising(error: Exception, calls: list[int]) -> Handler:
    def handle(job: Job, context: JobContext) -> None:
        calls.append(job.attempts)
        raise error

    return handle


class TestJobRunner:
    def test_a_submitted_job_runs_with_its_payload_and_keeps_its_result(self, harness: Harness) -> None:
        seen: list[Job] = []

        def handle(job: Job, context: JobContext) -> dict[str, Any]:
            seen.append(job)
            return {"documents": 3}

        job_id = harness.submit("read", subject="d1", kb_id="k1", payload={"lang": "zh"})
        assert harness.job(job_id).status == "pending"
        harness.work({"read": handle})
        assert [(x.subject, x.kb_id, x.payload, x.attempts) for x in seen] == [("d1", "k1", {"lang": "zh"}, 1)]
        assert (harness.job(job_id).status, harness.job(job_id).result) == ("done", {"documents": 3})

    def test_nothing_runs_when_the_callers_transaction_is_rolled_back(self, harness: Harness, brain: Brain) -> None:
        done: list[str] = []
        with pytest.raises(ZeroDivisionError), brain.db.write() as connection:
            harness.runner.submit(connection, "read", subject="never")
            raise ZeroDivisionError
        harness.work({"read": _recording(done)})
        assert done == []

    def test_oldest_first_and_only_kinds_that_the_worker_knows(self, harness: Harness) -> None:
        done: list[str] = []
        for subject in "abc":
            harness.submit("read", subject=subject)
            time.sleep(0.002)  # ids order by milliseconds
        other = harness.submit("paint", subject="x")
        harness.work({"read": _recording(done)})
        assert done == ["a", "b", "c"]
        assert harness.job(other).status == "pending"

    def test_a_parse_failure_is_final_and_keeps_its_reason(self, harness: Harness) -> None:
        calls: list[int] = []
        job_id = harness.submit("read")
        harness.work({"read": _raising(ParseFailed("encrypted", zh="有密码", en="has a password"), calls)})
        harness.pass_time(100)
        harness.work({"read": _raising(ParseFailed("encrypted", zh="有密码", en="has a password"), calls)})
        job = harness.job(job_id)
        assert (calls, job.status, job.reason_code, job.reason_zh, job.reason_en) == ([1], "failed", "encrypted", "有密码", "has a password")

    @pytest.mark.parametrize("error", [ValueError("no luck"), Unavailable(zh="不在", en="away")])
    def test_other_failures_are_tried_again_later_and_later_then_fail_with_a_reason(self, harness: Harness, error: Exception) -> None:
        calls: list[int] = []
        job_id = harness.submit("read")
        for attempt in range(1, MAX_ATTEMPTS + 1):
            harness.work({"read": _raising(error, calls)})
            assert len(calls) == attempt
            harness.pass_time(2.0 ** (attempt - 1) * 0.9)
            harness.work({"read": _raising(error, calls)})
            assert len(calls) == attempt, "came again before its pause was over"
            harness.pass_time(2.0 ** (attempt - 1) * 0.4)
        job = harness.job(job_id)
        assert (job.status, calls) == ("failed", [1, 2, 3, 4, 5])
        assert job.reason_zh and job.reason_en

    def test_one_bad_job_takes_no_other_with_it(self, harness: Harness) -> None:
        def handle(job: Job, context: JobContext) -> None:
            if job.subject == "bad":
                raise ValueError

        ids = {x: harness.submit("read", subject=x) for x in ("one", "bad", "two")}
        harness.work({"read": handle})
        assert {x: harness.job(i).status for x, i in ids.items()} == {"one": "done", "bad": "pending", "two": "done"}

    def test_a_lost_worker_costs_no_attempt_and_another_one_takes_over(self, harness: Harness) -> None:
        done: list[str] = []
        job_id = harness.submit("read", subject="d")
        for _ in range(MAX_ATTEMPTS + 2):
            harness.lose_worker("read")
        harness.work({"read": _recording(done)})  # takes it back, with a pause
        harness.pass_time(31)
        harness.work({"read": _recording(done)})
        assert (done, harness.job(job_id).status, harness.job(job_id).attempts) == (["d"], "done", 1)

    def test_a_job_that_keeps_killing_workers_ends_in_quarantine(self, harness: Harness) -> None:
        done: list[str] = []
        job_id = harness.submit("read")
        for _ in range(20):
            harness.lose_worker("read")
        harness.work({"read": _recording(done)})
        assert (done, harness.job(job_id).status, harness.job(job_id).reason_code) == ([], "failed", "quarantined")

    def test_cancelled_while_waiting_it_never_runs(self, harness: Harness) -> None:
        done: list[str] = []
        job_id = harness.submit("read")
        harness.runner.cancel(job_id)
        harness.work({"read": _recording(done)})
        assert (done, harness.job(job_id).status) == ([], "cancelled")

    def test_cancelled_while_running_the_handler_learns_it_and_the_outcome_does_not_count(self, harness: Harness) -> None:
        raised: list[bool] = []

        def handle(job: Job, context: JobContext) -> dict[str, Any]:
            harness.runner.cancel(job.id)
            try:
                context.progress("read", 1, 2, "pages")
            except Cancelled:
                raised.append(True)
                raise
            return {}

        job_id = harness.submit("read")
        harness.work({"read": handle})
        assert (raised, harness.job(job_id).status) == ([True], "cancelled")

    def test_retry_starts_from_the_beginning(self, harness: Harness) -> None:
        calls: list[int] = []
        job_id = harness.submit("read", subject="d")
        harness.work({"read": _raising(ParseFailed("broken", zh="坏", en="broken"), calls)})
        harness.runner.retry(job_id)
        assert (harness.job(job_id).status, harness.job(job_id).reason_code) == ("pending", None)
        harness.work({"read": _recording([])})
        assert (harness.job(job_id).status, harness.job(job_id).attempts) == ("done", 1)

    def test_retry_and_cancel_refuse_what_makes_no_sense(self, harness: Harness) -> None:
        with pytest.raises(NotFound):
            harness.runner.retry("nothing")
        with pytest.raises(NotFound):
            harness.runner.cancel("nothing")
        job_id = harness.submit("read")
        with pytest.raises(Conflict):
            harness.runner.retry(job_id)
        harness.work({"read": _recording([])})
        with pytest.raises(Conflict):
            harness.runner.cancel(job_id)

    def test_progress_is_shown(self, harness: Harness) -> None:
        shown: list[JobRecord] = []

        def handle(job: Job, context: JobContext) -> None:
            context.progress("index", 3, 9, "chunks")
            shown.append(harness.job(job.id))

        harness.submit("read")
        harness.work({"read": handle})
        assert [(x.status, x.stage, x.progress_done, x.progress_total, x.progress_unit) for x in shown] == [("running", "index", 3, 9, "chunks")]
