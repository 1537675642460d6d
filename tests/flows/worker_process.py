"""The real worker as a process of its own, for tests that kill and stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


class WorkerProcess:
    """`python -m qzbrain.worker` over a data folder; started again on demand. What it logs is in `log`, where that is given."""

    def __init__(self, data: Path, environment: Mapping[str, str] | None = None, log: Path | None = None) -> None:
        self.data, self.log = data, log
        self._environment = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, code: str = "") -> subprocess.Popen[bytes]:
        """Start the worker, or (for one with other constants) the code given."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("QZBRAIN_")}
        environment |= {"QZBRAIN_EMBEDDER": "none", "QZBRAIN_DATA": str(self.data), "LOG_LEVEL": "warning", **self._environment}
        command = [sys.executable, *(("-c", code) if code else ("-m", "qzbrain.worker"))]
        if self.log is None:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment)
        else:
            with self.log.open("ab") as out:
                self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
        return self.process

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> float:
        """SIGTERM; returns the seconds that it took to end."""
        assert self.process is not None
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(10)
        return time.monotonic() - began


def until(done: Callable[[], bool], *, within_s: float, what: str) -> float:
    """Poll until `done()`; returns the seconds. Fails the test when it takes longer than `within_s`."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < within_s, f"not within {within_s} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - began
