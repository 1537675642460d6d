"""`qzbrain graph …`: the group of the commands about knowledge graphs."""

from __future__ import annotations

import typer

from qzbrain.cli import graph_query, graph_transfer
from qzbrain.cli.terminal import t

app = typer.Typer(help=t("知识图谱", "Knowledge graphs"), no_args_is_help=True)
graph_transfer.register(app)
graph_query.register(app)


@app.callback()
def group() -> None:
    """Keeps it a group while there is one command."""
