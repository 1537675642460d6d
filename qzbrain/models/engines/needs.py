"""How much memory a model takes, from its files' own figures. Pure. An estimate: what an engine says when it has started is the truth.

Weights are as large as they lie on the disk, halved where a file keeps 4 bytes a number and the engine (vLLM, SGLang) 2. The cache has 2 bytes a number for
every token of every slot: llama.cpp takes it at the start; vLLM and SGLang share it, so that it is what they need for all slots to be full at
once. The rest, `overhead`, goes by these figures:

llama.cpp: 64 MiB of process, then for every token of a batch (512; an embedder's or a reranker's whole text, up to 8,192) 4 bytes for each number of some
layers' worth of activations and, on a GPU or for an embedder or reranker, for each word of the vocabulary (a chat model on the CPU touches those of the
last token only); for each GPU 512 MiB of CUDA context. Against resident memory, 2026-11-28, CPU, MiB estimated / seen: a 253 MiB chat model with 2,048
tokens 357 / 336, with 4 slots of 8,192 466 / 428, with 32,768 537 / 427 (never filled); e5-small 342 / 291. tests/models/engines/test_needs.py repeats two.
CTranslate2: 96 MiB of process, and for each text that is computed at once, and one more, its activations and weights of attention; e5-small with
two threads 230 / 178.
Not counted: llama.cpp's server keeps the caches of past prompts in the machine's memory, up to the 128 MiB that the launcher allows (--prompt-cache).
vLLM and SGLang: for each GPU 2 GiB of CUDA context, communication and CUDA graphs, activations of 8,192 tokens, and logits of every slot. After what they log
at their start; not measured here.
"""

from __future__ import annotations

from qzbrain.models.engines.base import Needs
from qzbrain.models.files.base import Kind, ModelFiles

_MIB = 1 << 20
_CACHE_BYTES = 2
_LLAMA_PROCESS, _LLAMA_CONTEXT_OF_GPU = 64 * _MIB, 512 * _MIB
_LLAMA_BATCH, _LLAMA_LONGEST_BATCH, _LLAMA_PAD = 512, 8192, 256
_ENCODER_PROCESS = 96 * _MIB
_GPU_ENGINE = 2048 * _MIB
_GPU_ENGINE_BATCH = 8192


def estimate(files: ModelFiles, *, context: int, slots: int, tensor_parallel: int = 1, kind: Kind | None = None, gpu: bool = True) -> Needs:
    """Bytes on all devices together; each has its share, `total // tensor_parallel`.

    `tensor_parallel`: number of GPUs; `slots`: for CTranslate2 its threads; `gpu`: False when llama.cpp runs on the CPU; `kind`: what it is
    configured for, by default what the files say. Embedders and rerankers keep no cache beyond their batch.
    """
    kind = kind or files.kind
    if files.format == "gguf":
        gpus = tensor_parallel if gpu else 0
        overhead = _llama_chat(files, context, slots, gpus) if kind == "chat" else _llama_whole_text(files, context, gpus)
        # one that does not write gets its cache all the same where it is built like one that does
        return Needs(files.weights_bytes, _cache(files, -(-context // _LLAMA_PAD) * _LLAMA_PAD, slots, 1), overhead)
    if files.format == "ctranslate2":
        of_a_text = 4 * context * (8 * files.width + 2 * files.feed_forward + files.heads * context)
        return Needs(files.weights_bytes, 0, _ENCODER_PROCESS + (slots + 1) * of_a_text)
    weights = files.weights_bytes // 2 if files.quantisation == "F32" else files.weights_bytes
    cache = _cache(files, context, slots, tensor_parallel) if kind == "chat" else 0
    return Needs(weights, cache, _gpu_engine_overhead(files, slots if kind == "chat" else 1, tensor_parallel))


def _cache(files: ModelFiles, context: int, slots: int, tensor_parallel: int) -> int:
    """With more GPUs than heads each head is kept more than once; a compressed cache on every GPU."""
    copies = tensor_parallel if files.latent_cache else max(1, -(-tensor_parallel // max(1, files.kv_heads)))
    return files.kv_values * _CACHE_BYTES * context * slots * copies


def _llama_chat(files: ModelFiles, context: int, slots: int, gpus: int) -> int:
    batch = min(_LLAMA_BATCH, context)
    return _llama_batch(files, batch, batch if gpus else min(batch, slots), context, gpus)


def _llama_whole_text(files: ModelFiles, context: int, gpus: int) -> int:
    batch = min(_LLAMA_LONGEST_BATCH, context)
    return _llama_batch(files, batch, batch, context, gpus)


def _llama_batch(files: ModelFiles, batch: int, answers: int, context: int, gpus: int) -> int:
    """`answers`: tokens of the batch for which the whole vocabulary is weighed."""
    activations = 4 * batch * (8 * files.width + 2 * files.feed_forward)
    mask = 6 * batch * context
    return _LLAMA_PROCESS + activations + 4 * answers * files.vocabulary + mask + gpus * _LLAMA_CONTEXT_OF_GPU


def _gpu_engine_overhead(files: ModelFiles, slots: int, gpus: int) -> int:
    activations = 2 * _GPU_ENGINE_BATCH * (3 * files.feed_forward + 6 * files.width * gpus)
    return _GPU_ENGINE * gpus + activations + 4 * slots * files.vocabulary


def shown(size: int) -> str:
    """For a reader: `1.5 GiB`, `512 MiB`."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size / _MIB:.0f} MiB"
