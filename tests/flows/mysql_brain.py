"""A whole brain whose database is on a MariaDB, and what tests do to it."""

from __future__ import annotations

import http.client
import json
import uuid
from pathlib import Path
from typing import Any

from qzbrain.ops import sample
from qzbrain.settings import Settings
from tests.running import RunningBrain

RULE = "采购金额超过五十万元的，须经董事会批准🍣。采购金额不超过五十万元的，由总经理批准。"


def running_on(data: Path, settings: dict[str, Any], config: str = "", **more: str) -> RunningBrain:
    """A brain, not started yet, whose database is on that server."""
    running = RunningBrain(data, config)
    running.environment |= {name.upper(): str(value) for name, value in settings.items()} | more
    return running


def upload(running: RunningBrain, kb: str, name: str, data: bytes) -> tuple[int, Any]:
    """One file by multipart; status and reply."""
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    try:
        body = head.encode() + data + f"\r\n--{mark}--\r\n".encode()
        connection.request("POST", f"/api/knowledge-bases/{kb}/documents", body, {"Content-Type": f"multipart/form-data; boundary={mark}"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def all_read(running: RunningBrain, kb: str) -> dict[str, int] | None:
    """The counts of a knowledge base's documents when none is left to read."""
    status, found = running.call("GET", f"/api/knowledge-bases/{kb}")
    return found["documents"] if status == 200 and found["documents"]["pending"] == 0 else None


def ask(running: RunningBrain, question: str, model: str = "auto") -> tuple[int, Any]:
    """One plain answer."""
    return running.call("POST", "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": question}]})


def without_sample(data: Path, settings: dict[str, Any]) -> None:
    """The start brings no sample laws."""
    data.mkdir(parents=True, exist_ok=True)
    sample.mark(Settings(qzbrain_data=data, **settings)).write_text("added", encoding="utf-8")
