"""Celery's side of the queue: where the broker is, how Celery is set, what a message says. Knows no rows and no handlers.

Imported only where a message is sent or a Celery worker runs: Celery takes 8 MB and a quarter of a second in a process that has
redis-py already, 16 MB where it runs as a worker (2026-11-28).
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from celery import Celery

from qzbrain.settings import Settings

DO = "qzbrain.do"
"""The task of one job; its argument is the job's id."""
SWEEP = "qzbrain.sweep"
"""The task that finds due rows without a message, and leases of dead workers. Beat sends it."""
SWEEP_EVERY_S = 2.0
QUEUE = "jobs"

_VISIBILITY_S = 3600
"""A message that was taken and never acknowledged is given out again after this time. No job depends on it: rows are swept."""
_CONNECT_S = 1.0
_SOCKET_S = 5.0


def address(settings: Settings) -> str:
    """The broker's URL; whatever characters the password has, it stays one."""
    secret = f":{quote(settings.redis_password, safe='')}@" if settings.redis_password else ""
    host = f"[{settings.redis_host}]" if ":" in settings.redis_host else settings.redis_host
    return f"redis://{secret}{host}:{settings.redis_port}/{settings.celery_db}"


def prefix(settings: Settings) -> str:
    """What the names of all keys begin with, so that brains on different databases can share one Redis without taking each other's messages."""
    where = settings.mysql_db if settings.mysql_host else str(settings.database_path)
    return f"qzbrain:{hashlib.sha256(f'{settings.qzbrain_env} {where}'.encode()).hexdigest()[:12]}:"


def application(settings: Settings) -> Celery:
    """A Celery application on the broker of these settings; nothing is connected yet.

    No result backend: SQL has the outcome. One job at a time in a process, acknowledged when it is done (`acks_late`), one message
    fetched ahead. A broker that is away is tried for ever.
    """
    app = Celery("qzbrain", broker=address(settings), set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_pool="solo",
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=_CONNECT_S,
        broker_transport_options={
            "global_keyprefix": prefix(settings),
            "visibility_timeout": _VISIBILITY_S,
            "socket_connect_timeout": _CONNECT_S,
            "socket_timeout": _SOCKET_S,
            "socket_keepalive": True,
        },
        beat_schedule={"sweep": {"task": SWEEP, "schedule": SWEEP_EVERY_S, "options": {"expires": 2 * SWEEP_EVERY_S}}},
    )
    return app


def send(app: Celery, job_ids: list[str]) -> None:
    """One message for each job. Raises what kombu raises when the broker cannot be reached."""
    with app.producer_or_acquire() as producer:
        for job_id in job_ids:
            app.send_task(DO, args=[job_id], producer=producer, ignore_result=True, retry=False)


def waiting(app: Celery) -> int:
    """How many messages wait in the queue. Raises what kombu raises when the broker cannot be reached."""
    with app.connection_or_acquire() as connection:
        return int(connection.default_channel.queue_declare(QUEUE).message_count)
