"""Submitting jobs in which a language model reads documents. Light: imported by whoever takes documents in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from qzbrain.graph.base import EXTRACT_JOB
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.settings import Settings
from qzbrain.storage.tables import jobs


def submit(connection: Connection, runner: LeaseRunner, kb_id: str, payload: dict[str, Any]) -> str:
    """A job, as a part of the caller's transaction; one that waits for the same will do. Returns its id."""
    waiting = select(jobs.c.id, jobs.c.payload).where(jobs.c.kind == EXTRACT_JOB, jobs.c.kb_id == kb_id, jobs.c.status == "pending")
    for row in connection.execute(waiting):
        if dict(row.payload) == payload:
            return str(row.id)
    return runner.submit(connection, EXTRACT_JOB, kb_id=kb_id, payload=payload)


def submit_automatic(connection: Connection, runner: LeaseRunner, settings: Settings, kb_id: str) -> None:
    """Documents of this knowledge base are new or changed: have them read, where the settings name a model for that."""
    if settings.graph_extract_model:
        submit(connection, runner, kb_id, {"model": settings.graph_extract_model, "auto": True})
