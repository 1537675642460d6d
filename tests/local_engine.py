"""What tests with local engines need: the built-in embedder, as the set-up puts it, and tiny models, made when they are first wanted."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

from qzbrain.models.catalog import E5_FOLDER
from qzbrain.models.engines.launching import LOCAL_ENVIRONMENT
from tests.running import ROOT
from tests.servers.programs import missing

EMBEDDER = ROOT / ".tools" / "models" / E5_FOLDER


def need_embedder() -> Path:
    """The embedder's folder. Without it, or its engine, the test is skipped with a notice, or fails where CI=true."""
    if not (ROOT / LOCAL_ENVIRONMENT / "bin" / "python").exists() or not (EMBEDDER / "model.bin").is_file():
        missing("the local engines and the built-in embedder are not installed (./test.sh --setup-only)")
    return EMBEDDER


def local_python() -> Path:
    """The Python that has llama.cpp and CTranslate2."""
    need_embedder()
    return ROOT / LOCAL_ENVIRONMENT / "bin" / "python"


def tiny_model(kind: str) -> Path:
    """A model of random weights: `chat`, `embedding` or `rerank`. Made once for all tests that run now or later."""
    program = Path(__file__).parent / "servers" / "tiny_models.py"
    folder = ROOT / ".tools" / f"tiny-{hashlib.sha256(program.read_bytes()).hexdigest()[:12]}"
    with (ROOT / ".tools" / "tiny.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, program, folder], check=True, capture_output=True)
            (folder / "ready").touch()
    return folder / f"{kind}.gguf"


def tiny_encoder() -> Path:
    """A folder for CTranslate2 with random weights, and `source.npz`, what they were made of. Made once, as `tiny_model`'s."""
    program = Path(__file__).parent / "servers" / "tiny_encoder.py"
    converter = ROOT / "qzbrain" / "models" / "hub" / "e5.py"
    folder = ROOT / ".tools" / f"tiny-{hashlib.sha256(program.read_bytes() + converter.read_bytes()).hexdigest()[:12]}"
    with (ROOT / ".tools" / "tiny.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            subprocess.run([local_python(), program, folder], check=True, capture_output=True)
            (folder / "ready").touch()
    return folder
