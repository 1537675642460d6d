"""What tests with llama.cpp and the built-in embedder need, as the set-up puts it."""

from __future__ import annotations

from pathlib import Path

from qzbrain.models.catalog import E5_FILE
from qzbrain.models.engines.on_demand import LOCAL_ENVIRONMENT
from tests.running import ROOT
from tests.servers.programs import missing

EMBEDDER = ROOT / ".tools" / "models" / E5_FILE


def need_embedder() -> Path:
    """The embedder's file. Without it, or llama.cpp, the test is skipped with a notice, or fails where CI=true."""
    if not (ROOT / LOCAL_ENVIRONMENT / "bin" / "python").exists() or not EMBEDDER.is_file():
        missing("llama.cpp and the built-in embedder are not installed (./test.sh --setup-only)")
    return EMBEDDER
