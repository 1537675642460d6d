"""`qzbrain ask`: one question; the answer streams, its citations stand below it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import LANG, Json, note, piece, result, result_json, t
from qzbrain.domain import Answer, Citation, Delta, Done, Failed
from qzbrain.stages import SEARCH_STAGES
from qzbrain.web import render

_RUNGS = {
    "model": t("语言模型依据引文作答", "answered by the language model from evidence"),
    "extractive": t("摘自原文", "taken from the texts"),
    "passages": t("仅列出相关段落", "passages only"),
    "entry": t("来自人工整理的条目", "from a curated entry"),
    "graph": t("来自知识图谱", "from the knowledge graph"),
    "refused": t("知识库中没有依据", "the knowledge base does not say"),
}
_PARTS = {
    "search": t("检索", "search"),
    "graph": t("图谱", "graph"),
    "evidence": t("取原文、写提示", "evidence and prompt"),
    "queue": t("排队", "waiting for a slot"),
    "engine": t("引擎读提示", "engine, before its first text"),
    "streaming": t("引擎作答", "engine, its text"),
    "check": t("核对引文", "checking citations"),
    "compose": t("摘录成文", "composing without a model"),
    "other": t("其他", "other"),
}
_BAR = 30


def ask(
    question: Annotated[str, typer.Argument(help=t("问题；- 表示从标准输入读取", "The question; - reads it from standard input"))],
    kb: Annotated[list[str] | None, typer.Option("--kb", help=t("知识库名称，可重复；默认全部", "Knowledge base, repeatable; all by default"))] = None,
    model: Annotated[str, typer.Option("--model", help=t("模型名称，如 auto、extractive", "Model, such as auto or extractive"))] = "auto",
    timing: Annotated[bool, typer.Option("--timing", help=t("显示各步耗时", "Show what the answer took its time for"))] = False,
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
                    if timing:
                        _show_timing(event.answer.timings)


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


def _show_timing(timings: dict[str, float]) -> None:
    """The parts of the answer, which make up its whole time, each with a bar; the stages of the search below it."""
    total = timings.get("total_ms", 0.0)
    note("")
    note(t(f"耗时：共 {total:.0f} 毫秒，首字 {timings.get('first_token_ms', total):.0f} 毫秒",
           f"Timing: {total:.0f} ms in all, first text after {timings.get('first_token_ms', total):.0f} ms"))  # fmt: skip
    for part, name in _PARTS.items():
        if (ms := timings.get(f"{part}_ms")) is not None:
            bar = "█" * round(_BAR * ms / total) if total else ""
            note(f"  {ms:9.1f}  {name}  {bar}")
        if part == "search":
            stages = [f"{stage} {timings[key]:.1f}" for stage in SEARCH_STAGES if (key := f"search_{stage}_ms") in timings]
            if stages:
                note(" " * 13 + t("其中：", "of it: ") + ", ".join(stages))


def _source_line(citation: Citation) -> str:
    place = " › ".join(dict.fromkeys((citation.title or citation.document, *citation.heading_path)))
    page = t(f"，第 {citation.page} 页", f", page {citation.page}") if citation.page else ""
    quote = " ".join(citation.quote.split())
    return f"[{citation.index}] {place}{page}\n    {quote[:160]}{'…' if len(quote) > 160 else ''}"
