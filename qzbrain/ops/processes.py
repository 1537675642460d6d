"""The processes of a running brain as supervisord shows them, and this system's parts, for the page that shows them. Only looks."""

from __future__ import annotations

import os
import xmlrpc.client
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from qzbrain.models.engines.manager import is_needed
from qzbrain.ops.supervision import ENGINES, GRAPH, socket_path
from qzbrain.settings import Settings


@dataclass(frozen=True, slots=True)
class Process:
    """One program. `state` as supervisord names it; `since`: seconds since 1970, 0 when it does not run; `memory_bytes`: resident, its children's too."""

    name: str
    state: str
    pid: int
    since: float
    memory_bytes: int
    wanted: bool


def supervised(settings: Settings) -> list[Process] | None:
    """All that supervisord minds, None when it cannot be asked."""
    path = socket_path(settings)
    if path is None or not path.exists():
        return None
    from supervisor.xmlrpc import SupervisorTransport

    server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=SupervisorTransport(serverurl=f"unix://{path}"))
    try:
        told = server.supervisor.getAllProcessInfo()
    except (OSError, xmlrpc.client.Error, HTTPException):
        return None
    if not isinstance(told, list):
        return None
    memory, idle = _Resident(), _idle(settings)
    return [
        Process(
            str(one["name"]), str(one["statename"]), int(one["pid"]), float(one["start"]) if one["pid"] else 0.0, memory.of(int(one["pid"])),
            one["name"] not in idle,
        )
        for one in told if isinstance(one, dict)
    ]  # fmt: skip


def _idle(settings: Settings) -> set[str]:
    """Programs that need not run with these settings."""
    return (set() if is_needed(settings) else {ENGINES}) | (set() if settings.qzbrain_graph_service == "on" else {GRAPH})


class _Resident:
    """What processes hold, with all that they started, from one look at /proc."""

    def __init__(self) -> None:
        self._children: dict[int, list[int]] = {}
        self._bytes: dict[int, int] = {}
        page = os.sysconf("SC_PAGE_SIZE")
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                self._bytes[int(entry.name)] = int((entry / "statm").read_text().split()[1]) * page
            except (OSError, ValueError, IndexError):
                continue
            self._children.setdefault(parent, []).append(int(entry.name))

    def of(self, pid: int) -> int:
        """Bytes; 0 for no process."""
        return self._bytes.get(pid, 0) + sum(self.of(child) for child in self._children.get(pid, [])) if pid else 0
