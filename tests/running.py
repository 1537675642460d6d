"""A whole brain as a user starts it: `python main.py` with a data folder and a port of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 60, *, step_s: float = 0.05) -> Any:
    """The first true value of `condition`; fails when it does not come in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(step_s)
    raise AssertionError(f"not within {timeout_s} s: {what}")


def stop_still(pid: int) -> None:
    """SIGSTOP, until every thread of the process stands: on a busy machine its other threads go on until one of them has taken the signal."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: all(_state(task) in "TtZX" for task in Path(f"/proc/{pid}/task").iterdir()), "a process that stands still", 10, step_s=0.005)


def _state(task: Path) -> str:
    """Of a thread: one letter; X when it is gone."""
    try:
        return (task / "stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


class RunningBrain:
    """The processes of one start, and how to talk to them."""

    def __init__(self, data: Path, config: str = "", port: int | None = None) -> None:
        self.data, self.port = data, port or free_port()
        data.mkdir(parents=True, exist_ok=True)
        self.log = data.parent / f"{data.name}.log"
        outer = {key: value for key, value in os.environ.items() if not key.startswith("QZBRAIN_")}
        self.environment = {**outer, "QZBRAIN_DATA": str(data), "QZBRAIN_PORT": str(self.port), "QZBRAIN_LANG": "zh", "QZBRAIN_EMBEDDER": "none"}
        if config:
            (data / "config.toml").write_text(config, encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        """Start without waiting."""
        with self.log.open("ab") as out:
            command = [sys.executable, str(ROOT / "main.py")]
            self.process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", start_new_session=True)
        return self.process

    def start(self) -> RunningBrain:
        """Start and wait until it says that it is ready."""
        before = self.output().count("qzbrain is ready")
        process = self.launch()
        wait_for(lambda: self.output().count("qzbrain is ready") > before or process.poll() is not None, "ready")
        assert process.poll() is None, self.output()
        return self

    def output(self) -> str:
        """All that was printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def stop(self) -> int:
        """SIGTERM to the one process that was started; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(40)

    def kill(self) -> None:
        """kill -9 of the process that was started."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def processes(self) -> dict[int, str]:
        """Command lines by process id of all that runs with this data folder."""
        mark, found = f"QZBRAIN_DATA={self.data}".encode(), {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "environ").read_bytes().split(b"\0") and b") Z" not in (entry / "stat").read_bytes():
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                except OSError:
                    continue
        return found

    def call(self, method: str, path: str, payload: Any = None) -> tuple[int, Any]:
        """A JSON request; status and reply."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body = None if payload is None else json.dumps(payload).encode()
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            data = response.read()
            return response.status, json.loads(data) if data else None
        finally:
            connection.close()

    def status(self, path: str) -> int:
        """The status of a GET, 0 when nobody answers."""
        try:
            return self.call("GET", path)[0]
        except (OSError, http.client.HTTPException, ValueError):
            return 0
