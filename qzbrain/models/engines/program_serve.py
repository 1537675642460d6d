"""Runs an engine that is a program of its own (vLLM, SGLang) under the same promises as `local_serve.py`: `python -m … --state FILE -- ARGV`.

It takes the engine's lock, finds it a port, waits until it listens, writes the state file, and ends with it. It ends the engine, and
everything that the engine started, on SIGTERM and when its own parent dies; an orphaned grandchild comes back to it (the kernel's
child subreaper), so that nothing keeps a GPU's memory. Only the standard library: it stays in memory beside the engine.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from qzbrain.models.engines.base import PORT
from qzbrain.models.engines.launchers.local_serve import alone, began, write_state

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_POLL_S = 0.1
_FAREWELL_S = 10.0
"""How long an engine may take to end by itself before it is killed."""
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Serve until there is a reason to end. The exit code is the engine's, 0 after a stop, 75 when another one runs."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--health", default="/health")
    parser.add_argument("argv", nargs="+")
    given = parser.parse_args()
    ends_within = alone(given.state)
    code = _run(given.argv, given.state, given.health, lambda: ends_within(_POLL_S))
    given.state.unlink(missing_ok=True)
    sys.exit(code)


def _run(argv: list[str], state: Path, health: str, stopped: Callable[[], bool]) -> int:
    port = _free_port()
    command = [one.replace(PORT, str(port)) for one in argv]
    try:
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=state.parent, preexec_fn=_die_with_parent)
    except OSError as exc:
        sys.exit(f"{command[0]}: {exc.strerror}")
    told = False
    try:
        while not stopped():
            if (code := engine.poll()) is not None:
                return code if code > 0 else 128 - code if code < 0 else 0
            if not told and _listens(port, health):
                key = os.environ.get("QZBRAIN_ENGINE_KEY", "")
                write_state(state, {"pid": os.getpid(), "began": began(os.getpid()), "url": f"http://127.0.0.1:{port}", "key": key})
                told = True
        return 0
    finally:
        state.unlink(missing_ok=True)
        _end(engine)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(engine: subprocess.Popen[bytes]) -> None:
    """End the engine, then whatever it left behind; all of it is gone on return."""
    if engine.poll() is None:
        engine.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.wait(_FAREWELL_S)
    end = time.monotonic() + _FAREWELL_S
    while (left := descendants(os.getpid())) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    """All processes below this one, in no order; zombies not counted."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z" or int(fields[1]) == pid:
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, open_ = [], [pid]
    while open_:
        below = children.get(open_.pop(), [])
        found += below
        open_ += below
    return found


if __name__ == "__main__":
    main()
