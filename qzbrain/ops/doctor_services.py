"""The doctor's look at what runs: web, worker, and every process that supervisord minds."""

from __future__ import annotations

import urllib.error
import urllib.request

from qzbrain.jobs.lock import worker_is_alive
from qzbrain.ops.finding import Finding, Text
from qzbrain.ops.minding import log_of, start_of
from qzbrain.ops.own_tls import own_tls
from qzbrain.ops.serving import serving
from qzbrain.ops.start import running_brain
from qzbrain.ops.supervised import seen
from qzbrain.settings import Settings

_STEP = 8
_TIMEOUT_S = 3.0
_TOLD = 600


def web(settings: Settings) -> list[Finding]:
    """The running brain answers /readyz; in another container than this one it is only seen to run."""
    title, server = ("网页服务", "web"), serving(settings)
    if server is None and not running_brain(settings):
        return [Finding.skip("web", _STEP, title, ("没有运行", "not running"), start_of(settings))]
    if server is not None and not server.is_here:
        seen_there = (f"在 {server.host} 中运行；就绪与否请在那里检查", f"runs in {server.host}; whether it is ready can be seen there")
        return [Finding.ok("web", _STEP, title, seen_there)]
    try:
        with _direct().open(f"{settings.url}/readyz", timeout=_TIMEOUT_S) as response:
            return [Finding.ok("web", _STEP, title, (f"{settings.url} {response.status}",) * 2)]
    except urllib.error.HTTPError as exc:  # it answers and is not ready: its body says what is missing
        said = f"/readyz: {exc.code} {exc.read(_TOLD).decode('utf-8', 'replace').strip()}"
        return [Finding.fail("web", _STEP, title, (said, said), log_of("web", settings))]
    except (OSError, ValueError) as exc:
        return [Finding.fail("web", _STEP, title, (f"/readyz: {exc}",) * 2, log_of("web", settings))]


def _direct() -> urllib.request.OpenerDirector:
    """Never by a proxy: it is our own address on this machine."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=own_tls()))


def worker(settings: Settings) -> list[Finding]:
    """A worker holds its lock."""
    title = ("后台处理", "worker")
    if worker_is_alive(settings.data):
        return [Finding.ok("worker", _STEP, title, ("正在运行", "running"))]
    if not running_brain(settings) and serving(settings) is None:
        return [Finding.skip("worker", _STEP, title, ("没有运行", "not running"), start_of(settings))]
    return [Finding.fail("worker", _STEP, title, ("没有运行", "not running"), log_of("worker", settings))]


def supervised(settings: Settings) -> list[Finding]:
    """supervisord shows every process of a running brain as running."""
    title: Text = ("进程", "processes")
    running = running_brain(settings)
    if not running and serving(settings) is None:
        return [Finding.skip("processes", _STEP, title, ("没有运行", "not running"), start_of(settings))]
    there = seen(settings) if running else None
    if there is None:
        shown = ("由其他进程管理器看护，或控制套接字不可用", "minded by another process manager, or the control socket cannot be used")
        return [Finding.skip("processes", _STEP, title, shown, ("qzbrain doctor --step 8",) * 2)]
    shown = (", ".join(f"{one.name} {one.state}" for one in there),) * 2
    down = [one for one in there if one.needed and one.state not in ("running", "starting")]
    if down:
        return [Finding.fail("processes", _STEP, title, shown, log_of(down[0].name, settings))]
    return [Finding.ok("processes", _STEP, title, shown)]
