"""`qzbrain backup` and `qzbrain restore` killed (-9) at random moments: a backup is whole or not there, a brain is the old one or the new one."""

from __future__ import annotations

import os
import random
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

KILLS = 4


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


def length_of(settings: Settings, *arguments: object) -> tuple[float, float]:
    """Seconds until a command of this kind gets to work, and until it has ended."""
    began = time.monotonic()
    process = command(settings, *arguments)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()
    took = time.monotonic() - began
    return 0.4 * took, took


def killed(settings: Settings, at_s: float, *arguments: object) -> bool:
    """Whether the command was still at work then."""
    process = command(settings, *arguments)
    try:
        process.communicate(timeout=at_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate(timeout=10)
        return True
    assert process.returncode == 0
    return False


def test_backups_are_whole_or_not_there(settings: Settings, tmp_path: Path) -> None:
    chance, folder = random.Random(5), tmp_path / "backups"
    begins, ends = length_of(settings, "backup", "-o", folder)
    survived = sum(not killed(settings, chance.uniform(begins, ends), "backup", "-o", folder) for _ in range(KILLS))
    repository = repository_of(settings, folder)
    found = repository.backups()
    assert 1 <= len(found) <= KILLS + 1 and len(found) == len(repository.names()) and len(found) >= 1 + survived
    assert survived < KILLS
    for one in found:
        assert not list(faults(repository, one, lambda _stage, _done, _total: None))
    length_of(settings, "backup", "-o", folder)
    assert not list(folder.glob("*/.new-*")), "what the killed ones left is gone"


def test_a_brain_is_the_old_one_or_the_new_one(settings: Settings) -> None:
    chance = random.Random(6)
    length_of(settings, "backup")
    new = rows_of(settings), answers(settings)
    brain = build(settings)
    brain.knowledge.delete(brain.access.local_caller("zh"), "rules")
    brain.close()
    fill(settings, kb="other", number=2)
    old: tuple[Any, Any] = rows_of(settings), answers(settings)
    assert old[1] != new[1]
    length_of(settings, "backup")
    of_new, of_old = (one.id for one in repository_of(settings).backups())
    begins, ends = length_of(settings, "restore", of_new, "--replace")
    assert (rows_of(settings), answers(settings)) == new
    length_of(settings, "restore", of_old, "--replace")
    outcomes = {"old": 0, "new": 0}
    for _ in range(KILLS):
        killed(settings, chance.uniform(begins, ends), "restore", of_new, "--replace")
        state = rows_of(settings), answers(settings)
        assert state in (old, new)
        outcomes["new" if state == new else "old"] += 1
        if state == new:
            length_of(settings, "restore", of_old, "--replace")
    assert outcomes["old"], outcomes
    length_of(settings, "restore", of_new, "--replace")
    assert (rows_of(settings), answers(settings)) == new
    assert not [*settings.data.glob("restore.part"), *settings.data.glob("restore.ready")]
