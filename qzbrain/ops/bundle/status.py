"""Tells the installer, as JSON, what a version sees with the settings in force: `python -m qzbrain.ops.bundle.status`."""

from __future__ import annotations

import json
import sys

from qzbrain.errors import BrainError
from qzbrain.ops.start import running_brain
from qzbrain.settings import load_settings


def main() -> None:
    """Print it; what is wrong with the settings goes to standard error, in both languages."""
    try:
        settings = load_settings()
    except BrainError as exc:
        sys.exit(f"qzbrain: {exc.zh}\nqzbrain: {exc.en}")
    running = running_brain(settings)
    told = {
        "data": str(settings.data), "database": "" if settings.mysql_host else str(settings.database_path), "accounts": settings.accounts,
        "running": str(running.get("url", "?")) if running else "", "url": settings.url,
    }  # fmt: skip
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
