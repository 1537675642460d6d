"""`qzbrain backup` and `qzbrain restore` as processes that tests kill."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

from sqlalchemy import insert

from qzbrain.brain import build
from qzbrain.domain import utc_now
from qzbrain.settings import Settings
from qzbrain.storage.tables import conversations, messages
from tests.running import ROOT


def talk(settings: Settings, count: int) -> None:
    """So many messages, named m00000000 and so on: 4,000 are work for some tenths of a second."""
    brain = build(settings)
    of_conversation = {"id": "c" * 22, "owner": "local", "knowledge_bases": [], "created_at": utc_now(), "updated_at": utc_now()}
    common = {"conversation_id": "c" * 22, "role": "user", "status": "done", "model": "", "rung": "", "rung_reason": "", "details": {}, "created_at": utc_now()}
    with brain.db.write() as connection:
        connection.execute(insert(conversations).values(of_conversation))
        rows = [{**common, "id": f"m{n:08}", "content": f"第{n}个问题：采购由谁批准？" * 10, "position": n} for n in range(count)]
        connection.execute(insert(messages), rows)
    brain.close()


def command(settings: Settings, *arguments: object, **more: str) -> subprocess.Popen[bytes]:
    """One on the data folder of the settings, begun; `more` goes into its environment."""
    outer = {key: value for key, value in os.environ.items() if not key.startswith("QZBRAIN_")}
    environment = {**outer, "QZBRAIN_DATA": str(settings.data), "QZBRAIN_EMBEDDER": "none", **more}
    given = [sys.executable, "-m", "qzbrain.cli", *map(str, arguments)]
    return subprocess.Popen(given, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def ended(settings: Settings, *arguments: object, **more: str) -> None:
    """A command that comes to its end."""
    process = command(settings, *arguments, **more)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said.decode()


def killed(settings: Settings, at_work: Callable[[], bool], after_s: float, *arguments: object, **more: str) -> bool:
    """Kill a command so long after it was seen at work; whether it was still there then."""
    process = command(settings, *arguments, **more)
    while not at_work() and process.poll() is None:
        time.sleep(0.001)
    time.sleep(after_s)
    alive = process.poll() is None
    process.kill()
    process.communicate(timeout=10)
    return alive
