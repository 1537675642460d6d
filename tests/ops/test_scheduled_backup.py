"""When a backup is due, and that the worker makes it, keeps some, and says when it could not."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from qzbrain.brain import Brain, build
from qzbrain.errors import SettingsInvalid
from qzbrain.ops.doctor import Check, examine
from qzbrain.ops.doctor_backup import last_made
from qzbrain.ops.scheduled import KIND, Schedule, due_at
from qzbrain.settings import Settings, load_settings
from qzbrain.storage.backups.repository import Repository
from qzbrain.storage.tables import jobs
from tests.flows.worker_process import until


def at(text: str) -> float:
    return datetime.fromisoformat(text).astimezone().timestamp()


@pytest.mark.parametrize(
    ("every", "last", "due"),
    [
        ("12h", "2026-11-28 10:00", "2026-11-28 22:00"),
        ("30m", "2026-11-28 10:00", "2026-11-28 10:30"),
        ("7d", "2026-11-28 10:00", "2026-12-05 10:00"),
        ("03:30", "2026-11-28 03:30", "2026-11-29 03:30"),
        ("03:30", "2026-11-28 03:29", "2026-11-28 03:30"),
        ("03:30", "2026-11-20 12:00", "2026-11-21 03:30"),
    ],
)
def test_when_it_is_due(every: str, last: str, due: str) -> None:
    assert due_at(every, at(last), at("2026-11-28 12:00")) == at(due)


def test_the_first_is_due_at_once() -> None:
    assert due_at("03:30", None, 5.0) == 5.0


@pytest.mark.parametrize("wrong", ["daily", "25:00", "3:60", "0h", "10s", "h"])
def test_what_is_neither_time_nor_interval_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_EVERY", wrong)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert refused.value.param == "backup_every"
    monkeypatch.setenv("BACKUP_EVERY", "3:30")
    assert load_settings().backup_every == "3:30"


def _doctor(settings: Settings) -> Check:
    return next(x for x in examine(settings, "en", step=5) if x.id == "backup")


def _ended(brain: Brain) -> bool:
    return not brain.db.rows(select(jobs.c.id).where(jobs.c.kind == KIND, jobs.c.status.in_(("pending", "running"))))


def test_the_worker_makes_them_and_keeps_some(make_settings: Callable[..., Settings]) -> None:
    brain = build(make_settings(backup_every="1h", backup_keep=2))
    brain.knowledge.create(brain.access.local_caller("zh"), name="x")
    assert _doctor(brain.settings).status == "warn" and last_made(brain.settings) is None
    for number in range(1, 4):
        schedule = Schedule(brain)
        schedule.start()
        until(lambda number=number: len(brain.db.rows(select(jobs.c.id).where(jobs.c.kind == KIND))) == number and _ended(brain), within_s=30, what="made")  # type: ignore[misc]
        assert not schedule.submit_due(), "the next is due in an hour"
        schedule.close()
        with brain.db.write() as connection:
            connection.execute(jobs.update().where(jobs.c.kind == KIND).values(created_at="2026-01-01T00:00:00.000000Z"))
    (first, *_) = brain.db.rows(select(jobs.c.status, jobs.c.result).where(jobs.c.kind == KIND))
    assert first.status == "done" and first.result["missing"] == 0
    made = Repository.open(brain.settings.backup_folder).backups()
    assert [one.reason for one in made] == ["scheduled", "scheduled"]
    assert _doctor(brain.settings).status == "ok"
    assert abs((last_made(brain.settings) or 0) - time.time()) < 60
    brain.close()


def test_one_that_cannot_be_made_is_told(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").write_text("x")
    brain = build(make_settings(backup_every="1h", backup_dir=str(tmp_path / "taken")))
    schedule = Schedule(brain)
    schedule.start()
    until(lambda: bool(brain.db.rows(select(jobs.c.id).where(jobs.c.kind == KIND, jobs.c.status == "failed"))), within_s=30, what="failed")
    schedule.close()
    check = _doctor(brain.settings)
    assert check.status == "fail" and "empty one" in check.evidence
    brain.close()
