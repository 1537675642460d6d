"""What stands in the way of starting an engine now, and whether there is room for it beside those that run."""

from __future__ import annotations

from qzbrain.models.engines import devices as hardware
from qzbrain.models.engines.base import Problem
from qzbrain.models.engines.validation import examined
from qzbrain.settings import Settings

SPARE = 0.9
"""Part of the free memory that may be used: an estimate is not a measurement."""


def obstacles(settings: Settings, name: str) -> list[Problem]:
    """The errors among a model's problems: with one of them its engine need not be started."""
    found = examined(name, settings, devices=hardware.devices(), memory=hardware.machine_memory())
    return [one for one in found.problems if one.severity == "error"]


def fits_beside(settings: Settings, name: str) -> bool:
    """Whether this model can be started while all others stay. False when that is not known."""
    devices, memory = hardware.devices(), hardware.machine_memory()
    place = examined(name, settings, devices=devices, memory=memory).place
    if place is None:
        return False
    if not place.devices:
        return place.share <= SPARE * memory[1]
    free = [one.free for one in devices if one.index in place.devices]
    return len(free) == len(place.devices) and place.share <= SPARE * min(free)
