"""A pytest plugin that writes down when each test ran, so that silence.py can say which one broke it: `-p tests.offline.watch`."""

from __future__ import annotations

import os
import time
from pathlib import Path


def _write(sign: str, nodeid: str) -> None:
    """By the process that has the terminal alone: it hears of every worker's tests."""
    if os.environ.get("SILENCE_TESTS") and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(os.environ["SILENCE_TESTS"]).open("a", encoding="utf-8") as log:
            log.write(f"{time.time()} {sign} {nodeid}\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    """A test begins."""
    _write("+", nodeid)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """It is over."""
    _write("-", nodeid)
