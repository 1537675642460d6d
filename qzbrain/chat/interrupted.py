"""Answers that their process could not finish: killed, or on a host that vanished. They are stored as stopped, so that nobody waits for them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from qzbrain import logs
from qzbrain.chat.store import mark_interrupted
from qzbrain.errors import BrainError
from qzbrain.settings import Settings
from qzbrain.storage.database import Database

log = logs.get(__name__)

EVERY_S = 20.0
_SLACK_S = 120.0
_WITHOUT_MODEL_S = 300.0


class Interrupted:
    """Looks for them: at the start of a web process, and where several share a database every 20 s, for those that nobody starts again."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._longest = timedelta(seconds=longest_answer_s(settings))

    def mark(self) -> int:
        """Mark what is there now; returns how many there were. Raises StorageBusy, StorageFull."""
        before = (datetime.now(UTC) - self._longest).isoformat(timespec="microseconds")[:26] + "Z"
        marked = mark_interrupted(self._db, before=before)
        if marked:
            log.info("answers_interrupted", answers=marked)
        return marked

    def keep_marking(self) -> None:
        """Go on looking as long as this process lives."""
        threading.Thread(target=self._keep, name="interrupted-answers", daemon=True).start()

    def _keep(self) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY_S):
            try:
                self.mark()
            except BrainError as exc:
                log.warning("interrupted_answers_not_marked", code=exc.code)


def longest_answer_s(settings: Settings) -> float:
    """How long an answer may take in the worst case: the slowest model's queue and answer, and what comes after it."""
    return max((model.queue_timeout_s + model.total_timeout_s for model in settings.models.values()), default=_WITHOUT_MODEL_S) + _SLACK_S
