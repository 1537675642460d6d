"""Did the memory of an engine's GPUs come back? What its processes held is noted before they end, and looked for afterwards."""

from __future__ import annotations

import time
from collections.abc import Sequence

from qzbrain.models.engines.devices import memory_of

WAIT_S = 30.0
_POLL_S = 0.2
_MIB = 1 << 20


class MemoryWatch:
    """Made while the engine still runs. Without nvidia-smi, and for an engine that held no GPU memory, there is nothing to be missed."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._held = memory_of(pids) if pids else {}

    def missing(self) -> tuple[str, str] | None:
        """After the end: None when everything came back within 30 s, else what did not, as a sentence in both languages."""
        if not self._held:
            return None
        end = time.monotonic() + WAIT_S
        while left := memory_of(list(self._held)):
            if time.monotonic() > end:
                who = ", ".join(f"{pid}: {held // _MIB} MiB" for pid, held in left.items())
                return (
                    f"引擎已停止，但显存没有归还（PID {who}）。请运行 nvidia-smi 查看，必要时结束这些进程。",
                    f"The engine was stopped, but GPU memory did not come back (PID {who}). Look with nvidia-smi, and end these processes if need be.",
                )
            time.sleep(_POLL_S)
        return None
