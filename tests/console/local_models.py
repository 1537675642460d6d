"""A brain with local models: stand-in engines under a real engine manager, and one model whose file is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from server import ROOT, Server, wait_until

sys.path.insert(0, str(ROOT))

from tests.servers.stand_in_model import StandInModel

MISSING = '[models.missing]\nengine = "llamacpp"\npath = "nowhere.gguf"\nalive = false\n'


@contextmanager
def local_models(folder: Path, alive: Sequence[str], stopped: Sequence[str], more: str = MISSING) -> Iterator[Server]:
    """Ready when those that are alive are."""
    tables = []
    for name in (*alive, *stopped):
        model = StandInModel(folder / name, start_s=0.5)
        command = json.dumps(list(model.settings().command))
        tables.append(
            f'[models."{name}"]\nengine = "vllm"\ndevices = "none"\nslots = 4\ncontext = 2048\npath = "{model.folder}"\n'
            f"command = {command}\nalive = {'true' if name in alive else 'false'}\n"
        )
    server = Server(folder / "brain", "\n".join([*tables, more]))
    environment = {**os.environ, "QZBRAIN_DATA": str(folder / "brain/data"), "QZBRAIN_EMBEDDER": "none"}
    manager = subprocess.Popen([sys.executable, "-m", "qzbrain.models.engines.manager"], cwd=ROOT, env=environment)
    try:
        wait_until(lambda: all(state(server, name) == "ready" for name in alive), 30)
        yield server
    finally:
        server.stop()
        manager.terminate()
        manager.wait(40)


def state(server: Server, name: str) -> str:
    """Of one model, as the API tells it; asleep where the manager is not there yet."""
    return next("asleep" if one["asleep"] else one["status"] for one in server.call("GET", "/api/models")["data"] if one["name"] == name)
