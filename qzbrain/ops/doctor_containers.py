"""The doctor's look at Docker and the NVIDIA container toolkit: the manual's second way. Skipped where it is not used; nothing is started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

from qzbrain.ops.finding import Finding, Text
from qzbrain.ops.minding import in_container
from qzbrain.settings import Settings

_STEP = 9
_TIMEOUT_S = 4.0
_TITLE: Text = ("Docker", "Docker")
_TOOLKIT: Text = ("NVIDIA 容器工具", "NVIDIA container toolkit")
_ABOUT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/"


def docker(settings: Settings) -> list[Finding]:
    """The engine answers, Compose is there, and containers get GPUs where the machine has any."""
    if in_container():
        inside = ("本程序在容器内运行，由外面的 docker compose 看护", "this runs inside a container; docker compose outside minds it")
        return [Finding.ok("docker", _STEP, _TITLE, inside)]
    if shutil.which("docker") is None:
        without = ("未使用；需要时见 docs/deploy.md", "not used; docs/deploy.md tells how")
        return [Finding.skip("docker", _STEP, _TITLE, ("没有安装", "not installed"), without)]
    said, failed = _asked("version", "--format", "{{.Server.Version}}")
    if failed:
        seen = (f"已安装，但没有应答：{said}", f"installed, but it does not answer: {said}")
        return [Finding.warn("docker", _STEP, _TITLE, seen, (_start(said),) * 2)]
    compose, lacks = _asked("compose", "version", "--short")
    if lacks:
        seen = (f"{said}，没有 Compose", f"{said}, without Compose")
        return [Finding.warn("docker", _STEP, _TITLE, seen, ("sudo apt-get install -y docker-compose-plugin",) * 2)]
    both = f"{said}, Compose {compose}"
    return [Finding.ok("docker", _STEP, _TITLE, (both, both)), _toolkit()]


def _start(said: str) -> str:
    if "permission denied" in said.lower():
        return f"sudo usermod -aG docker {os.environ.get('USER', '$USER')} && newgrp docker"
    return "sudo systemctl start docker; docker info"


def _toolkit() -> Finding:
    """Docker knows the runtime `nvidia`, or devices by CDI."""
    if shutil.which("nvidia-smi") is None:
        return Finding.skip("container_gpu", _STEP, _TOOLKIT, ("本机没有 NVIDIA 显卡", "this machine has no NVIDIA GPU"), ("不需要", "not needed"))
    said, failed = _asked("info", "--format", "{{json .}}")
    try:
        told: dict[str, Any] = {} if failed else json.loads(said)
    except ValueError:
        told = {}
    if "nvidia" in (told.get("Runtimes") or {}) or any("nvidia" in str(one) for one in told.get("DiscoveredDevices") or []):
        return Finding.ok("container_gpu", _STEP, _TOOLKIT, ("Docker 已能使用 GPU", "Docker can give containers GPUs"))
    configure = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
    command = f"sudo apt-get install -y nvidia-container-toolkit && {configure} ({_ABOUT})"
    seen = ("Docker 不知道 nvidia 运行时：容器得不到显卡", "Docker does not know the runtime nvidia: containers get no GPU")
    return Finding.warn("container_gpu", _STEP, _TOOLKIT, seen, (command, command))


def _asked(*arguments: str) -> tuple[str, bool]:
    """What docker printed, in one line, and whether it failed."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"no answer within {_TIMEOUT_S:g} s", True
    except OSError as exc:
        return str(exc), True
    out, err = (one.decode("utf-8", "replace").strip() for one in (done.stdout, done.stderr))
    return (out if not done.returncode else " ".join((err or out).split())[:300]), done.returncode != 0 or not out
