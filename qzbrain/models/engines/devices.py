"""The GPUs of this machine as NVIDIA's own tool shows them, and the machine's memory as the kernel and its control group do. Only looks.

Without nvidia-smi there are no devices. A tool that is there and fails is told as it says it: a driver that is not loaded, or another
than the kernel's module, is the usual reason why no engine starts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from qzbrain.models.engines.base import Device, Problem

_TIMEOUT_S = 5.0
_MIB = 1 << 20
_FIELDS = "index,name,memory.total,memory.free,driver_version"
_TOLD_CHARS = 300
_NO_LIMIT = 1 << 60
"""A control group without a limit says a number near 2^63 (version 1)."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """What nvidia-smi says. `problem`: why it says nothing, where it is installed and fails. `cuda`: the newest CUDA that the driver can serve."""

    devices: tuple[Device, ...] = ()
    driver: str = ""
    cuda: str = ""
    problem: Problem | None = None


def devices() -> list[Device]:
    """The GPUs in their own order; [] where there are none or nothing can be learned of them (`look` says why).

    `total` and `free` are 0 where the driver does not tell (memory shared with the CPU, a GPU cut into MIG instances, a container without the right).
    """
    return list(look().devices)


def look() -> Gpus:
    """Devices, driver and CUDA version, or why they cannot be seen. Takes up to two time-outs of 5 s."""
    if shutil.which("nvidia-smi") is None:
        return Gpus()
    said, failed = _asked(f"--query-gpu={_FIELDS},mig.mode.current", "--format=csv,noheader,nounits")
    if failed and "not a valid field" in said:  # a driver from before MIG
        said, failed = _asked(f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits")
    if failed:
        return Gpus(problem=_broken(said))
    rows = [[part.strip() for part in line.split(",")] for line in said.splitlines() if line.strip()]
    found = [device for row in rows if (device := _device(row)) is not None]
    if not found:
        return Gpus(problem=_broken(said or "no device"))
    driver = next((row[4] for row in rows if len(row) > 4), "")
    return Gpus(tuple(sorted(found, key=lambda one: one.index)), driver, _cuda())


def memory_of(pids: Collection[int]) -> dict[int, int]:
    """Bytes of GPU memory that these processes hold, on all GPUs together; a process that holds none is not in it.

    0 for one that holds some whose size the driver does not tell. A container with process ids of its own sees nothing here.
    """
    wanted, held = set(pids), dict[int, int]()
    if not wanted or shutil.which("nvidia-smi") is None:
        return held
    said, failed = _asked("--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader,nounits")
    for line in [] if failed else said.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3 and parts[1].isdigit() and int(parts[1]) in wanted:
            held[int(parts[1])] = held.get(int(parts[1]), 0) + _mebibytes(parts[2])
    return held


def machine_memory(root: Path = Path("/")) -> tuple[int, int]:
    """Bytes that this process may have in all, and now: the machine's, or its control group's where that is less. (0, 0) where nothing tells.

    `root`: where `proc` and `sys` are.
    """
    kernel = {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)}
    total, available = kernel.get("MemTotal", 0), kernel.get("MemAvailable", 0)
    for limit, used in _groups(root):
        if limit < _NO_LIMIT and (not total or limit < total):
            total = limit
        if limit < _NO_LIMIT:
            available = min(available or limit, max(0, limit - used))
    return total, available


def _device(row: list[str]) -> Device | None:
    if len(row) < 4 or not row[0].isdigit():
        return None
    if len(row) > 5 and row[5] == "Enabled":  # its instances have the memory, and are not known by number
        return Device(int(row[0]), f"{row[1]} (MIG)", 0, 0)
    total = _mebibytes(row[2])
    return Device(int(row[0]), row[1], total, min(total, _mebibytes(row[3])))


def _mebibytes(text: str) -> int:
    return int(text) * _MIB if text.isdigit() else 0


def _cuda() -> str:
    """Only nvidia-smi's page for people has it."""
    said, failed = _asked()
    found = None if failed else re.search(r"CUDA[\w ]* Version\s*:\s*([\d.]+)", said)
    return found[1] if found else ""


def _asked(*arguments: str) -> tuple[str, bool]:
    """What it printed, and whether it failed."""
    try:
        done = subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"}
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_TIMEOUT_S:g} s", True
    except OSError as exc:
        return str(exc), True
    said = done.stdout.decode("utf-8", "replace").strip()
    return said or done.stderr.decode("utf-8", "replace").strip(), done.returncode != 0


def _broken(said: str) -> Problem:
    line = " ".join(said.split())[:_TOLD_CHARS] or "?"
    zh, en = "运行 nvidia-smi 查看；重装驱动或重启机器后再试", "run nvidia-smi to see it; install the driver again or restart the machine"
    if "version mismatch" in said:
        zh, en = "驱动已更新但旧的内核模块还在：请重启机器", "the driver was updated while the old kernel module is loaded: restart the machine"
    elif "couldn't communicate" in said:
        zh, en = (
            "驱动没有加载：运行 sudo modprobe nvidia；不成功则为当前内核重装驱动（sudo apt-get install --reinstall nvidia-dkms-VERSION）并重启",
            "the driver is not loaded: sudo modprobe nvidia; if that fails install it again for this kernel "
            "(sudo apt-get install --reinstall nvidia-dkms-VERSION) and restart",
        )
    elif "o devices were found" in said:
        zh, en = "容器中请加 --gpus all 启动；虚拟机中请检查显卡直通", "in a container start it with --gpus all; in a virtual machine look at the pass-through"
    return Problem("driver", zh=f"nvidia-smi 无法看到 GPU：{line}。{zh}。", en=f"nvidia-smi cannot see the GPUs: {line.rstrip('.')}. Next: {en}.")


def _groups(root: Path) -> list[tuple[int, int]]:
    """Limit and use of the process's memory control groups, its own and those above it."""
    found = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        base = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        if (controllers and "memory" not in controllers.split(",")) or (not controllers and number != "0"):
            continue
        own = base / place.lstrip("/")
        for folder in (own, *(one for one in own.parents if one == base or base in one.parents)):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
            limit, used = (_text(folder / name).strip() for name in names)
            if limit.isdigit():
                found.append((int(limit), max(0, (int(used) if used.isdigit() else 0) - _reclaimable(folder))))
    return found


def _reclaimable(folder: Path) -> int:
    """Cached files, which the kernel gives back when memory is wanted."""
    found = re.search(r"^(?:total_)?inactive_file (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
    return int(found[1]) if found else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
