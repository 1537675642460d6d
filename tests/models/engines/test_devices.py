"""GPUs by a stand-in for nvidia-smi that says what real ones say; memory by the kernel's files, laid out in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qzbrain.models.engines import devices as hardware
from qzbrain.models.engines.base import Device
from qzbrain.models.engines.devices import devices, look, machine_memory, memory_of

MIB, GIB = 1 << 20, 1 << 30
PAGE = "| NVIDIA-SMI 580.95.05              Driver Version: 580.95.05      CUDA Version: 13.0     |"
NO_DRIVER = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running."
)

SmiMaker = Callable[..., Path]


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmiMaker:
    """Puts an nvidia-smi on PATH: `gpus` and `apps` are its answers to queries, `page` to no argument; `body` is all of it."""

    def make(*, gpus: str = "", apps: str = "", page: str = PAGE, code: int = 0, body: str = "") -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        for name, text in (("gpus", gpus), ("apps", apps), ("page", page)):
            (folder / name).write_text(text)
        script = body or f'case "$1" in --query-gpu*) cat {folder}/gpus;; --query-compute*) cat {folder}/apps;; *) cat {folder}/page;; esac\nexit {code}'
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return folder

    return make


def test_without_the_tool_there_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices() == [] and (look().driver, look().cuda) == ("", "") and memory_of([1]) == {}
    assert look().problem is None


def test_what_a_healthy_machine_says(smi: SmiMaker) -> None:
    smi(
        gpus="1, NVIDIA A100-SXM4-80GB, 81920, 1200, 580.95.05, Disabled\n0, NVIDIA A100-SXM4-80GB, 81920, 81000, 580.95.05, Disabled\n",
        apps="GPU-a, 41, 700\nGPU-b, 41, 300\nGPU-a, 42, 5\nGPU-a, 43, [N/A]\n",
    )
    assert devices() == [Device(n, "NVIDIA A100-SXM4-80GB", 81920 * MIB, free * MIB) for n, free in ((0, 81000), (1, 1200))]
    assert (look().driver, look().cuda) == ("580.95.05", "13.0")
    assert memory_of([41, 43, 99]) == {41: 1000 * MIB, 43: 0}
    assert memory_of([]) == {}


def test_memory_that_the_driver_does_not_tell_is_unknown(smi: SmiMaker) -> None:
    smi(gpus="0, NVIDIA GB10, [N/A], [N/A], 580.95.05, [N/A]\n1, NVIDIA H100, 81559, [Insufficient Permissions], 580.95.05, Disabled\n")
    assert [(one.total, one.free) for one in devices()] == [(0, 0), (81559 * MIB, 0)]


def test_a_gpu_that_is_cut_up_has_no_memory_of_its_own(smi: SmiMaker) -> None:
    smi(gpus="0, NVIDIA A100-SXM4-40GB, 40960, 40000, 580.95.05, Enabled\n")
    assert devices() == [Device(0, "NVIDIA A100-SXM4-40GB (MIG)", 0, 0)]


def test_an_old_driver_that_does_not_know_of_that_is_asked_again(smi: SmiMaker) -> None:
    smi(
        body='case "$1" in *mig*) echo \'Field "mig.mode.current" is not a valid field to query.\'; exit 2;; '
        '--query-gpu*) echo "0, Tesla P4, 7611, 7600, 418.67";; *) echo "CUDA Version: 10.1";; esac'
    )
    assert look() == hardware.Gpus((Device(0, "Tesla P4", 7611 * MIB, 7600 * MIB),), "418.67", "10.1")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (NO_DRIVER, "modprobe nvidia"),
        ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95", "restart the machine"),
        ("No devices were found", "pass-through"),
        ("Unable to determine the device handle for GPU0000:3B:00.0: Unknown Error", "nvidia-smi"),
        ("", "nvidia-smi"),
    ],
)
def test_a_broken_driver_is_told_as_the_tool_says_it(smi: SmiMaker, said: str, advice: str) -> None:
    smi(gpus=said, code=9)
    found = look()
    assert found.devices == () and found.problem is not None
    for text in (found.problem.zh, found.problem.en):
        assert " ".join(said.split()).rstrip(".") in text
    assert advice in found.problem.en
    assert devices() == [] and memory_of([1]) == {}


def test_what_says_no_device_and_yet_succeeds_is_told_too(smi: SmiMaker) -> None:
    smi(gpus="No devices were found\n", code=0)
    assert look().problem is not None


def test_a_tool_that_hangs_is_left(smi: SmiMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(body="exec sleep 30")
    monkeypatch.setattr(hardware, "_TIMEOUT_S", 0.2)
    started = time.monotonic()
    found = look()
    assert time.monotonic() - started < 5
    assert found.problem is not None and "no answer" in found.problem.en


def lay_out(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = f"MemTotal:       {64 << 20} kB\nMemFree: 10 kB\nMemAvailable:   {48 << 20} kB\nHugePages_Total: 0\n"


def test_memory_of_the_machine_where_nothing_bounds_it(tmp_path: Path) -> None:
    lay_out(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/user\n", sys__fs__cgroup__user__memory_dot_max="max\n")
    assert machine_memory(tmp_path) == (64 * GIB, 48 * GIB)


def test_a_control_group_bounds_it_and_its_cached_files_count_as_free(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        proc__meminfo=MEMINFO,
        proc__self__cgroup="0::/a/b\n",
        sys__fs__cgroup__a__memory_dot_max=f"{8 * GIB}\n",
        sys__fs__cgroup__a__memory_dot_current=f"{5 * GIB}\n",
        sys__fs__cgroup__a__memory_dot_stat=f"anon 1\ninactive_file {2 * GIB}\n",
        sys__fs__cgroup__a__b__memory_dot_max="max\n",
    )
    assert machine_memory(tmp_path) == (8 * GIB, 5 * GIB)


def test_in_a_container_the_group_is_at_the_root(tmp_path: Path) -> None:
    lay_out(
        tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/docker/x\n", sys__fs__cgroup__memory_dot_max=f"{GIB}", sys__fs__cgroup__memory_dot_current="7"
    )
    assert machine_memory(tmp_path) == (GIB, GIB - 7)


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        proc__meminfo=MEMINFO,
        proc__self__cgroup="5:cpu,cpuacct:/x\n4:memory:/x\n",
        sys__fs__cgroup__memory__x__memory_dot_limit_in_bytes=f"{4 * GIB}",
        sys__fs__cgroup__memory__x__memory_dot_usage_in_bytes=f"{GIB}",
        sys__fs__cgroup__memory__memory_dot_limit_in_bytes="9223372036854771712",
    )
    assert machine_memory(tmp_path) == (4 * GIB, 3 * GIB)


def test_nothing_known_is_nothing() -> None:
    assert machine_memory(Path("/nowhere")) == (0, 0)


def test_this_machine_has_memory() -> None:
    total, available = machine_memory()
    assert 0 < available <= total
