"""A Celery worker whose jobs write a line each: `python -m tests.flows.celery_recorder RECORD`. Settings come from the environment.

Nothing of an index is involved, so that two of them may run on one data folder. Its first line says that it takes messages.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from celery import signals

from qzbrain.brain import build
from qzbrain.jobs import broker
from qzbrain.jobs.base import Handler, Job, JobContext
from qzbrain.jobs.leases import Kind, Lease
from qzbrain.jobs.shift import Shift
from qzbrain.settings import load_settings


def main() -> None:
    """Work until SIGTERM."""
    settings = load_settings()
    brain = build(settings)
    app = broker.application(settings)
    record = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def handle(leases: Sequence[Lease]) -> None:
        for lease in leases:
            os.write(record, f"{lease.job.subject} {os.getpid()}\n".encode())
            time.sleep(0.005)  # the work
            lease.heartbeat()

    def at_second_try(job: Job, context: JobContext) -> None:
        if job.attempts < 2:
            raise ConnectionError
        os.write(record, f"{job.subject} {os.getpid()}\n".encode())

    kinds: dict[str, Kind | Handler] = {"record": Kind(handle, batch=3), "second": at_second_try}
    Shift(app, brain.jobs, kinds).enlist(brain.close)
    signals.worker_ready.connect(lambda **_: os.write(record, f"ready {os.getpid()}\n".encode()), weak=False)
    app.Worker(hostname=f"recorder-{os.getpid()}@localhost", without_mingle=True, without_gossip=True, without_heartbeat=True, quiet=True).start()


if __name__ == "__main__":
    main()
