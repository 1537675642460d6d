"""Brings the models of an unpacked bundle into the data folder and config.toml: `python -m qzbrain.ops.bundle.placing BUNDLE`, in the version installed."""

from __future__ import annotations

import sys
from pathlib import Path

from qzbrain.errors import BrainError, Conflict
from qzbrain.models.hub.configured import write
from qzbrain.models.hub.imports import copied
from qzbrain.ops.bundle.layout import MANIFEST, load
from qzbrain.ops.bundle.saying import progress, say
from qzbrain.settings import config_path, default_config_path, load_settings


def main(bundle: Path) -> None:
    """Copy and configure each; one that is configured otherwise stays so, and that is said."""
    settings = load_settings()
    for model in load((bundle / MANIFEST).read_bytes()).models:
        tell = progress(f"正在复制模型 {model.name} …", f"copying the model {model.name} …")
        copied(bundle / "models" / model.name, settings.data / "models" / model.name, tell)
        try:
            write(config_path() or default_config_path(), model.name, model.values)
        except Conflict as exc:
            say(exc.zh, exc.en)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except BrainError as exc:
        sys.exit(f"qzbrain: {exc.zh}\nqzbrain: {exc.en}")
