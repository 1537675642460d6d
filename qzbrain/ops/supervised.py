"""The processes of a running brain, as its supervisord tells: their state, stopping and restarting one or all. Over the socket in the data folder."""

from __future__ import annotations

import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.knowledge.heap import resident_bytes
from qzbrain.ops.start import running_brain
from qzbrain.ops.supervision import GROUP, programs, socket_path
from qzbrain.settings import Settings

_ALREADY = 60, 70
"""supervisord's faults for a process that is started, or not running, already."""
_LOOK_S = 0.1
_UP_S = 60.0


@dataclass(frozen=True, slots=True)
class Process:
    """One of them. `state` is supervisord's, in small letters; `needed`: it is meant to run; `restarts` counts from the brain's start on.

    `memory_bytes`: its children's too; pages shared between them once.
    """

    name: str
    state: str
    needed: bool
    pid: int
    uptime_s: int
    restarts: int
    log: str
    memory_bytes: int

    @property
    def well(self) -> bool:
        """Whether it is as it is meant to be."""
        return self.state == "running" or (self.state == "stopped" and not self.needed)


class Processes:
    """Of the brain that runs on the data folder of these settings. Each method raises Conflict when there is none, or when it cannot be spoken to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def supervisor(self) -> dict[str, object]:
        """`pid` and `url` of the running brain."""
        found = running_brain(self._settings)
        if not found:
            raise Conflict(
                "not_running",
                zh=f"数据目录 {self._settings.data} 上没有运行中的 qzbrain。启动：./run.sh（作为系统服务：systemctl start qzbrain）。"
                "由其他进程管理器看护时，请在那里查看。",
                en=f"No brain runs on the data folder {self._settings.data}. Start it: ./run.sh (as a service: systemctl start qzbrain). "
                "Where another process manager looks after its processes, ask that one.",
            )
        return found

    def look(self) -> list[Process]:
        """All processes, in the order of their start."""
        with self._rpc() as server:
            found = {one["name"]: one for one in server.supervisor.getAllProcessInfo()}
            starts = _starts(server)
        resident = _Resident()
        return [_process(found[name], starts.get(name, 0), resident) for name in programs() if name in found]

    def stop(self, name: str = "") -> None:
        """End one process, which stays down until it is started again, or the whole brain. Returns when it has ended; running answers end first."""
        if name:
            with self._rpc() as server:
                _forgiving(server.supervisor.stopProcess, _known(name))
            return
        with self._rpc() as server:
            server.supervisor.shutdown()
        self._await(lambda: not running_brain(self._settings), self._settings.stop_wait_s + 10)

    def restart(self, name: str = "") -> None:
        """End and start one process, or the whole brain with its settings read anew. Returns when it runs, and, of web and the whole, serves."""
        if name:
            with self._rpc() as server:
                _forgiving(server.supervisor.stopProcess, _known(name))
                _forgiving(server.supervisor.startProcess, _known(name))
        else:
            before = self._started()
            with self._rpc() as server:
                server.supervisor.restart()
            self._await(lambda: self._started() not in (before, 0), self._settings.stop_wait_s + _UP_S)
        if name in ("", "web"):
            self._await(self._serves, _UP_S)

    def _started(self) -> int:
        """The pid of web, which changes with a restart; 0 while there is none."""
        try:
            return next((one.pid for one in self.look() if one.name == "web"), 0)
        except Conflict:
            return 0

    def _serves(self) -> bool:
        from qzbrain.ops.supervise import missing

        return not missing(self._settings.url, "")

    def _await(self, condition: Any, within_s: float) -> None:
        end = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > end:
                logs = self._settings.data / "logs"
                raise Conflict(
                    "not_in_time",
                    zh=f"{within_s:.0f} 秒内没有完成。请运行 qzbrain status，并查看 {logs} 中的日志。",
                    en=f"Not done within {within_s:.0f} s. Look at: qzbrain status, and at the logs in {logs}.",
                )
            time.sleep(_LOOK_S)

    @contextmanager
    def _rpc(self) -> Iterator[Any]:
        from supervisor.xmlrpc import SupervisorTransport

        running = self.supervisor()
        path = socket_path(self._settings)
        try:
            yield xmlrpc.client.ServerProxy("http://127.0.0.1", transport=SupervisorTransport(serverurl=f"unix://{path}"))
        except (OSError, xmlrpc.client.Error, HTTPException) as exc:
            pid = running.get("pid", "?")
            raise Conflict(
                "supervisor_unreachable",
                zh=f"无法与看护进程（PID {pid}）通信：{exc}（{path}）。请以运行 qzbrain 的用户执行；停止也可以用：kill {pid}",
                en=f"The supervisor (PID {pid}) cannot be spoken to: {exc} ({path}). Run this as the user who runs the brain; to stop it: kill {pid}",
            ) from exc


def seen(settings: Settings) -> list[Process] | None:
    """All that supervisord minds; None when nothing runs, or it cannot be asked."""
    try:
        return Processes(settings).look()
    except Conflict:
        return None


def _known(name: str) -> str:
    if name not in programs():
        names = ", ".join(programs())
        zh, en = f"没有名为 {name} 的进程；可用：{names}。", f"There is no process {name}; there are {names}."
        raise InvalidRequest("unknown_process", zh=zh, en=en, param="name")
    return f"{GROUP}:{name}"


def _forgiving(call: Any, name: str) -> None:
    """A process that is already as wanted is no fault."""
    try:
        call(name)
    except xmlrpc.client.Fault as exc:
        if exc.faultCode not in _ALREADY:
            raise


def _starts(server: Any) -> dict[str, int]:
    try:
        return dict(server.qzbrain.starts())
    except xmlrpc.client.Fault:  # a supervisord that an older version started
        return {}


def _process(info: dict[str, Any], starts: int, resident: _Resident) -> Process:
    state = str(info["statename"]).lower()
    running = state in ("running", "starting", "stopping")
    return Process(
        name=str(info["name"]),
        state=state,
        needed=starts > 0 or running,
        pid=int(info["pid"]),
        uptime_s=max(0, int(info["now"]) - int(info["start"])) if running else 0,
        restarts=max(0, starts - 1),
        log=str(info["stdout_logfile"]),
        memory_bytes=resident.of(int(info["pid"])),
    )


class _Resident:
    """What processes hold, with all that they started. Pages that several share are counted once, where the system tells (PSS): a web process has most of
    its own in common with the one that it was forked from."""

    def __init__(self) -> None:
        self._children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                self._children.setdefault(parent, []).append(int(entry.name))

    def of(self, pid: int) -> int:
        """Bytes; 0 for no process."""
        return _held(pid) + sum(self.of(child) for child in self._children.get(pid, [])) if pid else 0


def _held(pid: int) -> int:
    with suppress(OSError, StopIteration, ValueError):  # it may be another user's
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return resident_bytes(pid)
