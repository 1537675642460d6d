"""`qzbrain backup` and `qzbrain restore` killed (-9) at random moments: a backup is whole or not there, a brain is the old one or the new one."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qzbrain.brain import build
from qzbrain.settings import Settings
from qzbrain.storage.backups.checking import faults
from qzbrain.storage.backups.of_settings import repository_of
from tests.flows.backup_process import ended, killed, talk
from tests.ops.backed_up import answers, fill, rows_of


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    made = make_settings()
    fill(made)
    talk(made, 4000)
    return made


def test_backups_are_whole_or_not_there(settings: Settings, tmp_path: Path) -> None:
    chance, folder = random.Random(5), tmp_path / "backups"
    ended(settings, "backup", "-o", folder)

    def at_work() -> bool:
        return bool(list(folder.glob("backups/.new-*")))

    for after_s in (0.0, chance.uniform(0, 0.2), chance.uniform(0, 0.4)):
        there = len(repository_of(settings, folder).backups())
        for left in folder.glob("backups/.new-*"):  # what the killed one left is seen by nobody
            shutil.rmtree(left)
        alive = killed(settings, at_work, after_s, "backup", "-o", folder)
        repository = repository_of(settings, folder)
        found = repository.backups()
        assert len(found) - there in ((0, 1) if alive else (1,)) and len(found) == len(repository.names())
        assert not any(list(faults(repository, one, lambda _stage, _done, _total: None)) for one in found)
        if after_s == 0.0:
            assert len(found) == there and at_work(), "it was not killed in the middle"
    (folder / "backups" / ".new-left").mkdir(exist_ok=True)
    ended(settings, "backup", "-o", folder)
    assert not list(folder.glob("*/.new-*")), "what killed ones left is gone"


def test_a_brain_is_the_old_one_or_the_new_one(settings: Settings) -> None:
    chance, data = random.Random(6), settings.data
    ended(settings, "backup")
    new = rows_of(settings), answers(settings)
    brain = build(settings)
    brain.knowledge.delete(brain.access.local_caller("zh"), "rules")
    brain.close()
    fill(settings, kb="other", number=2)
    old: tuple[Any, Any] = rows_of(settings), answers(settings)
    assert old[1] != new[1]
    ended(settings, "backup")
    of_new, of_old = (one.id for one in repository_of(settings).backups())

    def building() -> bool:
        return (data / "restore.part").exists()

    def placing() -> bool:
        return (data / "restore.ready").exists()

    for at_work, after_s, possible in ((building, 0.0, (old,)), (building, chance.uniform(0, 0.8), (old, new)), (placing, 0.0, (new,))):
        shutil.rmtree(data / "restore.part", ignore_errors=True)
        killed(settings, at_work, after_s, "restore", of_new, "--replace")
        state = rows_of(settings), answers(settings)
        assert state in possible, (at_work.__name__, after_s)
        if state == new and at_work is building:
            ended(settings, "restore", of_old, "--replace")
    ended(settings, "restore", of_old, "--replace")
    assert (rows_of(settings), answers(settings)) == old
    assert not [*data.glob("restore.part"), *data.glob("restore.ready")]
