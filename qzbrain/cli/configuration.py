"""`qzbrain config …`: what is in force and where it comes from, a commented file to start from, and the reference page."""

from __future__ import annotations

import typer

from qzbrain.cli.terminal import Json, result, result_json, t
from qzbrain.errors import Conflict
from qzbrain.ops import reference
from qzbrain.settings import default_config_path, load_settings

app = typer.Typer(help=t("设置", "Settings"), no_args_is_help=True)


@app.command(help=t("显示每项设置的生效值和来源；机密已遮盖。", "Print each setting's value and where it comes from; secrets are masked."))
def show(json: Json = False) -> None:
    """Print each setting's value and where it comes from; secrets are masked."""
    rows = reference.effective(load_settings())
    if json:
        result_json({row.name: {"value": row.value, "origin": row.origin} for row in rows})
        return
    width = max(len(row.name) for row in rows)
    for row in rows:
        result(f"{row.name:<{width}} = {row.value}  ({row.origin})")


@app.command(help=t("生成带注释的 config.toml。", "Write a commented config.toml."))
def init(json: Json = False) -> None:
    """Write a commented config.toml."""
    path = default_config_path()
    if path.exists():
        raise Conflict("exists", zh=f"{path} 已存在，没有改动。", en=f"{path} exists already; it was not changed.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(reference.template(), encoding="utf-8")
    path.chmod(0o600)
    if json:
        result_json({"path": str(path)})
    else:
        result(t(f"已生成 {path}。修改后重启 qzbrain 生效。", f"Wrote {path}. Changes take effect when qzbrain starts again."))


@app.command(help=t("打印 docs/settings.md。", "Print docs/settings.md."))
def docs() -> None:
    """Print docs/settings.md."""
    result(reference.page().rstrip("\n"))
