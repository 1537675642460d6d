"""Whether the named devices are there and have room, for one model and for all that are alive at once. Pure.

An estimate is no proof: only weights that are larger than a device, or the configured bound, are an error; the rest is a warning with what to change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from qzbrain.models.engines import launching
from qzbrain.models.engines.base import Device, Needs, Problem
from qzbrain.models.engines.launchers.local_serve import MOST_THREADS
from qzbrain.models.engines.needs import estimate, shown
from qzbrain.models.files.base import ModelFiles
from qzbrain.settings import ModelSettings, Settings


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model runs: `devices` are GPUs, [] for the CPU; `share`: what it takes on each, or of the machine."""

    devices: list[int]
    needs: Needs

    @property
    def share(self) -> int:
        """Bytes on each device."""
        return self.needs.total // max(1, len(self.devices))

    @property
    def weights_share(self) -> int:
        """Bytes of weights on each device."""
        return self.needs.weights // max(1, len(self.devices))


def named_devices(settings: Settings, model: ModelSettings) -> list[int] | None:
    """GPUs that the model is to run on; [] for the CPU; None when they are not written as numbers."""
    numbers = [one for one in launching.devices(settings, model).split(",") if one]
    return list(dict.fromkeys(map(int, numbers))) if all(one.isdecimal() for one in numbers) else None


def place_of(model: ModelSettings, files: ModelFiles, numbers: list[int]) -> Place:
    """Where it runs and what it takes there."""
    slots = model.slots if model.engine != "ctranslate2" else model.threads or min(os.cpu_count() or 1, MOST_THREADS)
    needs = estimate(
        files, context=model.context, slots=slots, tensor_parallel=max(1, len(numbers)), kind=model.kind, gpu=bool(numbers)
    )  # fmt: skip
    return Place(numbers, needs)


def device_problems(name: str, settings: Settings, model: ModelSettings, devices: Sequence[Device]) -> list[Problem]:
    """Devices that are named and not there, or none where the engine needs one."""
    here, numbers = f"[models.{name}] devices", named_devices(settings, model)
    there = ", ".join(str(one.index) for one in devices) or "-"
    text = model.devices or settings.cuda_visible_devices
    if numbers is None:
        return [
            Problem(
                "device_invalid",
                zh=f'{here}：{text!r} 不是 GPU 编号。请写成 devices = "0,1"，用 CPU 则写 devices = "none"。',
                en=f'{here}: {text!r} are no numbers of GPUs. Write devices = "0,1", or devices = "none" for the CPU.',
            )
        ]
    if not numbers and model.engine in ("vllm", "sglang") and model.devices.strip().lower() == "none":
        return [
            Problem(
                "no_devices",
                zh=f"{here}：指定在 CPU 上运行；{model.engine} 需要安装它的 CPU 版本。",
                en=f"{here}: it is to run on the CPU; {model.engine} needs its build for CPUs there.",
                severity="warning",
            )
        ]
    if not numbers and model.engine in ("vllm", "sglang"):
        return [
            Problem(
                "no_devices",
                zh=f'{here}：{model.engine} 需要 GPU，而没有指定（本机的 GPU：{there}）。请设 devices = "0"；'
                '没有 GPU 时改用 engine = "llamacpp" 与 GGUF 文件。',
                en=f'{here}: {model.engine} needs a GPU, and none is named (this machine has: {there}). Set devices = "0"; '
                'without a GPU use engine = "llamacpp" with a GGUF file.',
            )
        ]
    missing = [one for one in numbers if one not in {device.index for device in devices}]
    if not missing:
        return []
    lacking, code = ", ".join(map(str, missing)), "device_missing" if devices else "no_devices"
    return [
        Problem(
            code,
            zh=f"{here}：本机没有 GPU {lacking}（有：{there}）。请用 nvidia-smi 查看，并改正 devices 或 CUDA_VISIBLE_DEVICES。",
            en=f"{here}: this machine has no GPU {lacking} (it has: {there}). Look with nvidia-smi; correct devices or CUDA_VISIBLE_DEVICES.",
        )
    ]


def parallel_problems(name: str, model: ModelSettings, files: ModelFiles, numbers: list[int]) -> list[Problem]:
    """vLLM and SGLang share attention heads out evenly over the GPUs."""
    count = len(numbers)
    if model.engine not in ("vllm", "sglang") or count < 2 or _divides(files, count):
        return []
    fitting = ", ".join(str(one) for one in range(1, count) if _divides(files, one))
    return [
        Problem(
            "tensor_parallel",
            zh=f"[models.{name}] devices：{count} 块 GPU 无法均分 {files.heads} 个注意力头（键值头 {files.kv_heads} 个）。请把 devices 改为 {fitting} 块 GPU。",
            en=f"[models.{name}] devices: {count} GPUs cannot share out {files.heads} attention heads ({files.kv_heads} of keys and values) evenly. "
            f"Name {fitting} of them.",
        )
    ]


def _divides(files: ModelFiles, count: int) -> bool:
    kv_heads = 0 if files.latent_cache else files.kv_heads
    return files.heads % count == 0 and (kv_heads == 0 or kv_heads % count == 0 or count % kv_heads == 0)


