"""Whether an engine takes a model's files: their format, and models that engines have dropped. With the way from here to one that is taken."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from qzbrain.models.engines.base import Problem
from qzbrain.models.engines.launching import engine_environment
from qzbrain.models.engines.validation_options import engine_version, pip_of, version_beyond
from qzbrain.models.files.base import ModelFiles
from qzbrain.models.files.ctranslate2_model import PIECES
from qzbrain.models.files.gguf import split_of
from qzbrain.settings import ModelSettings, Settings

_CONVERTER = "git clone https://github.com/ggml-org/llama.cpp && pip install -r llama.cpp/requirements.txt && python llama.cpp/convert_hf_to_gguf.py"
_LAST_VLLM_WITH_QWEN = (0, 23)


def engine_problems(name: str, settings: Settings, model: ModelSettings, files: ModelFiles) -> list[Problem]:
    """What the configured engine will not take, or may not."""
    here = f"[models.{name}]"
    if files.format == "pt":
        return [_state(here, files)]
    return [*_formats(here, model, files), *_qwen(here, settings, model, files), *_chatglm(here, settings, model, files)]


def _formats(here: str, model: ModelSettings, files: ModelFiles) -> Iterator[Problem]:
    if (model.engine == "ctranslate2") != (files.format == "ctranslate2"):
        yield _other_engine(here, files) if files.format == "ctranslate2" else _for_ctranslate2(here, files)
        return
    if model.engine == "llamacpp" and files.format != "gguf":
        target = f"{files.path}.gguf"
        command = f"{_CONVERTER} {shlex.quote(str(files.path))} --outfile {shlex.quote(target)}"
        yield Problem(
            "wrong_format",
            zh=f"{here} path：llama.cpp 只读 GGUF 文件，而 {files.path} 是 {files.format}。请下载该模型的 GGUF 版本，"
            f'或自行转换：{command}，再把 path 改为 {target}；有 GPU 时也可改用 engine = "vllm"。',
            en=f"{here} path: llama.cpp reads GGUF files only, and {files.path} is {files.format}. Get the model's GGUF, "
            f'or convert it: {command}, then set path to {target}; with a GPU engine = "vllm" is another way.',
        )
    if model.engine in ("vllm", "sglang") and files.format == "gguf":
        split = bool(split_of(files.path)[1])
        zh, en = ("不能读取分片的 GGUF", "does not read GGUF in parts") if split else ("对 GGUF 的支持只是实验性的", "reads GGUF as an experiment only")
        yield Problem(
            "wrong_format",
            zh=f'{here} path：{model.engine} {zh}。请改用 engine = "llamacpp"，或把 path 改为该模型的 safetensors 目录。',
            en=f'{here} path: {model.engine} {en}. Set engine = "llamacpp", or path to the model\'s safetensors folder.',
            severity="error" if split else "warning",
        )


def _other_engine(here: str, files: ModelFiles) -> Problem:
    return Problem(
        "wrong_format",
        zh=f'{here} engine：{files.path} 是 CTranslate2 的模型目录。请设 engine = "ctranslate2"。',
        en=f'{here} engine: {files.path} is a model\'s folder for CTranslate2. Set engine = "ctranslate2".',
    )


def _for_ctranslate2(here: str, files: ModelFiles) -> Problem:
    target = f"{files.path.with_suffix('')}-int8"
    convert = f"ct2-transformers-converter --model {shlex.quote(str(files.path))} --output_dir {shlex.quote(target)} --quantization int8"
    convert = f"pip install ctranslate2 transformers torch && {convert} --copy_files {PIECES}"
    if files.format == "gguf" or files.kind != "embedding":
        return Problem(
            "wrong_format",
            zh=f'{here} engine：CTranslate2 只运行其转换工具写出的向量模型目录，而 {files.path} 是 {files.format}（{files.kind}）。请设 '
            'engine = "llamacpp"（GGUF）或 "vllm"（目录）。',
            en=f"{here} engine: CTranslate2 runs folders of embedding models that its converter wrote, and {files.path} is {files.format} ({files.kind}). "
            'Set engine = "llamacpp" (GGUF) or "vllm" (a folder).',
        )
    return Problem(
        "wrong_format",
        zh=f"{here} path：CTranslate2 只读其转换工具写出的目录，而 {files.path} 是 {files.format}。请转换：{convert}，再把 path 改为 {target}。",
        en=f"{here} path: CTranslate2 reads folders that its converter wrote, and {files.path} is {files.format}. "
        f"Convert it: {convert}, then set path to {target}.",
    )


def _state(here: str, files: ModelFiles) -> Problem:
    command = f"{_CONVERTER} FOLDER --outfile cpm9g.gguf"
    return Problem(
        "needs_conversion",
        zh=f"{here} path：{files.path} 是 PyTorch 保存的裸权重（九格 CPM-9G 即如此），没有引擎能直接读取。"
        "首选向提供方索取 Hugging Face 格式（config.json 与 safetensors）。自行转换：用 torch.load(weights_only=True) 读取，"
        "按 docs/examples/config.toml 中 cpm9g 一节的对照表改成 Llama 的张量名（配置中有 scale_emb 或 scale_depth 的用 MiniCPM 的布局），"
        "用 safetensors 的 save_file 存为 model.safetensors，写好 config.json，放入 tokenizer.model 或 tokenizer.json（只有 vocabs.txt 不够），"
        f"然后运行 {command}。这一转换未用真实的 CPM-9G 权重验证过，请与原程序对照几个回答。",
        en=f"{here} path: {files.path} is a bare state that PyTorch saved (as CPM-9G comes), which no engine reads. "
        "Best ask its provider for the Hugging Face form (config.json and safetensors). To convert it: read it with torch.load(weights_only=True), "
        "rename its tensors to Llama's by the table at cpm9g in docs/examples/config.toml (MiniCPM's layout where its configuration has scale_emb or "
        "scale_depth), write model.safetensors with safetensors' save_file and a config.json, add tokenizer.model or tokenizer.json (vocabs.txt alone "
        f"does not do), then run {command}. This was not tried with real CPM-9G weights: compare some answers with the original program's.",
    )


def _qwen(here: str, settings: Settings, model: ModelSettings, files: ModelFiles) -> Iterator[Problem]:
    """First-generation Qwen on vLLM. A command of one's own may run an old one: nobody can tell."""
    if not files.first_qwen or model.engine != "vllm":
        return
    environment, last = engine_environment(settings, model), ".".join(map(str, _LAST_VLLM_WITH_QWEN))
    version = "" if model.command else engine_version(environment, "vllm")
    if version and not version_beyond(version, _LAST_VLLM_WITH_QWEN):
        return
    older, convert = f'{pip_of(environment)} install "vllm=={last}.*"', f"{_CONVERTER} {shlex.quote(str(files.path))}"
    yield Problem(
        "engine_dropped",
        zh=f'{here} engine：vLLM {last} 之后不再支持第一代 Qwen（此处的版本：{version or "未知"}）。请改用 engine = "sglang"；'
        f'或转换为 GGUF 并用 engine = "llamacpp"：{convert}；或安装旧版：{older}。',
        en=f'{here} engine: vLLM has no first-generation Qwen after {last} (the version here: {version or "unknown"}). Set engine = "sglang"; '
        f'or convert it to GGUF for engine = "llamacpp": {convert}; or install an older one: {older}.',
        severity="warning" if model.command else "error",
    )


def _chatglm(here: str, settings: Settings, model: ModelSettings, files: ModelFiles) -> Iterator[Problem]:
    if not files.chatglm or model.engine not in ("vllm", "sglang"):
        return
    older = f'{pip_of(engine_environment(settings, model))} install "transformers<5"'
    yield Problem(
        "engine_dropped",
        zh=f"{here} engine：ChatGLM 的分词器是随模型附带的代码，为 transformers 4 编写，在 transformers 5 下可能无法加载。请先试着启动；"
        f'若失败：{older}，并加 arguments = ["--trust-remote-code"]。ChatGLM3-6B 与 GLM-4-9B 另有 GGUF，可用 engine = "llamacpp"。',
        en=f"{here} engine: ChatGLM's tokeniser is code that comes with the model, written for transformers 4; it may not load under 5. Try a start; "
        f'if it fails: {older}, with arguments = ["--trust-remote-code"]. ChatGLM3-6B and GLM-4-9B have GGUFs as well, for engine = "llamacpp".',
        severity="warning",
    )
