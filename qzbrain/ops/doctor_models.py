"""The doctor's look at models: their files and whether there is room for them, engines and GPUs as far as models need them, external servers by a call."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

from qzbrain.knowledge.heap import resident_bytes
from qzbrain.models.catalog import LOCAL_ENGINES, SET_UP_ENGINES, all_models, embedder_name, reranker_name
from qzbrain.models.engines import devices as hardware
from qzbrain.models.engines.base import Problem
from qzbrain.models.engines.devices import Gpus
from qzbrain.models.engines.launching import engine_environment, log_path
from qzbrain.models.engines.local import LocalEngines
from qzbrain.models.engines.manager import managed_models
from qzbrain.models.engines.needs import shown
from qzbrain.models.engines.on_demand import OnDemandEngines
from qzbrain.models.engines.validation import Examined, examined_all
from qzbrain.models.engines.validation_memory import named_devices
from qzbrain.models.engines.validation_options import engine_version, environment_problems, option_problems
from qzbrain.ops.finding import Finding, Text
from qzbrain.ops.start import running_brain
from qzbrain.settings import ModelSettings, Settings

_TIMEOUT_S = 3.0
_STEP, _RUNNING_STEP = 5, 8
_KINDS = {"chat": ("语言模型", "language model"), "embedding": ("向量模型", "embedding model"), "rerank": ("重排模型", "reranker")}
_ENVIRONMENT = "environment_missing"
"""Told with the engine, once for all its models."""


def models(settings: Settings) -> list[Finding]:
    """GPUs and engines as far as models need them, then each configured model, then what is named and not configured."""
    configured = _configured(settings)
    local = {name: model for name, model in configured.items() if model.engine in LOCAL_ENGINES and model.alive}
    gpus = hardware.look() if local else Gpus()
    memory = hardware.machine_memory()
    looked = examined_all(settings, devices=gpus.devices, memory=memory, held=_held(settings, local)) if local else {}
    found = [*_gpus(settings, local, gpus), *_engines(settings, local)]
    for name, model in configured.items():
        found.append(_local(name, model, looked[name], gpus, memory) if name in local else _elsewhere(name, model))
    return [*found, *_nothing_to_talk_to(configured), *_unknown_reranker(settings)]


def running_engines(settings: Settings) -> list[Finding]:
    """Of a running brain: whether each engine that should be up is, as the engine manager tells it."""
    if not running_brain(settings):
        return []
    engines, found = LocalEngines(settings), []
    for name, model in managed_models(settings).items():
        now, title = engines.state(name), (f"引擎 {name}", f"engine {name}")
        if not engines.wishes().runs(name, model):
            continue
        log = log_path(settings, name)
        if now.state == "failed":
            advice = (f"查看 {log}；处理后运行 qzbrain model start {name}", f"see {log}; then: qzbrain model start {name}")
            found.append(Finding.fail(f"running:{name}", _RUNNING_STEP, title, (now.zh, now.en), advice))
        elif now.state == "ready":
            again = (f"，自行恢复 {now.restarts} 次", f", came back {now.restarts} times") if now.restarts else ("", "")
            found.append(Finding.ok(f"running:{name}", _RUNNING_STEP, title, (f"就绪{again[0]}", f"ready{again[1]}")))
        else:
            advice = (f"稍后再看；日志：{log}", f"look again in a while; its log: {log}")
            found.append(Finding.warn(f"running:{name}", _RUNNING_STEP, title, (now.zh or now.state, now.en or now.state), advice))
    return found


def _configured(settings: Settings) -> dict[str, ModelSettings]:
    """Those of config.toml, and the built-in embedder where it is used."""
    return {name: model for name, model in all_models(settings).items() if name in settings.models or name == embedder_name(settings)}


def _title(name: str, model: ModelSettings) -> Text:
    zh, en = _KINDS[model.kind]
    return f"{zh} {name}", f"{en} {name}"


def _nothing_to_talk_to(configured: Mapping[str, ModelSettings]) -> list[Finding]:
    if any(model.kind == "chat" and model.alive for model in configured.values()):
        return []
    evidence = ("没有启用的语言模型，使用内置的摘录式回答", "no language model is configured and alive; answers are taken from the texts")
    advice = ("在 config.toml 中添加 [models.名称]，示例见 docs/examples/config.toml", "add [models.NAME] to config.toml; see docs/examples/config.toml")
    return [Finding.skip("models", _STEP, ("语言模型", "language models"), evidence, advice)]


def _unknown_reranker(settings: Settings) -> list[Finding]:
    wanted = reranker_name(settings)
    if not wanted or wanted in all_models(settings):
        return []
    shown_ = (f"没有名为 {wanted} 的模型", f"there is no model {wanted}")
    advice = ("在 config.toml 中添加它，或改正 QZBRAIN_RERANKER", "add it to config.toml, or correct QZBRAIN_RERANKER")
    return [Finding.fail("reranker", _STEP, ("重排模型", "reranker"), shown_, advice)]


def _gpus(settings: Settings, local: Mapping[str, ModelSettings], gpus: Gpus) -> list[Finding]:
    """Driver, CUDA and devices; skipped where no model that is alive wants a GPU."""
    title = ("显卡", "GPUs")
    wanting = [
        name for name, model in local.items() if named_devices(settings, model) != [] or (model.engine not in SET_UP_ENGINES and model.devices != "none")
    ]
    listed = "; ".join(f"{one.index} {one.name} {shown(one.free)}/{shown(one.total)}" for one in gpus.devices)
    if not wanting:
        seen = (listed or "未使用", listed or "none used")
        return [Finding.skip("gpu", _STEP, title, seen, ("没有模型需要显卡", "no model that is alive needs one"))]
    if gpus.problem:
        return [Finding.fail("gpu", _STEP, title, ("无法查看", "they cannot be seen"), (gpus.problem.zh, gpus.problem.en))]
    if not gpus.devices:
        names = ", ".join(wanting)
        advice = (
            '安装 NVIDIA 驱动（sudo ubuntu-drivers install），或对 llamacpp 模型设 devices = "none"',
            'install NVIDIA\'s driver (sudo ubuntu-drivers install), or for models of llamacpp set devices = "none"',
        )
        return [Finding.fail("gpu", _STEP, title, (f"没有 nvidia-smi，而 {names} 需要显卡", f"there is no nvidia-smi, and {names} need a GPU"), advice)]
    versions = f"driver {gpus.driver or '?'}, CUDA {gpus.cuda or '?'}"
    return [Finding.ok("gpu", _STEP, title, (f"{versions}；空闲/总量：{listed}", f"{versions}; free/total: {listed}"))]


def _engines(settings: Settings, local: Mapping[str, ModelSettings]) -> list[Finding]:
    """Each engine in each environment that a model uses."""
    found: dict[str, Finding] = {}
    for name, model in local.items():
        where = " ".join(model.command) if model.command and model.engine not in SET_UP_ENGINES else str(engine_environment(settings, model))
        if where in found:
            continue
        title, id = (f"引擎 {model.engine}", f"engine {model.engine}"), f"engine:{model.engine}"
        if any(one.id == id for one in found.values()):  # a second environment of the same engine
            id += f":{name}"
        if problem := next(environment_problems(name, settings, model), None):
            found[where] = Finding.fail(id, _STEP, title, ("没有安装", "not installed"), (problem.zh, problem.en))
        else:
            version = "" if model.command else engine_version(engine_environment(settings, model), model.engine)
            evidence = f"{where} {version}".strip()
            found[where] = Finding.ok(id, _STEP, title, (evidence, evidence))
    return list(found.values())


def _held(settings: Settings, local: Mapping[str, ModelSettings]) -> dict[str, int]:
    """What running engines have of the memory that they need: it is not missing from what is free."""
    engines = OnDemandEngines(settings)
    pids = {name: running.pid for name in local if (running := engines.running(name)) is not None}
    on_gpu = hardware.memory_of(list(pids.values()))
    return {name: on_gpu.get(pid) or resident_bytes(pid) for name, pid in pids.items()}


def _local(name: str, model: ModelSettings, looked: Examined, gpus: Gpus, memory: tuple[int, int]) -> Finding:
    """What the files say and what the model takes, with all that is wrong as what to do."""
    check, title, evidence = f"model:{name}", _title(name, model), _evidence(model, looked, gpus, memory)
    told = [problem for problem in looked.problems if problem.code != _ENVIRONMENT]
    if not told:
        return Finding.ok(check, _STEP, title, evidence)
    advice = (" ".join(one.zh for one in told), " ".join(one.en for one in told))
    make = Finding.fail if any(one.severity == "error" for one in told) else Finding.warn
    return make(check, _STEP, title, evidence, advice)


def _evidence(model: ModelSettings, looked: Examined, gpus: Gpus, memory: tuple[int, int]) -> Text:
    if looked.files is None:
        return f"{model.engine}，path = {model.path!r}", f"{model.engine}, path = {model.path!r}"
    files, place = looked.files, looked.place
    billions = f", {files.parameters / 1e9:.2g} B" if files.parameters >= 10**8 else ""
    what = f"{model.engine}: {files.architecture or '?'} {files.quantisation or files.format}{billions}, {files.path.name}"
    if place is None:
        return what, what
    free = {one.index: one.free for one in gpus.devices if one.total}
    if place.devices:
        there = ", ".join(f"GPU {one}: {shown(free[one]) if one in free else '?'}" for one in place.devices)
        return f"{what}；每块约需 {shown(place.share)}，空闲 {there}", f"{what}; about {shown(place.share)} on each, free: {there}"
    return f"{what}；约需内存 {shown(place.share)}，可用 {shown(memory[1])}", f"{what}; about {shown(place.share)} of memory, {shown(memory[1])} available"


def _elsewhere(name: str, model: ModelSettings) -> Finding:
    """A model that this machine does not run, now or ever."""
    check, title = f"model:{name}", _title(name, model)
    if not model.alive:
        return Finding.skip(check, _STEP, title, ("alive = false", "alive = false"), ("需要时设 alive = true", "set alive = true when it is wanted"))
    if model.engine != "external":
        return Finding.ok(check, _STEP, title, ("内置的摘录式回答", "the built-in answerer"))
    found = _external(check, title, name, model)
    warned: list[Problem] = list(option_problems(name, model))
    if found.status != "ok" or not warned:
        return found
    return Finding.warn(check, _STEP, title, found.evidence, (" ".join(one.zh for one in warned), " ".join(one.en for one in warned)))


def _external(check: str, title: Text, name: str, model: ModelSettings) -> Finding:
    """By a real call to its list of models."""
    url = model.base_url.rstrip("/") + "/models"
    headers = {"Authorization": f"Bearer {model.key()}"} if model.key() else {}
    started = time.monotonic()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S) as response:  # noqa: S310  http(s) only: settings
            known = [str(x.get("id")) for x in json.load(response).get("data", [])]
    except urllib.error.HTTPError as exc:
        advice = ("检查 api_key 或 api_key_env", "check api_key or api_key_env") if exc.code in (401, 403) else ("检查 base_url", "check base_url")
        return Finding.fail(check, _STEP, title, (f"{url} 返回 {exc.code}", f"{url} answered {exc.code}"), advice)
    except (OSError, ValueError, AttributeError) as exc:
        reason = str(getattr(exc, "reason", exc))
        advice = (
            f"curl -sS {url}；启动该模型服务，或改正 base_url；在此之前回答降级为摘录",
            f"curl -sS {url}; start that server, or correct base_url; until then answers are taken from the texts",
        )
        return Finding.fail(check, _STEP, title, (f"{url} 不可用：{reason}", f"{url}: {reason}"), advice)
    wanted = model.model or name
    took = f"{(time.monotonic() - started) * 1000:.0f} ms"
    if known and wanted not in known:
        listed = ", ".join(known[:5])
        advice = (f"把 model 改为其中之一：{listed}", f"set model to one of: {listed}")
        return Finding.warn(check, _STEP, title, (f"服务中没有 {wanted}", f"the server does not list {wanted}"), advice)
    return Finding.ok(check, _STEP, title, (f"{url}，{took}", f"{url}, {took}"))
