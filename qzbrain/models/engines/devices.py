"""placeholder until merged"""
from collections.abc import Sequence

from qzbrain.models.engines.base import Device


def devices() -> list[Device]:
    """x"""
    return []
def memory_of(pids: Sequence[int]) -> dict[int, int]:
    """x"""
    return {}
