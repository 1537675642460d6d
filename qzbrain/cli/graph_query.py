"""`qzbrain graph query`: what the graphs themselves answer, with the source of each fact and how sure they are; no text is searched, no model asked."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import Json, note, result, result_json, t
from qzbrain.graph.answered import Answered

Question = Annotated[str, typer.Argument(metavar="TEXT", help=t("问题", "The question"))]
Bases = Annotated[list[str] | None, typer.Option("--kb", help=t("知识库名称，可重复；默认全部", "Knowledge base, repeatable; all by default"))]


def register(app: typer.Typer) -> None:
    """Add the command to those of `qzbrain graph`."""
    app.command(help=t("只向知识图谱提问：回答、每条事实的来源与可信度", "Ask the graphs alone: answer, sources, and how sure it is"))(query)


def query(text: Question, kb: Bases = None, json: Json = False) -> None:
    """Ask the graphs alone."""
    from qzbrain.chat.graph_reply import reply
    from qzbrain.chat.graph_sources import GraphSources
    from qzbrain.chat.prompts import language_of

    with open_brain() as (brain, caller):
        bases = {ref.id: ref.name for ref in brain.access.resolve(caller, kb)}
        began = time.perf_counter()
        found = brain.graph_service.answer(text, list(bases))
        sources = GraphSources(brain.db).of(found.steps, bases[found.kb_id]) if found.steps else None
        took_ms = round((time.perf_counter() - began) * 1e3, 2)
        least = brain.settings.qzbrain_graph_answer
    found = found if sources is not None else Answered()
    said = reply(found, sources.numbers, text, language_of(text)) if sources is not None else ""
    citations = sources.citations if sources is not None else ()
    if json:
        body = {"kind": found.kind, "answer": said, "values": found.values, "relation": found.relation, "confidence": round(found.confidence, 4)}
        result_json({**body, "knowledge_base": bases.get(found.kb_id), "citations": citations, "took_ms": took_ms})
        return
    if not said:
        note(t("知识图谱中没有这个问题的答案。", "The knowledge graphs have no answer to this."))
        return
    result(said)
    result()
    for one in citations:
        source = "；".join(dict.fromkeys(fact.source for fact in one.facts if fact.source))
        result(f"[{one.index}] {one.title}{f' ({source})' if source and source != one.title else ''}\n    {' '.join(one.quote.split())[:160]}")
    note(t(f"— 可信度 {found.confidence:.2f}，{took_ms} 毫秒", f"— confidence {found.confidence:.2f}, {took_ms} ms"))
    if found.confidence < least or not least:
        note(t(f"低于 QZBRAIN_GRAPH_ANSWER（{least}），对话中不会由图谱回答。", f"Below QZBRAIN_GRAPH_ANSWER ({least}): in chat the graph would not answer."))
