"""`qzbrain eval`: how well a knowledge base answers a set of questions whose documents are known."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import Json, WrongUsage, note, progress, result, result_json, t


class Modes(StrEnum):
    """How a question is searched for."""

    auto = "auto"
    lexical = "lexical"
    semantic = "semantic"
    hybrid = "hybrid"


def evaluate(
    kb: Annotated[str, typer.Argument(metavar="KB", help=t("知识库的名称或 id", "Name or id of the knowledge base"))],
    questions: Annotated[Path | None, typer.Argument(metavar="QUESTIONS.jsonl", help=t("每行一个问题", "One question a line"))] = None,
    k: Annotated[str, typer.Option("--k", help=t("计算召回的位置", "Cuts for recall"))] = "1,5,10",
    mode: Annotated[
        Modes, typer.Option("--mode", help=t("检索方式：auto、lexical（按词）、semantic（按语义）、hybrid", "How to search: auto, lexical, semantic or hybrid"))
    ] = Modes.auto,
    fit: Annotated[
        bool, typer.Option("--fit", help=t("用这些问题确定语义的权重并保存", "Find the weight of meaning that serves these questions best, and keep it"))
    ] = False,
    regressions: Annotated[
        bool, typer.Option("--regressions", help=t("改为重问该知识库的回归问题", "Ask the knowledge base's regression questions again instead"))
    ] = False,
    json: Json = False,
) -> None:
    """Measure search and answers with a set of questions.

    Lines: {"id","question","doc_id" or "doc_ids","answers"?}; document ids are external ids.
    """
    from qzbrain.ops import evaluation

    if regressions:
        _regressions(kb, json=json)
        return
    if questions is None:
        raise WrongUsage(zh="请给出问题文件 QUESTIONS.jsonl，或使用 --regressions。", en="Give a file QUESTIONS.jsonl, or --regressions.")
    cuts = parsed_cuts(k)
    rows = evaluation.read_questions(questions)
    with open_brain() as (brain, caller), progress(t("评测", "asking")) as bar:
        if fit:
            fitted = evaluation.fit(brain, caller, kb, rows, on_progress=bar.update)
        else:
            figures = evaluation.evaluate(brain, caller, kb, rows, cuts=cuts, on_progress=bar.update, mode=mode.value)
    if json:
        result_json(fitted if fit else figures)
        return
    if fit:
        for one in fitted["tried"]:
            result(f"{one['weight']:.1f}  recall@5 {one['recall@5']:.4f}  MRR {one['mrr']:.4f}")
        result(t("语义权重", "weight of meaning") + f": {fitted['weight_before']:g} → {fitted['weight']:g}")
        return
    for part, count in figures["degraded"].items():
        note(t(f"{count} 个问题未能使用 {part}", f"{count} questions went without {part}"))
    for cut in cuts:
        result(f"recall@{cut}: {figures['recall'][str(cut)]:.4f}")
    result(f"MRR: {figures['mrr']:.4f}")
    if figures["answer_in_shown_sentences"] is not None:
        result(t("答案出现在所示句子中", "answer in the shown sentences") + f": {figures['answer_in_shown_sentences']:.4f}")
    result(f"p50 {figures['p50_ms']:.1f} ms, p95 {figures['p95_ms']:.1f} ms, n = {figures['questions']}")


def _regressions(kb: str, *, json: bool) -> None:
    """Exit code 1 when one of them fails."""
    from qzbrain.retrieval.hybrid import SearchQuery
    from qzbrain.web.entries_api import regressions_shown

    with open_brain() as (brain, caller), progress(t("回归", "asking")) as bar:

        def ask(question: str, kb_id: str) -> Any:
            return brain.retriever.search(SearchQuery(question, top_k=10), brain.access.scope(caller, [kb_id]))

        told = regressions_shown(brain.regressions.run(caller, kb, ask, bar.update))
    if json:
        result_json(told)
    else:
        for one in told["data"]:
            if not one["passed"]:
                result(t(f"未通过：{one['question']}", f"failed: {one['question']}"))
        result(t(f"通过 {told['passed']}，未通过 {told['failed']}。", f"{told['passed']} passed, {told['failed']} failed."))
    if told["failed"]:
        raise typer.Exit(1)


def parsed_cuts(text: str) -> list[int]:
    """`1,5,10` as numbers, ascending. Raises BadParameter (wrong usage) for anything else."""
    parts = [x.strip() for x in text.split(",")]
    if not all(x.isascii() and x.isdecimal() and 1 <= int(x) <= 100 for x in parts):
        raise typer.BadParameter(t("--k 应为 1 到 100 的数字，以逗号分隔", "--k takes numbers from 1 to 100, separated by commas"))
    return sorted({int(x) for x in parts})
