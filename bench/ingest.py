"""How fast documents become findable, and what it takes: 301 files over HTTP and through the command line, and the same laws as one corpus of 24,072 lines.

    python bench/ingest.py --data DIR      DIR holds B_regulations/raw_md and B_regulations/corpus.jsonl.gz
    python bench/ingest.py --data DIR --only http [--times 3]

Over HTTP a whole brain runs, as `python main.py` starts it: the files come in a few multipart requests, and from the first byte sent to the moment when none
of them is pending any more so many seconds pass (polled ten times a second); then to the end of the last job: names are linked and facts told too.
Through the command line a worker of its own runs over an empty data folder: seconds from the start of the command to its end. Memory is the
largest sum (PSS) of all processes. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.running import ROOT, RunningBrain

_QZBRAIN = [sys.executable, "-m", "qzbrain.cli"]
_TOGETHER = 61
_POLL_S = 0.1
_QUIET_S = 5.0
"""Facts are told when a graph has not changed for two seconds."""


def main() -> None:
    """Measure the ways that are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", choices=("http", "files", "corpus"), action="append")
    parser.add_argument("--times", type=int, default=1)
    given = parser.parse_args()
    laws = given.data / "B_regulations"
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.jsonl"
        with gzip.open(laws / "corpus.jsonl.gz", "rb") as packed, corpus.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        ways = {"http": lambda: measure_http(laws / "raw_md"), "files": lambda: measure(laws / "raw_md"), "corpus": lambda: measure(corpus)}
        measured = {way: [ways[way]() for _ in range(given.times)] for way in given.only or ways}
    print(json.dumps(measured, indent=1))


def measure_http(source: Path) -> dict[str, float | int]:
    """Upload all files of a folder to a new brain."""
    files = [(path.name, path.read_bytes()) for path in sorted(source.iterdir())]
    with tempfile.TemporaryDirectory() as folder:
        brain = RunningBrain(Path(folder) / "data").start()
        try:
            brain.call("POST", "/api/knowledge-bases", {"name": "x"})
            time.sleep(3)  # as above
            peak = _Peak(list(brain.processes()))
            began = time.monotonic()
            for start in range(0, len(files), _TOGETHER):
                _upload(brain, files[start : start + _TOGETHER])
            uploaded = time.monotonic() - began
            while (base := brain.call("GET", "/api/knowledge-bases/x")[1])["documents"]["pending"]:
                time.sleep(_POLL_S)
            ready = time.monotonic() - began
            linked = _last_job(brain) - began
            peak.end()
            graph = brain.call("GET", "/api/graph/x/stats")[1]
        finally:
            brain.stop()
    seconds = {"uploaded_s": round(uploaded, 2), "ready_s": round(ready, 2), "linked_s": round(linked, 2), "chunks_a_second": round(base["chunks"] / ready)}
    return {**seconds, "peak_mb": round(peak.mb), "ready": base["documents"]["ready"], "chunks": base["chunks"], "triples": graph["triples"]}


def _last_job(brain: RunningBrain) -> float:
    """When the last job was seen: none came for a while after it."""
    seen = time.monotonic()
    while time.monotonic() - seen < _QUIET_S:
        if any(brain.call("GET", f"/api/jobs?status={status}")[1]["data"] for status in ("pending", "running")):
            seen = time.monotonic()
        time.sleep(_POLL_S)
    return seen


def _upload(brain: RunningBrain, files: list[tuple[str, bytes]]) -> None:
    head = '--b\r\nContent-Disposition: form-data; name="file"; filename="{}"\r\n\r\n'
    body = b"".join(head.format(name).encode() + data + b"\r\n" for name, data in files) + b"--b--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=120)
    connection.request("POST", "/api/knowledge-bases/x/documents", body, {"Content-Type": "multipart/form-data; boundary=b"})
    reply = connection.getresponse()
    assert reply.status == 202, reply.read()
    reply.read()
    connection.close()


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
