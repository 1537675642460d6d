"""A small healthy installation that can be broken in many ways: made once, copied for each test."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qzbrain.brain import build
from qzbrain.cli.app import main
from qzbrain.domain import Caller
from qzbrain.ops.doctor import CAUSES, Check, examine, kind
from qzbrain.settings import Settings
from qzbrain.worker import work_inline
from tests.models.files.model_files import write_gguf

BASE = {"qzbrain_embedder": "none", "qzbrain_audit": "on", "qzbrain_port": 9025}
RULES = {"采购.txt": "采购金额超过五十万元的，须经董事会批准。", "差旅.txt": "出差须提前三天申请，住宿费每天不超过五百元。"}
GPU = "0, NVIDIA A100-SXM4-80GB, 81920, 80000, 580.95.05, Disabled"


def make_healthy(data: Path) -> None:
    """A knowledge base with two documents, found by search, and an audit log."""
    os.umask(0o077)
    settings = Settings(**BASE, qzbrain_data=data)
    for folder in ("run", "logs"):
        (data / folder).mkdir(parents=True)
    brain = build(settings)
    try:
        caller = brain.access.local_caller("zh")
        brain.knowledge.create(caller, name="rules")
        made = [brain.knowledge.add_text(caller, "rules", name, text) for name, text in RULES.items()]
        work_inline(brain, lambda: all(brain.knowledge.document(caller, one.id).status == "ready" for one in made))
        for n in range(5):
            brain.audit.record(None, Caller(f"u{n}", f"user{n}"), "document.read", f"d{n}")
        brain.audit.flush()
    finally:
        brain.close()


@dataclass
class World:
    """One copy. `overrides`: settings by name; what a test changes in the environment it changes by `environment`."""

    data: Path
    place: Path
    patch: pytest.MonkeyPatch
    overrides: dict[str, Any] = field(default_factory=dict)
    usual: frozenset[str] = frozenset()
    ends: list[Callable[[], object]] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """As they are now."""
        return Settings(**{**BASE, "qzbrain_port": 1, **self.overrides, "qzbrain_data": self.data})

    def set(self, **overrides: Any) -> None:
        """Change settings."""
        self.overrides |= overrides

    def environment(self, **variables: str) -> None:
        """Change the environment."""
        for name, value in variables.items():
            self.patch.setenv(name, value)

    def sql(self, *statements: str) -> None:
        """Change rows behind the brain's back."""
        with closing(sqlite3.connect(self.data / "brain.sqlite")) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def look(self) -> dict[str, Check]:
        """All checks by id, in English."""
        return by_id(examine(self.settings, "en"))

    def run(self, command: str) -> None:
        """A command of the doctor's, as its reader would run it (who is root, so without sudo). Fails when it does."""
        words = shlex.split(command)
        if words[0] != "qzbrain":
            subprocess.run(["bash", "-ec", command.replace("sudo ", "")], check=True, capture_output=True)
            return
        self.environment(QZBRAIN_DATA=str(self.data), QZBRAIN_EMBEDDER="none", QZBRAIN_AUDIT="on")
        self.patch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code

    def model(self, name: str = "m", **table: Any) -> dict[str, Any]:
        """A good local model's table, its file and its engine's environment; `table` changes it."""
        site = self.place / "root/.venv-local/lib/python3.11/site-packages"
        if not site.exists():
            (site / "xllamacpp").mkdir(parents=True)
            (site / "xllamacpp-0.33.0.dist-info").mkdir()
            (self.place / "root/.venv-local/bin").mkdir()
            (self.place / "root/.venv-local/bin/python").touch()
            write_gguf(self.place / "root/m.gguf")
        made = {"engine": "llamacpp", "path": "m.gguf", "context": 1024, "slots": 2, "devices": "none", "environment": ".venv-local", **table}
        self.set(current_dir=self.place / "root", models={**self.overrides.get("models", {}), name: made})
        return made

    def smi(self, text: str, code: int = 0) -> None:
        """An nvidia-smi that answers every question with one text."""
        folder = self.place / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "said").write_text(text)
        page = "echo 'CUDA Version: 13.0'"
        (folder / "nvidia-smi").write_text(f'#!/bin/sh\n[ "$1" ] || {{ {page}; exit 0; }}\ncat {folder}/said\nexit {code}\n')
        (folder / "nvidia-smi").chmod(0o755)
        self.patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def listen(self) -> int:
        """A port on which something takes connections and never says a word."""
        server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.ends.append(server.close)
        return int(server.getsockname()[1])

    def mount(self, options: str, *, filled: bool = True) -> Path:
        """Move the data onto a file system of its own. Skips, or fails in CI, without the right to mount."""
        folder = self.place / "disk"
        folder.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "qzbrain-test", str(folder)], capture_output=True, text=True, check=False)
        if mounted.returncode:
            reason = f"cannot mount a small file system ({mounted.stderr.strip()}): run as root, or with the right to mount"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        self.ends.append(lambda: subprocess.run(["umount", "--lazy", str(folder)], check=True))
        shutil.copytree(self.data, folder / "data")
        self.data = folder / "data"
        return folder


def by_id(checks: list[Check]) -> dict[str, Check]:
    """Each id stands once, and is one that docs/doctor.md can tell."""
    found = {check.id: check for check in checks}
    assert len(found) == len(checks)
    assert {kind(id) for id in found} <= set(CAUSES)
    return found


def crying(checks: dict[str, Check]) -> set[str]:
    """Those that are not well and do not say that they follow from another."""
    return {id for id, check in checks.items() if check.status in ("warn", "fail") and not check.follows}
