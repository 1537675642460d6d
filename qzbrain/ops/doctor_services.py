"""The doctor's look at what runs: web, worker, language models, and the servers that this version does not use."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

from qzbrain.jobs.lock import worker_is_alive
from qzbrain.ops.finding import Finding
from qzbrain.ops.start import running_brain
from qzbrain.ops.supervision import log_folder
from qzbrain.settings import ModelSettings, Settings

_TIMEOUT_S = 3.0


def not_in_this_version(settings: Settings) -> list[Finding]:
    """What the manual names and this version does not have."""
    return [
        Finding.skip("graph_service", 3, ("知识图谱服务", "graph service"), ("本版本没有知识图谱", "this version has no graph"), ("", "")),
        Finding.skip("docker", 9, ("Docker", "Docker"), ("本版本不使用容器", "this version uses no containers"), ("", "")),
    ]


def models(settings: Settings) -> list[Finding]:
    """Each external model that is alive, by a real call to its list of models."""
    alive = {name: model for name, model in settings.models.items() if model.alive and model.engine == "external"}
    if not alive:
        evidence = ("没有配置语言模型，使用内置的摘录式回答", "no language model is configured; answers are taken from the texts")
        return [
            Finding.skip("models", 5, ("语言模型", "language models"), evidence, ("在 config.toml 中添加 [models.名称]", "add [models.NAME] to config.toml"))
        ]
    return [_model(name, model) for name, model in alive.items()]


def _model(name: str, model: ModelSettings) -> Finding:
    check, title = f"model:{name}", (f"语言模型 {name}", f"language model {name}")
    url = model.base_url.rstrip("/") + "/models"
    headers = {"Authorization": f"Bearer {model.key()}"} if model.key() else {}
    started = time.monotonic()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S) as response:  # noqa: S310  http(s) only: settings
            known = [str(x.get("id")) for x in json.load(response).get("data", [])]
    except urllib.error.HTTPError as exc:
        advice = ("检查 api_key 或 api_key_env", "check api_key or api_key_env") if exc.code in (401, 403) else ("检查 base_url", "check base_url")
        return Finding.fail(check, 5, title, (f"{url} 返回 {exc.code}", f"{url} answered {exc.code}"), advice)
    except (OSError, ValueError, AttributeError) as exc:
        reason = str(getattr(exc, "reason", exc))
        advice = (
            "启动该模型服务，或改正 base_url；在此之前回答降级为摘录",
            "start that server, or correct base_url; until then answers are taken from the texts",
        )
        return Finding.fail(check, 5, title, (f"{url} 不可用：{reason}", f"{url}: {reason}"), advice)
    wanted = model.model or name
    took = f"{(time.monotonic() - started) * 1000:.0f} ms"
    if known and wanted not in known:
        listed = ", ".join(known[:5])
        advice = (f"把 model 改为其中之一：{listed}", f"set model to one of: {listed}")
        return Finding.warn(check, 5, title, (f"服务中没有 {wanted}", f"the server does not list {wanted}"), advice)
    return Finding.ok(check, 5, title, (f"{url}，{took}", f"{url}, {took}"))


def web(settings: Settings) -> list[Finding]:
    """The running brain answers /readyz."""
    title = ("网页服务", "web")
    if not running_brain(settings):
        return [Finding.skip("web", 8, title, ("没有运行", "not running"), ("./run.sh", "./run.sh"))]
    try:
        with urllib.request.urlopen(f"{settings.url}/readyz", timeout=_TIMEOUT_S) as response:  # noqa: S310  our own address
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
