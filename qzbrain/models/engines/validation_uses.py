"""Whether a model's files go with the use that they are configured for: kind, template, context, pooling, tokeniser. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from qzbrain.models.engines.base import Problem
from qzbrain.models.files.base import ModelFiles
from qzbrain.models.files.ctranslate2_model import PIECES
from qzbrain.settings import ModelSettings


def use_problems(name: str, model: ModelSettings, files: ModelFiles) -> list[Problem]:
    """What of the table does not go with the files. Nothing of a bare state is known."""
    if files.format == "pt":
        return []
    here = f"[models.{name}]"
    checks = (_kind, _template, _context, _pooling, _vocabulary)
    return [problem for check in checks for problem in check(here, model, files)]


def _kind(here: str, model: ModelSettings, files: ModelFiles) -> Iterator[Problem]:
    if model.kind == files.kind:
        return
    fatal = (model.kind == "chat" and files.encoder) or model.engine == "ctranslate2"
    yield Problem(
        "kind",
        zh=f'{here} kind：配置为 {model.kind}，但文件像是 {files.kind} 模型（{files.architecture}）。请设 kind = "{files.kind}"，或改正 path。',
        en=f"{here} kind: configured as {model.kind}, and the files look like a model for {files.kind} ({files.architecture}). "
        f'Set kind = "{files.kind}", or correct path.',
        severity="error" if fatal else "warning",
    )


def _template(here: str, model: ModelSettings, files: ModelFiles) -> Iterator[Problem]:
    if model.kind != "chat" or files.encoder or files.has_chat_template or any("--chat-template" in one for one in model.arguments):
        return
    zh = "llama.cpp 将按 ChatML 拼接，不用 ChatML 的模型会答得更差。请换用带模板的 GGUF"
    en = "llama.cpp will write ChatML, and models that do not know it answer worse. Use a GGUF that has one"
    if model.engine != "llamacpp":
        zh = '引擎可能拒绝对话请求。请加 arguments = ["--chat-template", "模板文件"]'
        en = 'The engine may refuse chats. Add arguments = ["--chat-template", "FILE"]'
    zh, en = f"{here} path：文件中没有对话模板，{zh}。", f"{here} path: the files have no chat template. {en}."
    yield Problem("no_chat_template", zh=zh, en=en, severity="warning")


def _context(here: str, model: ModelSettings, files: ModelFiles) -> Iterator[Problem]:
    if not 0 < files.context < model.context:
        return
    yield Problem(
        "context",
        zh=f"{here} context：配置为 {model.context}，模型自身只到 {files.context}，更长的文本会被拒绝或答得很差。请设 context = {files.context}。",
        en=f"{here} context: {model.context} is configured, and the model is made for {files.context}; longer texts are refused or answered badly. "
        f"Set context = {files.context}.",
        severity="warning",
    )


def _pooling(here: str, model: ModelSettings, files: ModelFiles) -> Iterator[Problem]:
    if files.format == "ctranslate2" and not model.pooling:
        yield Problem(
            "pooling",
            zh=f'{here} pooling：没有设置，将取平均（mean）。请按模型的说明设 pooling = "mean" 或 "cls"（bge 系列为 "cls"）。',
            en=f'{here} pooling: not set, so the mean is taken. Set pooling = "mean" or "cls" as the model\'s own page says (bge: "cls").',
            severity="warning",
        )
    if model.kind != "embedding" or model.engine != "llamacpp" or model.pooling or files.pooled or files.format != "gguf":
        return
    yield Problem(
        "pooling",
        zh=f'{here} pooling：文件没有说明怎样得到一个向量，llama.cpp 会拒绝请求。请按模型的说明设 pooling = "mean"、"cls" 或 "last"。',
        en=f"{here} pooling: the file does not say how one vector is made, and llama.cpp refuses calls. "
        'Set pooling = "mean", "cls" or "last", as the model\'s own page says.',
    )


def _vocabulary(here: str, model: ModelSettings, files: ModelFiles) -> Iterator[Problem]:
    if files.has_vocabulary:
        return
    if files.format == "ctranslate2":
        yield Problem(
            "incomplete",
            zh=f"{here} path：{files.path} 中没有 {PIECES}。请从模型的来源复制到该目录（目前只支持 XLM-RoBERTa 系列的分词器）。",
            en=f"{here} path: {files.path} has no {PIECES}. Copy it there from the model's source (only tokenisers of the XLM-RoBERTa family are read).",
        )
        return
    yield Problem(
        "incomplete",
        zh=f"{here} path：{files.path} 中没有分词器（tokenizer.json、tokenizer.model 或 vocab.txt）。请从模型的来源补齐，或用 vocabulary_path 指明。",
        en=f"{here} path: {files.path} has no tokeniser (tokenizer.json, tokenizer.model or vocab.txt). Get it from the model's source, "
        "or name it with vocabulary_path.",
    )
