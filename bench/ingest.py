"""How fast documents become findable, and what it takes: 301 files and the same laws as one corpus of 24,072 lines, through the command line.

    python bench/ingest.py --data DIR      DIR holds B_regulations/raw_md and B_regulations/corpus.jsonl.gz

A worker of its own runs over an empty data folder, as under the supervisor. Prints one JSON object: seconds from the start of the command
to its end, and the largest sum of memory (PSS) of worker, reading child and command.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_QZBRAIN = [sys.executable, "-m", "qzbrain.cli"]


def main() -> None:
    """Measure both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    laws = parser.parse_args().data / "B_regulations"
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.jsonl"
        with gzip.open(laws / "corpus.jsonl.gz", "rb") as packed, corpus.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        print(json.dumps({"files": measure(laws / "raw_md"), "corpus": measure(corpus)}, indent=1))


def measure(source: Path) -> dict[str, float | int]:
    """Add `source` to an empty brain."""
    with tempfile.TemporaryDirectory() as data:
        environment = {**os.environ, "QZBRAIN_DATA": data, "LOG_LEVEL": "error"}
        subprocess.run([*_QZBRAIN, "kb", "create", "x"], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        worker = subprocess.Popen([sys.executable, "-m", "qzbrain.worker"], cwd=ROOT, env=environment)
        try:
            time.sleep(3)  # let it come up: the command is what is measured
            began = time.monotonic()
            command = subprocess.Popen([*_QZBRAIN, "kb", "add", "x", str(source), "--recursive", "--json"], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
            peak = _Peak([worker.pid, command.pid])
            out, _ = command.communicate(timeout=600)
            seconds = time.monotonic() - began
            peak.end()
        finally:
            worker.terminate()
            worker.wait()
    report = json.loads(out)
    return {"seconds": round(seconds, 2), "peak_mb": round(peak.mb), **{key: report[key] for key in ("documents", "ready", "chunks")}}


class _Peak(threading.Thread):
    """Largest memory of some processes and their children, looked at ten times a second."""

    def __init__(self, pids: list[int]) -> None:
        super().__init__(daemon=True)
        self._pids, self._ended = pids, threading.Event()
        self.mb = 0.0
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self.mb = max(self.mb, sum(_pss_mb(pid) + sum(map(_pss_mb, _children(pid))) for pid in self._pids))

    def end(self) -> None:
        self._ended.set()
        self.join()


def _children(pid: int) -> list[int]:
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    main()
