"""Whether an engine's GPU memory came back, by a stand-in for nvidia-smi whose list of processes changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from qzbrain.models.engines import memory_back
from qzbrain.models.engines.memory_back import MemoryWatch

ROW = "GPU-1f2e, {pid}, 40960\n"
Smi = Callable[[str], None]


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smi:
    """Says which processes hold GPU memory from now on."""
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat {tmp_path}/apps\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(memory_back, "WAIT_S", 1.0)

    def say(apps: str) -> None:
        (tmp_path / "new").write_text(apps)
        (tmp_path / "new").replace(tmp_path / "apps")

    say("")
    return say


def test_memory_that_comes_back_is_no_trouble(smi: Smi) -> None:
    smi(ROW.format(pid=4711) + ROW.format(pid=1))
    watch = MemoryWatch([4711, 4712])
    threading.Timer(0.3, lambda: smi(ROW.format(pid=1))).start()
    assert watch.missing() is None


def test_memory_that_stays_is_told_with_who_has_it(smi: Smi) -> None:
    smi(ROW.format(pid=4711))
    told = MemoryWatch([4711]).missing()
    assert told is not None
    assert all("4711: 40960 MiB" in one and "nvidia-smi" in one for one in told)


def test_without_gpu_memory_nothing_is_waited_for(smi: Smi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert MemoryWatch([4711]).missing() is None
    (tmp_path / "nvidia-smi").unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    assert MemoryWatch([4711]).missing() is None
