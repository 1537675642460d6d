"""The shared state of one process: lean, and small however many callers there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from qzbrain.storage import local_state
from qzbrain.storage.local_state import Windows

ALONE = """
import sys
from pathlib import Path
from qzbrain.brain import build
from qzbrain.settings import Settings
brain = build(Settings(qzbrain_data=Path(sys.argv[1])))
assert not brain.chat.elsewhere._shared.several
print([name for name in ("redis", "celery", "prometheus_client.multiprocess") if name in sys.modules])
"""


def test_without_a_server_no_driver_is_imported(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_window_slides() -> None:
    now = [0.0]
    windows = Windows(lambda: now[0])

    def take() -> float:
        return windows.take("k", limit=2, window_s=60)

    assert (take(), take(), take()) == (0, 0, 60)
    now[0] = 30
    assert take() == 30
    now[0] = 60
    assert (take(), take(), take()) == (0, 0, 60)


def test_a_lower_limit_waits_until_enough_have_left() -> None:
    now = [0.0]
    windows = Windows(lambda: now[0])
    for second in range(4):
        now[0] = second
        assert windows.take("k", limit=4, window_s=60) == 0
    assert windows.take("k", limit=2, window_s=60) == 59  # that of second 2 must leave, and those before it


def test_callers_who_are_silent_are_forgotten() -> None:
    now = [0.0]
    windows = Windows(lambda: now[0])
    for number in range(local_state._KEYS_KEPT + 1):
        windows.take(f"k{number}", limit=1, window_s=60)
    now[0] = 100
    windows.take("new", limit=1, window_s=60)
    assert list(windows._times) == ["new"]
