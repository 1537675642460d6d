"""What a model's folder says: config.json, weights, and the small files beside them. Also for bare weights whose configuration lies apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qzbrain.models.files import config as configuration
from qzbrain.models.files import safetensors, shards
from qzbrain.models.files.base import ModelFiles, guessed_kind
from qzbrain.models.files.config import Config
from qzbrain.models.files.shards import Weights
from qzbrain.models.files.unreadable import ModelFilesUnreadable, incomplete, unopened

_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "vocabs.txt", "*.tiktoken", "*.model", "tokenizer_config.json")
_TEMPLATES = ("chat_template.jinja", "chat_template.json")
_WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ChatGLMModel")
_POOLING = ("modules.json", "1_Pooling")
_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_PLAIN = ("F64", "F32", "F16", "BF16")
_FLOATS = {"F8_E4M3": "FP8", "F8_E5M2": "FP8"}


def describe(path: Path, *, config_path: Path | None = None, vocabulary_path: Path | None = None) -> ModelFiles:
    """See `description.describe`. `path`: the folder, or the one file of weights."""
    if not path.exists():
        raise unopened(path, FileNotFoundError())
    place = path if path.is_dir() else path.parent
    config = configuration.language_part(_config(path, place, config_path))
    weights = _weights(path)
    size, parameters, kept = _measured(weights)
    quantisation = configuration.quantisation(config)
    packed = isinstance(config.get("quantization_config"), dict)
    if not parameters and not packed:
        parameters = size // _BYTES[quantisation] if quantisation in _BYTES else 0
    found = _described(path, place, config, vocabulary_path)
    return replace(found, format=weights.format, weights_bytes=size, parameters=0 if packed else parameters, quantisation=quantisation or kept)


def _config(path: Path, place: Path, apart: Path | None) -> Config:
    """config.json of the folder, or the one that lies apart. Raises ModelFilesUnreadable with what the folder seems to hold instead."""
    if apart is not None:
        return shards.read_json(apart / "config.json" if apart.is_dir() else apart)
    if (place / "config.json").is_file():
        return shards.read_json(place / "config.json")
    if (place / "adapter_config.json").is_file():
        raise ModelFilesUnreadable(
            "not_a_model",
            zh=f"{place} 是 LoRA 适配器，不是完整模型。请先用 peft 的 merge_and_unload() 把它合并进基座模型，再把 path 指向合并后的目录。",
            en=f"{place} is a LoRA adapter, not a whole model. Merge it into its base model (peft: merge_and_unload()) and set path to the merged folder.",
        )
    if files := sorted(place.glob("*.gguf")) if path.is_dir() else []:
        raise ModelFilesUnreadable(
            "wrong_format",
            zh=f"{place} 是含 GGUF 文件的目录。请把 path 改为文件本身：{files[0]}。",
            en=f"{place} is a folder of GGUF files. Set path to the file itself: {files[0]}.",
        )
    inner = [one for one in sorted(place.glob("*/config.json")) if path.is_dir()]
    if inner:
        raise ModelFilesUnreadable(
            "not_a_model",
            zh=f"{place} 中没有 config.json，但下一级目录中有。请把 path 改为 {inner[0].parent}。",
            en=f"{place} has no config.json, but a folder in it has. Set path to {inner[0].parent}.",
        )
    raise ModelFilesUnreadable(
        "not_a_model",
        zh=f"{place} 中没有 config.json，不是模型目录。请补上该文件，或用 config_path 指明它在哪里。",
        en=f"{place} has no config.json and is not a model's folder. Add that file, or say with config_path where it is.",
    )


def _weights(path: Path) -> Weights:
    if path.is_dir():
        return shards.weights_of(path)
    return Weights("safetensors" if path.suffix == ".safetensors" else "pytorch" if path.suffix == ".bin" else "pt", [path])


def _measured(weights: Weights) -> tuple[int, int, str]:
    """Bytes, parameters (0 where the headers do not tell), and the type that most bytes have."""
    if weights.format != "safetensors":
        return sum(shards.pytorch_bytes(one) for one in weights.files), 0, ""
    header = safetensors.read_model(weights.files)
    most = max(header.bytes_of_type, key=lambda one: header.bytes_of_type[one])
    return header.weights_bytes, header.parameters if most in _PLAIN or most in _FLOATS else 0, _FLOATS.get(most, most)


def _described(path: Path, place: Path, config: Config, vocabulary_path: Path | None) -> ModelFiles:
    """All but the weights."""
    classes = configuration.texts(config, "architectures")
    architecture = configuration.text(config, "model_type")
    if not configuration.layers(config):
        raise incomplete(place / "config.json", zh="没有层数（num_hidden_layers）", en="it does not say how many layers there are (num_hidden_layers)")
    writer = any(name.endswith(_WRITERS) for name in classes) or not classes
    encoder = not writer and "bert" in f"{architecture} {' '.join(classes)}".lower()
    pooled = any((place / one).exists() for one in _POOLING)
    return ModelFiles(
        path=path,
        format="safetensors",
        architecture=architecture,
        classes=classes,
        weights_bytes=0,
        parameters=0,
        quantisation="",
        layers=configuration.layers(config),
        heads=configuration.heads(config),
        kv_heads=configuration.kv_heads(config),
        head_dim=configuration.head_dim(config),
        kv_values=0 if encoder else configuration.kv_values(config),
        latent_cache=configuration.is_latent(config),
        width=configuration.width(config),
        feed_forward=configuration.feed_forward(config),
        context=configuration.context(config),
        vocabulary=configuration.vocabulary(config),
        kind=guessed_kind(
            path.name,
            classifier=any(name.endswith("ForSequenceClassification") for name in classes),
            pooled=pooled or not writer,
            encoder=encoder,
        ),
        encoder=encoder,
        pooled=pooled,
        has_chat_template=_has_template(place),
        has_vocabulary=vocabulary_path is not None or any(next(place.glob(one), None) for one in _VOCABULARIES),
    )


def _has_template(place: Path) -> bool:
    if any((place / name).is_file() for name in _TEMPLATES):
        return True
    beside = place / "tokenizer_config.json"
    return beside.is_file() and bool(shards.read_json(beside).get("chat_template"))
