"""What is wrong with the configured models: each alone, and those that are alive together. Everything is found at once, not the first thing only.

Only looks: at the settings, at headers of files, at what environments are there. What devices and memory there are is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qzbrain.models.catalog import LOCAL_ENGINES, all_models
from qzbrain.models.engines import devices as hardware
from qzbrain.models.engines.base import Device, Problem
from qzbrain.models.engines.validation_engines import engine_problems
from qzbrain.models.engines.validation_files import read
from qzbrain.models.engines.validation_memory import Place, device_problems, memory_problems, named_devices, parallel_problems, place_of, shared_problems
from qzbrain.models.engines.validation_options import environment_problems, option_problems
from qzbrain.models.engines.validation_uses import use_problems
from qzbrain.models.files.description import ModelFiles
from qzbrain.settings import Settings


@dataclass(frozen=True, slots=True)
class Examined:
    """One model: its problems and, where they can be read, its files and where it runs."""

    problems: list[Problem]
    files: ModelFiles | None = None
    place: Place | None = None


def problems(name: str, settings: Settings, *, devices: Sequence[Device], memory: tuple[int, int], held: int = 0) -> list[Problem]:
    """What is wrong with one model; errors keep it from being started. See `examined`. Raises KeyError for a name that is not configured."""
    return examined(name, settings, devices=devices, memory=memory, held=held).problems


def all_problems(settings: Settings) -> dict[str, list[Problem]]:
    """Of every alive local model, by name, those of sharing included; [] for one that is well. Asks nvidia-smi."""
    gpus = hardware.look()
    found = examined_all(settings, devices=gpus.devices, memory=hardware.machine_memory())
    for name, one in found.items():
        if gpus.problem and named_devices(settings, all_models(settings)[name]):
            one.problems.insert(0, gpus.problem)
    return {name: one.problems for name, one in found.items()}


def examined_all(settings: Settings, *, devices: Sequence[Device], memory: tuple[int, int], held: Mapping[str, int] | None = None) -> dict[str, Examined]:
    """Every alive local model in its order. `held`: bytes that running engines hold already, by model."""
    models = {name: model for name, model in all_models(settings).items() if model.engine in LOCAL_ENGINES and model.alive}
    found = {name: examined(name, settings, devices=devices, memory=memory, held=(held or {}).get(name, 0)) for name in models}
    places = {name: one.place for name, one in found.items() if one.place is not None}
    for name, problem in shared_problems(places, models, devices, memory).items():
        found[name].problems.append(problem)
    return found


def examined(name: str, settings: Settings, *, devices: Sequence[Device], memory: tuple[int, int], held: int = 0) -> Examined:
    """Look at one model of the catalog. `memory`: of this machine, in all and available. `held`: bytes that its own running engine has already."""
    model = all_models(settings)[name]
    found = list(option_problems(name, model))
    if model.engine not in LOCAL_ENGINES:
        return Examined(found)
    found += environment_problems(name, settings, model)
    found += device_problems(name, settings, model, devices)
    files = read(name, settings, model)
    if isinstance(files, Problem):
        return Examined([*found, files])
    found += engine_problems(name, settings, model, files)
    found += use_problems(name, model, files)
    numbers = named_devices(settings, model)
    wanted = {"llamacpp": "gguf", "ctranslate2": "ctranslate2"}.get(model.engine)
    if numbers is None or files.format == "pt" or (wanted and files.format != wanted) or (not wanted and not numbers):  # it will not run at all
        return Examined(found, files)
    place = place_of(model, files, numbers)
    found += parallel_problems(name, model, files, numbers)
    found += memory_problems(name, model, place, devices, memory, held=held)
    return Examined(found, files, place)
