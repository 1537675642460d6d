"""The commands of docs/backup.md, one after the other as they are printed. Those for containers are run with containers: tests/deploy."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qzbrain.ops import sample
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from tests.cli.conftest import (
    Run,
    run,  # noqa: F401  the fixture
)
from tests.ops.backed_up import fill
from tests.running import ROOT, RunningBrain, wait_for
from tests.storage.test_going_back import going_back

STANDS_FOR = {"KB": "laws", "SNAPSHOT": "good", "NAME": "li"}
FORMS = {"qzbrain restore BACKUP", "qzbrain restore"}
"""What the page explains, not what it has its reader type."""


def commands() -> Iterator[str]:
    """Lines of blocks, and what stands in sentences and tables; each once, by its order on the page."""
    text = (ROOT / "docs/backup.md").read_text(encoding="utf-8").partition("## In Docker")[0]
    seen = set(FORMS)
    for block, within in re.findall(r"^    (\S.*)$|`(qzbrain [^`]+)`", text, re.MULTILINE):
        command = block or re.sub(r"\b[A-Z]+\b", lambda word: STANDS_FOR.get(word[0], word[0]), within)
        if command not in seen:
            seen.add(command)
            yield command


@pytest.fixture
def settings(make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of a brain with a knowledge base, as the program of the former schema left it; the test is in a folder where `/mnt` and `/tmp` are its own."""
    made = make_settings()
    fill(made, kb="laws", number=2)
    sample.mark(made).write_text("added", encoding="utf-8")
    with closing(Database(made.database_path)) as database:
        going_back(database, "0010")
    monkeypatch.chdir(tmp_path)
    return made


def test_every_command_of_the_page_does_what_it_says(settings: Settings, run: Run, tmp_path: Path) -> None:  # noqa: F811
    def backups(folder: str = "data/backups") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = run("backup", "list", "-o", tmp_path / folder, "--json").json["backups"]
        return found

    said = {}
    for printed in commands():
        command = printed.replace("/mnt/", f"{tmp_path}/mnt/").replace("/tmp/look", f"{tmp_path}/look")
        if printed.startswith("qzbrain user"):
            assert run("user", "add", "li", "--json").code == 0
        if printed.endswith("./run.sh"):
            by_itself(settings.data, command, lambda: bool(backups("mnt/backup/qzbrain")))
        elif printed.startswith("qzbrain "):
            done = run(*shlex.split(command)[1:])
            assert done.code == 0, (printed, done.out, done.err)
            said[printed] = done.out + done.err
        else:
            subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)

    assert len(said) >= 14
    assert said["qzbrain db downgrade"].count("0010") and (tmp_path / "look/brain.sqlite").exists()
    assert {one["reason"] for one in backups()} >= {"manual", "before-0011", "before-restore"}
    assert "scheduled" in {one["reason"] for one in backups("mnt/backup/qzbrain")}
    assert [one["encrypted"] for one in backups("mnt/backup/secret")] == [True]
    assert "good" in said["qzbrain snapshot list"]


def by_itself(data: Path, command: str, made: Callable[[], bool]) -> None:
    """Start a brain with the variables that stand before the command, until it has made a backup."""
    running = RunningBrain(data)
    running.environment |= dict(word.split("=", 1) for word in shlex.split(command)[:-1])
    running.start()
    try:
        wait_for(made, "a backup that is made by itself", 30)
    finally:
        running.stop()
