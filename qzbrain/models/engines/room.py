"""Is there room for one more engine? By the estimate of its memory against what its devices, or the machine, have free."""

from __future__ import annotations

from qzbrain.settings import ModelSettings, Settings

SPARE = 0.9
"""Part of the free memory that may be used: an estimate is not a measurement."""


def fits_beside(settings: Settings, name: str, model: ModelSettings) -> bool:
    """Whether this model can be started while all others stay. False when that is not known."""
    return False
