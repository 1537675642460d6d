"""What is particular to leased rows: several workers, dead owners, batches, stopping, listing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import pytest
from sqlalchemy import select, update

from qzbrain.brain import Brain
from qzbrain.errors import BrainError, Cancelled, IndexUnavailable, InvalidRequest, StorageFull
from qzbrain.jobs.base import MAX_ATTEMPTS, Job
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner
from qzbrain.jobs.owner import died_here, new_owner
from qzbrain.storage.tables import jobs


def _submit(brain: Brain, count: int = 1, kind: str = "read") -> list[str]:
    with brain.db.write() as connection:
        return brain.jobs.submit_many(connection, kind, [f"s{i}" for i in range(count)])


def _complete(leases: Sequence[Lease]) -> None:
    """Leaves all open: the runner marks them as done."""


def _until_idle(runner: LeaseRunner, kinds: dict[str, Kind]) -> None:
    end = threading.Event()
    runner.run(kinds, end.is_set, idle=lambda _: end.set())


def test_two_workers_never_hold_one_job(brain: Brain) -> None:
    _submit(brain, 60)
    taken: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        runner, kinds = LeaseRunner(brain.db), {"read": Kind(_complete, batch=4)}
        while leases := runner.claim(kinds):
            with lock:
                taken.extend(lease.job.id for lease in leases)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 60


def test_leases_of_a_dead_process_of_this_host_come_back_at_once(brain: Brain) -> None:
    (job_id,) = _submit(brain)
    code = "from qzbrain.jobs.owner import new_owner; print(new_owner())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    with brain.db.write() as connection:
        held = {"status": "running", "lease_owner": dead, "lease_until": time.time() + 3600, "attempts": 1}
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(held))
    assert died_here(dead)
    _until_idle(LeaseRunner(brain.db), {"read": Kind(_complete)})
    assert brain.jobs.get(job_id).status == "done"


def test_leases_of_the_living_and_of_other_hosts_are_left_alone(brain: Brain) -> None:
    ids = _submit(brain, 2)
    assert not died_here(new_owner())
    assert not died_here("elsewhere:1:1:abcd")
    assert died_here(new_owner().replace(f":{os.getpid()}:", f":{os.getpid()}:9"))  # the id is in use again by another process
    for job_id, owner in zip(ids, (new_owner(), "elsewhere:1:1:abcd"), strict=True):
        with brain.db.write() as connection:
            held = {"status": "running", "lease_owner": owner, "lease_until": time.time() + 3600}
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(held))
    _until_idle(LeaseRunner(brain.db), {"read": Kind(_complete)})
    assert [brain.jobs.get(x).status for x in ids] == ["running", "running"]


def test_a_heartbeat_extends_all_leases_of_its_worker(brain: Brain) -> None:
    ids = _submit(brain, 2)
    now = time.time()
    runner = LeaseRunner(brain.db, lease_s=10, clock=lambda: now)
    leases = runner.claim({"read": Kind(_complete, batch=2)})
    now += 8
    leases[0].heartbeat()
    now += 8
    other = LeaseRunner(brain.db, clock=lambda: now)
    assert other.reclaim({"read": Kind(_complete)}) == 0
    now += 3
    assert other.reclaim({"read": Kind(_complete)}) == 2
    assert [brain.jobs.get(x).status for x in ids] == ["pending", "pending"]


def test_a_worker_that_lost_its_lease_neither_completes_nor_fails_the_job(brain: Brain) -> None:
    (job_id,) = _submit(brain)
    now = time.time()
    slow = LeaseRunner(brain.db, lease_s=10, clock=lambda: now)
    (lease,) = slow.claim({"read": Kind(_complete)})
    now += 11
    quick = LeaseRunner(brain.db, clock=lambda: now)
    quick.reclaim({"read": Kind(_complete)})
    quick.claim({"read": Kind(_complete)})
    with brain.db.write() as connection:
        assert slow.still_held(connection, [lease]) == []
        lease.complete(connection, {"wrong": True})
        lease.fail(connection, BrainError(zh="错", en="wrong"))
    with pytest.raises(Cancelled):
        lease.progress("read", 1, 2, "")
    assert (brain.jobs.get(job_id).status, brain.jobs.get(job_id).result) == ("running", None)


def test_a_batch_that_breaks_is_done_one_by_one(brain: Brain) -> None:
    ids = _submit(brain, 5)
    sizes: list[int] = []

    def handle(leases: Sequence[Lease]) -> None:
        sizes.append(len(leases))
        if any(lease.job.subject == "s2" for lease in leases):
            raise ValueError

    _until_idle(brain.jobs, {"read": Kind(handle, batch=10)})
    assert sizes == [5, 1, 1, 1, 1, 1]
    assert [brain.jobs.get(x).status for x in ids] == ["done", "done", "pending", "done", "done"]


def test_the_others_of_a_batch_stay_together_when_one_is_cancelled(brain: Brain) -> None:
    ids = _submit(brain, 5)
    sizes: list[int] = []

    def handle(leases: Sequence[Lease]) -> None:
        sizes.append(len(leases))
        if len(sizes) == 1:
            brain.jobs.cancel(ids[2])
            leases[2].progress("parse", 1, 2, "pages")

    _until_idle(brain.jobs, {"read": Kind(handle, batch=10)})
    assert sizes == [5, 4]
    assert [brain.jobs.get(x).status for x in ids] == ["done", "done", "cancelled", "done", "done"]


def test_a_stop_gives_jobs_back_untouched(brain: Brain) -> None:
    ids = _submit(brain, 3)
    end = threading.Event()

    def handle(leases: Sequence[Lease]) -> None:
        with brain.db.write() as connection:
            leases[0].complete(connection, {"n": 1})
        end.set()
        leases[1].heartbeat()
        raise AssertionError("the heartbeat lets a stopping worker go on")

    brain.jobs.run({"read": Kind(handle, batch=3)}, end.is_set)
    assert [(brain.jobs.get(x).status, brain.jobs.get(x).attempts) for x in ids] == [("done", 1), ("pending", 0), ("pending", 0)]


def test_a_job_that_often_lost_its_worker_is_given_out_alone(brain: Brain) -> None:
    ids = _submit(brain, 3)
    with brain.db.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == sorted(ids)[1]).values(lost=3))
    kinds = {"read": Kind(_complete, batch=10)}
    batches = [len(brain.jobs.claim(kinds)), len(brain.jobs.claim(kinds))]
    assert batches == [2, 1]


def test_what_follows_a_job_into_failure_is_in_the_same_transaction(brain: Brain) -> None:
    (job_id,) = _submit(brain)

    def refuse(connection: object, job: Job, error: BrainError) -> None:
        raise StorageFull

    def handle(leases: Sequence[Lease]) -> None:
        raise InvalidRequest(zh="坏", en="bad")

    brain.jobs._stop = lambda: False
    with pytest.raises(StorageFull):
        brain.jobs.work({"read": Kind(handle, failed=refuse)})
    assert brain.jobs.get(job_id).status == "running"
    brain.jobs.reclaim({"read": Kind(_complete)})
    assert brain.jobs.get(job_id).status == "pending"


def test_a_full_disk_is_waited_out_however_long(brain: Brain) -> None:
    now = [time.time()]
    runner = LeaseRunner(brain.db, clock=lambda: now[0])
    (job_id,) = _submit(brain)

    def full(leases: Sequence[Lease]) -> None:
        raise StorageFull

    for _ in range(MAX_ATTEMPTS * 3):
        assert runner.work({"read": Kind(full)})
        assert not runner.work({"read": Kind(full)}), "there is a pause"
        now[0] += 10
    assert (brain.jobs.get(job_id).status, brain.jobs.get(job_id).attempts) == ("pending", 0)
    assert runner.work({"read": Kind(_complete)})
    assert brain.jobs.get(job_id).status == "done"


def test_an_index_that_is_away_is_waited_out_by_the_whole_batch_with_the_reason(brain: Brain) -> None:
    now = [time.time()]
    runner = LeaseRunner(brain.db, clock=lambda: now[0])
    ids = _submit(brain, 3)
    sizes: list[int] = []
    followed: list[str] = []

    def away(leases: Sequence[Lease]) -> None:
        sizes.append(len(leases))
        raise IndexUnavailable("search_unreachable", zh="连不上", en="not there")

    kind = Kind(away, batch=10, waits=lambda connection, job, error: followed.append(job.subject))
    for _ in range(MAX_ATTEMPTS + 1):
        assert runner.work({"read": kind})
        assert not runner.work({"read": kind}), "there is a pause"
        now[0] += 10
    assert sizes == [3] * (MAX_ATTEMPTS + 1), "never one by one: each would only find the same"
    assert followed[:3] == ["s0", "s1", "s2"]
    seen = [brain.jobs.get(x) for x in ids]
    assert {(x.status, x.attempts, x.reason_code) for x in seen} == {("pending", 0, "search_unreachable")}
    assert runner.work({"read": Kind(_complete, batch=10)})
    assert {(x.status, x.reason_code) for x in (brain.jobs.get(one) for one in ids)} == {("done", None)}


def test_jobs_are_listed_by_pages_newest_first(brain: Brain) -> None:
    ids = sorted(_submit(brain, 7), reverse=True)
    first = brain.jobs.jobs(limit=3)
    second = brain.jobs.jobs(limit=3, after=first.next)
    third = brain.jobs.jobs(limit=3, after=second.next)
    assert [x.id for page in (first, second, third) for x in page.data] == ids
    assert [(page.has_more, page.next is None) for page in (first, second, third)] == [(True, False), (True, False), (False, True)]
    assert brain.jobs.jobs("done").data == ()


def test_waiting_costs_little(brain: Brain) -> None:
    polls: list[float] = []
    used = time.process_time()
    brain.jobs.run({"read": Kind(_complete)}, lambda: len(polls) >= 12, idle=polls.append)
    assert (time.process_time() - used) / (polls[-1] + 0.08) < 0.05


@pytest.mark.parametrize("first", ["slow", "tend", "told"])
def test_work_of_low_rank_is_done_after_the_rest_and_none_waits_for_ever(brain: Brain, first: str) -> None:
    """Each handler gives way before its first step, so those of one rank would have gone on for ever had they given way to each other."""
    ended: list[str] = []

    def handle(leases: Sequence[Lease]) -> None:
        for lease in leases:
            lease.give_way()
            ended.append(lease.job.kind)

    kinds = {"slow": Kind(handle, rank=3), "tend": Kind(handle, rank=1), "told": Kind(handle, rank=1), "read": Kind(_complete)}
    for kind in sorted(kinds, key=lambda name: name != first):
        _submit(brain, kind=kind)
    _until_idle(LeaseRunner(brain.db), kinds)
    assert len(ended) == 3 and ended[-1] == "slow"
    with brain.db.read() as connection:
        assert set(connection.execute(select(jobs.c.status)).scalars()) == {"done"}
