"""The doctor's look at what runs: web, worker, and the servers that this version does not use."""

from __future__ import annotations

import urllib.request

from qzbrain.jobs.lock import worker_is_alive
from qzbrain.ops.finding import Finding
from qzbrain.ops.own_tls import own_tls
from qzbrain.ops.start import running_brain
from qzbrain.ops.supervision import log_folder
from qzbrain.settings import Settings

_TIMEOUT_S = 3.0


def not_in_this_version(settings: Settings) -> list[Finding]:
    """What the manual names and this version does not have."""
    return [
        Finding.skip("docker", 9, ("Docker", "Docker"), ("本版本不使用容器", "this version uses no containers"), ("", "")),
    ]


def web(settings: Settings) -> list[Finding]:
    """The running brain answers /readyz."""
    title = ("网页服务", "web")
    if not running_brain(settings):
        return [Finding.skip("web", 8, title, ("没有运行", "not running"), ("./run.sh", "./run.sh"))]
    try:
        with urllib.request.urlopen(f"{settings.url}/readyz", timeout=_TIMEOUT_S, context=own_tls()) as response:  # noqa: S310  our own address
            return [Finding.ok("web", 8, title, (f"{settings.url} {response.status}", f"{settings.url} {response.status}"))]
    except (OSError, ValueError) as exc:
        log = log_folder(settings) / "web.log"
        return [Finding.fail("web", 8, title, (f"/readyz: {exc}", f"/readyz: {exc}"), (f"查看 {log}", f"see {log}"))]


def worker(settings: Settings) -> list[Finding]:
    """A worker holds its lock."""
    title = ("后台处理", "worker")
    if worker_is_alive(settings.data):
        return [Finding.ok("worker", 8, title, ("正在运行", "running"))]
    if not running_brain(settings):
        return [Finding.skip("worker", 8, title, ("没有运行", "not running"), ("./run.sh", "./run.sh"))]
    log = log_folder(settings) / "worker.log"
    return [Finding.fail("worker", 8, title, ("没有运行", "not running"), (f"查看 {log}", f"see {log}"))]
