"""Who holds a lease: `host:pid:start:random`. Tells a holder that died on this host from one that lives, at once.

The process's start time guards against a process id that was given to another program meanwhile.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

_LONGEST_HOST = 24


def _host() -> str:
    return socket.gethostname().replace(":", "-")[:_LONGEST_HOST]


def _start_ticks(pid: int) -> str | None:
    """Clock ticks after boot at which the process began; None when there is no such process, or it has ended and waits for its parent.

    Where there is no /proc it is always '0' for a process that exists.
    """
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "0"
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def new_owner() -> str:
    """A name for this process as a holder of leases, at most 64 characters."""
    return f"{_host()}:{os.getpid()}:{_start_ticks(os.getpid())}:{secrets.token_hex(4)}"


def died_here(owner: str) -> bool:
    """True when the holder ran on this host and its process is no more. False for other hosts: their leases run out by time."""
    host, _, rest = owner.partition(":")
    pid, _, rest = rest.partition(":")
    start = rest.partition(":")[0]
    return host == _host() and pid.isdecimal() and _start_ticks(int(pid)) != start
