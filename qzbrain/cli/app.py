"""The command's tree and its edge: every known error becomes a sentence (or, with --json, an error object) and an exit code."""

from __future__ import annotations

import os
import sys

import typer

from qzbrain.cli import (
    asking,
    auditing,
    backing_up,
    bundling,
    configuration,
    database,
    doctoring,
    evaluating,
    graph,
    graph_building,
    graph_extracting,
    graph_mirror,
    groups,
    inserting,
    kb_rights,
    keys,
    knowledge,
    models,
    running,
    service,
    snapshots,
    system,
    users,
    watching,
)
from qzbrain.cli.terminal import LANG, WrongUsage, note, result_json, t
from qzbrain.errors import BrainError

app = typer.Typer(
    name="qzbrain",
    help=t("启智大脑：从你的文档中回答问题，并给出原文出处。", "A knowledge brain that answers from your documents and cites the passage."),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
watching.register(knowledge.app)
kb_rights.register(knowledge.app)
graph_building.register(graph.app)
graph_extracting.register(graph.app)
graph_mirror.register(graph.app)
app.add_typer(knowledge.app, name="kb")
app.add_typer(models.app, name="model")
app.add_typer(graph.app, name="graph")
app.add_typer(users.app, name="user")
app.add_typer(groups.app, name="group")
app.add_typer(keys.app, name="key")
app.add_typer(configuration.app, name="config")
app.add_typer(bundling.app, name="bundle")
app.add_typer(database.app, name="db")
app.add_typer(auditing.app, name="audit")
app.add_typer(backing_up.app, name="backup")
app.add_typer(service.app, name="service")
app.command(help=t("在前台启动全部进程（与 ./run.sh 相同）", "Start all processes in the foreground, as ./run.sh does"))(system.serve)
app.command(help=t("只启动网页服务，由其他进程管理器看护时使用", "Start the web server alone, for another process manager"))(system.web)
app.command(
    help=t("只启动后台处理进程", "Start the worker alone"),
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(system.worker)
app.command(help=t("只启动引擎管理进程，由其他进程管理器看护时使用", "Start the engine manager alone, for another process manager"))(system.engines)
app.command(
    "graph-service", help=t("单独启动知识图谱服务（POST /chat-process-txt，端口 8000）", "Start the graph service alone (POST /chat-process-txt, port 8000)")
)(system.graph_service)
app.command(help=t("显示运行中的各个进程；全部正常时退出码为 0，没有运行时为 3", "Show the running processes; exit code 0 when all is well, 3 when none run"))(
    running.status
)
app.command(help=t("停止 qzbrain，或其中一个进程；正在生成的回答先完成", "Stop the brain, or one of its processes; running answers end first"))(running.stop)
app.command(help=t("重新启动 qzbrain，或其中一个进程", "Start the brain, or one of its processes, again"))(running.restart)
app.command(help=t("提问，得到带出处的回答", "Ask a question; the answer cites its sources"))(asking.ask)
app.command(help=t("插入人工整理的知识条目", "Put curated knowledge into a knowledge base"))(inserting.insert)
app.command("eval", help=t("用问题集评测检索与回答", "Measure search and answers with a set of questions"))(evaluating.evaluate)
app.command(help=t("用备份恢复；现有内容会先备份", "Put a backup into the place of what is there, which is backed up first"))(backing_up.restore)
app.command(help=t("为知识库建立快照；list 列出，remove 删除", "Keep a knowledge base as it is now; list and remove such snapshots"))(snapshots.snapshot)
app.command(help=t("把知识库退回到一个快照", "Bring a knowledge base back to a snapshot"))(snapshots.rollback)
app.command(help=t("逐项检查部署，并说明如何处理", "Check the deployment, item by item, and say what to do"))(doctoring.doctor)


def main() -> None:
    """Run the command line and exit. Most wrong usage (exit code 2) and interruption (130) are typer's own."""
    try:
        app(prog_name="qzbrain")
    except BrainError as exc:
        sys.exit(_failed(exc))
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(exc: BrainError) -> int:
    if "--json" in sys.argv:
        result_json(exc.body(LANG))
    else:
        note(exc.message(LANG))
    return 2 if isinstance(exc, WrongUsage) else 1
