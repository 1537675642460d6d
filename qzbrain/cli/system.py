"""`qzbrain serve`, `web`, `worker`, `engines`, `graph-service`: running the brain."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from qzbrain.cli.terminal import note, t
from qzbrain.settings import ROOT, load_settings


def serve(
    prepare_only: Annotated[
        bool,
        typer.Option(
            "--prepare-only",
            help=t("只准备目录、数据表与示例，不启动进程（容器中使用）", "Only make folders, tables and the sample, as containers do before their processes"),
        ),
    ] = False,
) -> None:
    """Start all processes in the foreground, as ./run.sh does."""
    from qzbrain.ops.start import prepare, start

    if prepare_only:
        prepare(load_settings())
        note(t("已准备好。", "Prepared."))
        return
    start(load_settings())


def web() -> None:
    """Start the web server alone, for another process manager."""
    _become("web")


def worker(
    context: typer.Context,
    celery: Annotated[bool, typer.Option("--celery", help=t("没有设置 REDIS_HOST 时报错", "Refuse without REDIS_HOST"))] = False,
) -> None:
    """Start the worker alone; with REDIS_HOST, further arguments are those of `celery worker`."""
    if celery:
        from qzbrain.worker import require_broker

        require_broker(load_settings())
    _become("worker", *context.args)


def engines() -> None:
    """Start the engine manager alone, for another process manager."""
    _become("engines")


def graph_service(
    host: Annotated[str | None, typer.Option("--host", help=t("监听的地址，默认 QZBRAIN_GRAPH_HOST", "Address to bind; QZBRAIN_GRAPH_HOST by default"))] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help=t("端口，默认 QZBRAIN_GRAPH_PORT（8000）", "Port; QZBRAIN_GRAPH_PORT (8000) by default"))
    ] = None,
) -> None:
    """Start the graph service alone: POST /chat-process-txt and the reading routes of graphs, over the same data as the brain."""
    from qzbrain.ops.start import require_graph_port

    given = {"QZBRAIN_GRAPH_HOST": host, "QZBRAIN_GRAPH_PORT": port}
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    settings = load_settings()
    require_graph_port(settings)
    where = f"{settings.graph_service_url}/chat-process-txt"
    note(t(f"知识图谱服务：POST {where}（Ctrl-C 停止）", f"The graph service: POST {where} (Ctrl-C stops it)"))
    _become("graph")


def _become(program: str, *more: str) -> None:
    from qzbrain.ops.start import allow_many_connections, prepare_folders
    from qzbrain.ops.supervision import programs

    os.umask(0o077)
    prepare_folders(load_settings())
    allow_many_connections()
    command = [*programs()[program], *more]
    os.chdir(ROOT)
    os.execv(command[0], command)