def memory_problems(
    name: str, model: ModelSettings, place: Place, devices: Sequence[Device], memory: tuple[int, int], *, held: int = 0
) -> Iterator[Problem]:
    """Against the model's own bound, against the whole of each device, and against what is free on it now.

    `memory`: the machine's, in all and available. `held`: what the model's engine holds already, counted as free.
    """
    named = [one for one in devices if one.index in place.devices and one.total]
    totals = [one.total for one in named] if place.devices else [memory[0]]
    free = [one.free for one in named] if place.devices else [memory[1]]
    least, least_free = min(totals, default=0), min(free, default=0) + held // max(1, len(place.devices))
    where = ("每块 GPU", "of each GPU") if place.devices else ("本机内存", "of this machine's memory")
    limit = model.memory_limit_bytes
    if limit and least and limit > least:
        yield Problem(
            "memory_limit",
            zh=f"[models.{name}] memory_limit：{shown(limit)} 超过{where[0]}的 {shown(least)}，不起作用。请改小。",
            en=f"[models.{name}] memory_limit: {shown(limit)} is beyond the {shown(least)} {where[1]} and has no effect. Lower it.",
            severity="warning",
        )
    if limit and limit < (least or limit + 1) and place.share > limit:
        yield _short(name, model, place, limit, ("memory_limit", "memory_limit"), certain=place.weights_share > limit)
    elif least and place.share > least:
        yield _short(name, model, place, least, where, certain=place.weights_share > least)
    elif least and place.share > least_free:
        yield _short(name, model, place, least_free, (f"{where[0]}目前空闲", f"{where[1]} that is free now"), certain=False)


def _short(name: str, model: ModelSettings, place: Place, bound: int, where: tuple[str, str], *, certain: bool) -> Problem:
    """What is needed, what there is, and the largest number of slots, else context, that fits."""
    needs, count = place.needs, max(1, len(place.devices))
    parts = f"{shown(needs.weights // count)} + {shown(needs.kv_cache // count)} + {shown(needs.overhead // count)}"
    room = bound - (needs.weights + needs.overhead) // count
    a_slot = needs.kv_cache // count // model.slots
    zh, en = "请换用量化程度更高或更小的模型，或增加 devices", "Take a smaller or more quantised model, or more devices"
    if certain or not a_slot or room <= 0:
        pass
    elif room >= a_slot:
        zh, en = f"请设 slots = {room // a_slot}，或减小 context", f"Set slots = {room // a_slot}, or lower context"
    elif (fitting := room * model.context // a_slot // 256 * 256) >= 512:
        zh, en = f"请设 slots = 1 与 context = {fitting}", f"Set slots = 1 and context = {fitting}"
    if certain:
        told = (f"权重 {shown(place.weights_share)} 就超过了", f"its weights alone, {shown(place.weights_share)}, are beyond")
    else:
        about = shown(place.share)
        told = (f"估计需要 {about}（权重 + 缓存 + 其他：{parts}），超过", f"about {about} are needed (weights + cache + rest: {parts}), beyond")
    return Problem(
        "memory",
        zh=f"[models.{name}] path：{told[0]}{where[0]}的 {shown(max(0, bound))}。{zh}。",
        en=f"[models.{name}] path: {told[1]} the {shown(max(0, bound))} {where[1]}. {en}.",
        severity="error" if certain else "warning",
    )


def shared_problems(places: Mapping[str, Place], models: Mapping[str, ModelSettings], devices: Sequence[Device], memory: tuple[int, int]) -> dict[str, Problem]:
    """Of models that are alive together: those whose places are not large enough for all of them. By model: the last
    one without which the others have room."""
    found: dict[str, Problem] = {}
    bounds: dict[int | None, int] = {**{one.index: one.total for one in devices if one.total}, **({None: memory[0]} if memory[0] else {})}
    for device, total in bounds.items():
        here = [name for name, place in places.items() if (device in place.devices if device is not None else not place.devices)]
        if len(here) < 2:
            continue
        wanted = {name: min(places[name].share, models[name].memory_limit_bytes or places[name].share) for name in here}
        weights = sum(places[name].weights_share for name in here)
        if sum(wanted.values()) > total:
            last = next((name for name in reversed(here) if sum(wanted.values()) - wanted[name] <= total), here[-1])
            found.setdefault(last, _shared(last, wanted, device, total, certain=weights > total))
        elif greedy := [name for name in here if models[name].engine in ("vllm", "sglang") and not models[name].memory_limit]:
            found.setdefault(greedy[-1], _greedy(greedy[-1], here, device))
    return found


def _shared(name: str, wanted: Mapping[str, int], device: int | None, total: int, *, certain: bool) -> Problem:
    where = ("本机内存", "this machine's memory") if device is None else (f"GPU {device}", f"GPU {device}")
    listed = ", ".join(f"{one} {shown(size)}" for one, size in wanted.items())
    return Problem(
        "memory_shared",
        zh=f"[models.{name}] alive：{where[0]} 有 {shown(total)}，同时运行的模型合计需要 {shown(sum(wanted.values()))}（{listed}）。"
        "请给其中一个设 alive = false、换 devices，或减小 slots 与 context。",
        en=f"[models.{name}] alive: {where[1]} has {shown(total)}, and the models that run together need {shown(sum(wanted.values()))} ({listed}). "
        "Set alive = false for one of them, give it other devices, or lower slots and context.",
        severity="error" if certain else "warning",
    )


def _greedy(name: str, here: list[str], device: int | None) -> Problem:
    others = ", ".join(one for one in here if one != name)
    return Problem(
        "memory_shared",
        zh=f"[models.{name}] memory_limit：与 {others} 共用 GPU {device}，而没有上限的引擎会占用整块 GPU 的大部分。请设 memory_limit，例如 \"20GiB\"。",
        en=f"[models.{name}] memory_limit: it shares GPU {device} with {others}, and an engine without a bound takes most of the whole GPU. "
        'Set memory_limit, such as "20GiB".',
        severity="warning",
    )
