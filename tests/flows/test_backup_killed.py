"""`qzbrain backup` and `qzbrain restore` killed (-9) at random moments: a backup is whole or not there, a brain is the old one or the new one."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from qzbrain.brain import build
from qzbrain.domain import utc_now
from qzbrain.settings import Settings
from qzbrain.storage.backups.checking import faults
from qzbrain.storage.backups.of_settings import repository_of
from qzbrain.storage.tables import conversations, messages
from tests.ops.backed_up import answers, fill, rows_of
from tests.running import ROOT


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    made = make_settings()
    fill(made)
    talk(made, 4000)
    return made


def talk(settings: Settings, count: int) -> None:
    """So many messages: work for some tenths of a second."""
    brain = build(settings)
    of_conversation = {"id": "c" * 22, "owner": "local", "knowledge_bases": [], "created_at": utc_now(), "updated_at": utc_now()}
    common = {"conversation_id": "c" * 22, "role": "user", "status": "done", "model": "", "rung": "", "rung_reason": "", "details": {}, "created_at": utc_now()}
    with brain.db.write() as connection:
        connection.execute(insert(conversations).values(of_conversation))
        rows = [{**common, "id": f"m{n:08}", "content": f"第{n}个问题：采购由谁批准？" * 10, "position": n} for n in range(count)]
        connection.execute(insert(messages), rows)
    brain.close()


def command(settings: Settings, *arguments: object) -> subprocess.Popen[bytes]:
    outer = {key: value for key, value in os.environ.items() if not key.startswith("QZBRAIN_")}
    environment = {**outer, "QZBRAIN_DATA": str(settings.data), "QZBRAIN_EMBEDDER": "none"}
    given = [sys.executable, "-m", "qzbrain.cli", *map(str, arguments)]
    return subprocess.Popen(given, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def ended(settings: Settings, *arguments: object) -> None:
    """A command that comes to its end."""
    process = command(settings, *arguments)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()


def killed(settings: Settings, at_work: Callable[[], bool], after_s: float, *arguments: object) -> bool:
    """Kill a command so long after it was seen at work; whether it was still there then."""
    process = command(settings, *arguments)
    while not at_work() and process.poll() is None:
        time.sleep(0.001)
    time.sleep(after_s)
    alive = process.poll() is None
    process.kill()
    process.communicate(timeout=10)
    return alive


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
