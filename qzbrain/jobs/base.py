"""The seam of background work: a job is a row, a runner decides who works on it and when.

Promises of every runner: a submitted job runs at least once, also after kill -9 of whoever held it; two workers never hold one
job at a time; a handler may run twice and must not mind; a failed try is repeated with growing pauses until `MAX_ATTEMPTS`, then
the job is `failed` with a reason. SQL is the truth; messages of a broker only wake somebody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from qzbrain.errors import EngineUnavailable, IndexUnavailable, MirrorUnavailable, StorageBusy, StorageFull

MAX_ATTEMPTS = 5
WAITED_OUT = (StorageFull, StorageBusy, IndexUnavailable, MirrorUnavailable, EngineUnavailable)
"""What is no job's fault, whatever it is: the job goes back as if it had not been tried, shows this as its reason, and comes again."""


@dataclass(frozen=True, slots=True)
class Job:
    """One leased row. `attempts` counts this try too."""

    id: str
    kind: str
    subject: str
    kb_id: str
    payload: dict[str, Any]
    attempts: int


class JobContext(Protocol):
    """What a handler may do while it holds a job."""

    def progress(self, stage: str, done: int, total: int, unit: str) -> None:
        """Show where the work stands; also extends the lease. Cheap enough to call often (written at most twice a second)."""

    def heartbeat(self) -> None:
        """Extend the lease. Raises Cancelled when somebody has cancelled the job."""


Handler = Callable[[Job, JobContext], dict[str, Any] | None]
"""Does one job; returns its result. Raises ParseFailed (or another BrainError below 500) for "never again", anything else for "try again"."""


class JobRunner(Protocol):
    """Takes jobs and sees that handlers run."""

    def submit(self, connection: Connection, kind: str, *, subject: str = "", kb_id: str = "", payload: Mapping[str, Any] | None = None) -> str:
        """Add a job inside the caller's transaction; returns its id. Nothing runs before that commit."""

    def retry(self, job_id: str) -> None:
        """Run a failed or cancelled job again from the start. Raises NotFound, Conflict."""

    def cancel(self, job_id: str) -> None:
        """Stop a pending or running job. Raises NotFound, Conflict."""
