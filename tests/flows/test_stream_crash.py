"""kill -9 of the web process in the middle of answers: the port is free again, what was stored is marked, a resume gets the end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import socketio
from engine import Engine
from running import RunningBrain, wait_for


@pytest.fixture
def brain(tmp_path: Path) -> Iterator[tuple[RunningBrain, Engine]]:
    """A whole brain with the scripted model."""
    with Engine() as engine:
        config = f'[models.scripted]\nengine = "external"\nbase_url = "{engine.base_url}"\n'
        running = RunningBrain(tmp_path / "data", config)
        (tmp_path / "data" / "brain.sample").write_text("added", encoding="utf-8")
        try:
            yield running.start(), engine
        finally:
            running.stop()


@pytest.mark.parametrize("victim", ["master", "worker"])
def test_a_killed_web_process_is_back_and_tells_the_end_of_what_it_was_saying(brain: tuple[RunningBrain, Engine], victim: str) -> None:
    running, engine = brain
    engine.script(["字"] * 500, delay_s=0.1)
    client = socketio.SimpleClient()
    client.connect(f"http://127.0.0.1:{running.port}", transports=["websocket"])
    ack = client.call("chat", {"message": "你好", "model": "scripted@none"}, timeout=10)
    client.receive(timeout=10)
    web = sorted(pid for pid, command in running.processes().items() if "gunicorn" in command)
    os.kill(web[0] if victim == "master" else web[-1], signal.SIGKILL)
    wait_for(lambda: web[-1] not in running.processes(), "the gunicorn worker is gone", 5)
    wait_for(lambda: running.status("/readyz") == 200, "serving again", 10)
    wait_for(lambda: engine.cancelled, "the engine is free", 5)
    back = socketio.SimpleClient()
    back.connect(f"http://127.0.0.1:{running.port}", transports=["websocket"])
    back.call("chat:resume", {"message_id": ack["message_id"], "after_seq": 0}, timeout=10)
    name, payload = back.receive(timeout=10)
    assert (name, payload["message_id"], payload["stopped"]) == ("chat:done", ack["message_id"], True)
    back.disconnect()
    client.disconnect()


def test_a_stop_waits_for_answers_and_not_for_idle_tabs(brain: tuple[RunningBrain, Engine]) -> None:
    running, engine = brain
    engine.script(["字"] * 20, delay_s=0.1)
    idle, busy = socketio.SimpleClient(), socketio.SimpleClient()
    for client in (idle, busy):
        client.connect(f"http://127.0.0.1:{running.port}", transports=["websocket"])
    busy.call("chat", {"message": "你好", "model": "scripted@none"}, timeout=10)
    assert running.process is not None
    running.process.terminate()
    name, payload = "", {}
    while name not in ("chat:done", "chat:error"):
        name, payload = busy.receive(timeout=10)
    assert (name, payload["answer"]) == ("chat:done", "字" * 20)
    assert running.process.wait(15) == 0
