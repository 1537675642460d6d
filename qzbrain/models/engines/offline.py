"""The environment of every engine that is a program of somebody else's: it asks no hub and tells nobody that it runs."""

from __future__ import annotations

from collections.abc import Mapping

OFFLINE: Mapping[str, str | None] = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONPATH": None,
    "PYTHONHOME": None,
    "VIRTUAL_ENV": None,
}
