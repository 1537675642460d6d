"""`qzbrain ask`: one question; the answer streams, its citations stand below it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import LANG, Json, note, piece, result, result_json, t
from qzbrain.domain import Answer, Citation, Delta, Done, Failed
from qzbrain.web import render

_RUNGS = {
    "model": t("语言模型依据引文作答", "answered by the language model from evidence"),
    "extractive": t("摘自原文", "taken from the texts"),
    "passages": t("仅列出相关段落", "passages only"),
    "entry": t("来自人工整理的条目", "from a curated entry"),
    "graph": t("来自知识图谱", "from the knowledge graph"),
    "refused": t("知识库中没有依据", "the knowledge base does not say"),
}


def ask(
    question: Annotated[str, typer.Argument(help=t("问题；- 表示从标准输入读取", "The question; - reads it from standard input"))],
    kb: Annotated[list[str] | None, typer.Option("--kb", help=t("知识库名称，可重复；默认全部", "Knowledge base, repeatable; all by default"))] = None,
    model: Annotated[str, typer.Option("--model", help=t("模型名称，如 auto、extractive", "Model, such as auto or extractive"))] = "auto",
    json: Json = False,
) -> None:
    """Ask a question; the answer cites its sources."""
    from qzbrain.chat.service import Ask

    message = sys.stdin.read() if question == "-" else question
    with open_brain() as (brain, caller):
        turn = brain.chat.begin(caller, Ask(message=message, model=model, knowledge_bases=kb, origin="api"), limited=False)
        for event in brain.chat.answer(turn):
            if isinstance(event, Delta) and not json:
                piece(event.text)
            elif isinstance(event, Failed):
                _show_failure(event, json)
                raise typer.Exit(1)
            elif isinstance(event, Done):
                if json:
                    result_json(render.answer(event.answer))
                else:
                    _show_sources(event.answer)


def _show_failure(event: Failed, json: bool) -> None:
    message = event.zh if LANG == "zh" else event.en
    if json:
        result_json({"error": {"message": message, "type": event.type, "code": event.code, "param": None}})
    else:
        note(message)


def _show_sources(answer: Answer) -> None:
    result()
    note(f"— {_RUNGS[answer.rung]}" + (f" · {answer.rung_reason}" if answer.rung_reason else ""))
    shown = [x for x in answer.citations if x.cited] or list(answer.citations)
    if shown:
        result()
    for citation in shown:
        result(_source_line(citation))


def _source_line(citation: Citation) -> str:
    place = " › ".join(dict.fromkeys((citation.title or citation.document, *citation.heading_path)))
    page = t(f"，第 {citation.page} 页", f", page {citation.page}") if citation.page else ""
    quote = " ".join(citation.quote.split())
    return f"[{citation.index}] {place}{page}\n    {quote[:160]}{'…' if len(quote) > 160 else ''}"
