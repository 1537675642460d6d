"""From a clone to an answer: times of set-up and start, packages, size, memory. Prints one JSON object.

    python bench/footprint.py [--repo PATH_OR_URL]

Clones the committed state into a temporary folder, runs ./run.sh there with a data folder and port of its own, and removes all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.running import free_port, wait_for

ROOT = Path(__file__).resolve().parent.parent
QUESTION = {"model": "extractive@laws", "messages": [{"role": "user", "content": "行政处罚的种类有哪些？"}]}
IDLE_S = 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", default=str(ROOT))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qzbrain-footprint-") as folder:
        print(json.dumps(measure(arguments.repo, Path(folder)), indent=1))


def measure(repo: str, folder: Path) -> dict[str, Any]:
    """All figures; seconds, counts, MB (10^6 bytes)."""
    clone, port = folder / "clone", free_port()
    environment = {**os.environ, "QZBRAIN_DATA": str(folder / "data"), "QZBRAIN_PORT": str(port)}
    started = time.monotonic()
    subprocess.run(["git", "clone", "-q", repo, str(clone)], check=True)
    first = start(clone, environment, folder / "first.log")
    ask(port)
    figures: dict[str, Any] = {"clone_to_first_answer_s": round(time.monotonic() - started, 2)}
    stop(first)
    figures |= packages(clone)
    begun = time.monotonic()
    second = start(clone, environment, folder / "second.log")
    figures["second_start_s"] = round(time.monotonic() - begun, 2)
    time.sleep(IDLE_S)
    figures["idle_pss_mb"] = pss_mb(second.pid)
    figures["idle_pss_total_mb"] = round(sum(figures["idle_pss_mb"].values()), 1)
    begun = time.monotonic()
    stop(second)
    figures["stop_s"] = round(time.monotonic() - begun, 2)
    figures["git_status"] = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True).stdout
    return figures


def start(clone: Path, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Run ./run.sh until it says that it is ready."""
    with log.open("wb") as out:
        process = subprocess.Popen(["./run.sh"], cwd=clone, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    wait_for(lambda: "qzbrain is ready" in log.read_text(errors="replace") or process.poll() is not None, "ready", timeout_s=300)
    if process.poll() is not None:
        raise SystemExit(log.read_text(errors="replace"))
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and wait."""
    process.terminate()
    process.wait(60)


def ask(port: int) -> None:
    """One cited answer over HTTP."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(QUESTION).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.load(response)["citations"]


def packages(clone: Path) -> dict[str, Any]:
    """How many packages `.venv` holds, and their size without bytecode."""
    site = next((clone / ".venv" / "lib").glob("python3*/site-packages"))
    size = sum(x.stat().st_size for x in site.rglob("*") if x.is_file() and not x.is_symlink() and x.suffix != ".pyc")
    return {"packages": len(list(site.glob("*.dist-info"))), "site_packages_mb": round(size / 1e6, 1)}


def pss_mb(root: int) -> dict[str, float]:
    """Memory by process of the tree under `root`, shared pages counted in proportion."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = {}, [root]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        name = " ".join(x.decode() for x in command[1:4])
        found[f"{pid} {name}"] = round(next(int(x.split()[1]) for x in lines if x.startswith("Pss:")) * 1024 / 1e6, 1)
    return found


if __name__ == "__main__":
    main()
