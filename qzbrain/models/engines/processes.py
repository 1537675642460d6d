"""The processes of an engine, found by a mark in their environment: whatever group or session they moved to, none of them is missed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "QZBRAIN_ENGINE"
"""Environment variable of an engine and of all that it starts: the path of its state file, which names data folder and model."""
_KILL_S = 10.0


def of_engine(state: Path) -> list[int]:
    """Process ids that carry this engine's mark and have not ended. Processes of other users are not seen."""
    mark, found = f"{MARK}={state}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0") and not has_ended(int(entry.name)):
                    found.append(int(entry.name))
    return found


def has_ended(pid: int) -> bool:
    """Gone, or a zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return True


def kill(state: Path) -> list[int]:
    """SIGKILL to everything of this engine until nothing is left; the processes that were left. Waits 10 s at most."""
    end = time.monotonic() + _KILL_S
    killed: set[int] = set()
    while (left := of_engine(state)) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        killed.update(left)
        time.sleep(0.02)
    return sorted(killed)
