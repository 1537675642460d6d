"""What a process killed in the middle of an upload leaves behind is swept when a worker starts, and nothing else is."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument
from qzbrain.worker import Workplace

Add = Callable[..., AddedDocument]
HOURS_AGO = 2 * 3600


def age(path: Path) -> Path:
    """As if written two hours ago."""
    then = time.time() - HOURS_AGO
    os.utime(path, (then, then))
    return path


def stray(brain: Brain, content: bytes) -> Path:
    """A content that no row names."""
    return brain.files.path(brain.files.put(io.BytesIO(content), limit_bytes=1000).sha256)


def unfinished(brain: Brain, name: str) -> Path:
    path = brain.files.root / f".new-{name}"
    path.write_bytes(b"half a fi")
    return path


def start_a_worker(brain: Brain) -> None:
    Workplace(brain).run(lambda: True)


def test_old_strays_go_and_young_ones_stay(brain: Brain) -> None:
    old = [age(stray(brain, b"old")), age(unfinished(brain, "old"))]
    young = [stray(brain, b"young"), unfinished(brain, "young")]
    start_a_worker(brain)
    assert [path.exists() for path in old + young] == [False, False, True, True]


def test_what_a_row_names_stays_however_old(brain: Brain, add: Add) -> None:
    document = add("青龙须登记。", "a.txt")
    corpus = add(json.dumps({"id": "1", "text": "白虎须登记。"}, ensure_ascii=False).encode() + b"\n", "c.jsonl")
    kept = [age(brain.files.path(one.sha256)) for one in (document, corpus)]
    start_a_worker(brain)
    assert all(path.exists() for path in kept)


def test_the_same_bytes_sent_again_are_young_again(brain: Brain) -> None:
    age(stray(brain, b"again"))
    path = stray(brain, b"again")
    start_a_worker(brain)
    assert path.read_bytes() == b"again"


@pytest.mark.usefixtures("kb")
def test_a_full_disk_does_not_keep_the_worker_from_starting(brain: Brain, monkeypatch: pytest.MonkeyPatch) -> None:
    from qzbrain.errors import StorageFull

    def full(*_args: object, **_options: object) -> None:
        raise StorageFull

    age(stray(brain, b"old"))
    monkeypatch.setattr(brain.db, "write", full)
    start_a_worker(brain)
