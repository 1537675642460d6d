"""Web and worker killed (-9) at random moments while files come in over HTTP: every acknowledged upload must end ready, and the index must be a rebuild's.

    python bench/crash.py --data DIR [--kills 20] [--seed 1]      DIR holds B_regulations/raw_md

Starts the whole brain under its supervisor on a free port and an empty data folder. Prints one JSON object; exit 1 when something was lost.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from qzbrain.brain import build
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
_BOUNDARY = "----qzbrain-crash"
_QUESTIONS = ("行政处罚的种类有哪些", "劳动合同应当具备哪些条款", "谁可以申请行政复议", "食品安全标准由谁制定", "公司章程由谁制定")


def main() -> None:
    """Run, check, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    files = sorted((given.data / "B_regulations" / "raw_md").glob("*.md"))
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        report = _Run(Path(folder), port, given.seed).crash(files, given.kills)
    print(json.dumps(report, ensure_ascii=False))
    sys.exit(0 if report["lost"] == 0 and report["same_as_rebuilt"] else 1)


class _Run:
    def __init__(self, data: Path, port: int, seed: int) -> None:
        self._data, self._url, self._chance = data, f"http://127.0.0.1:{port}", random.Random(seed)
        environment = {**os.environ, "QZBRAIN_DATA": str(data), "QZBRAIN_PORT": str(port)}
        self._brain = subprocess.Popen([sys.executable, str(ROOT / "main.py")], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        self._acknowledged: set[str] = set()

    def crash(self, files: list[Path], kills: int) -> dict[str, Any]:
        try:
            self._until(lambda: self._call("GET", "/readyz") is not None, 120)
            self._call("POST", "/api/knowledge-bases", json.dumps({"name": "crash"}).encode())
            feeding = threading.Thread(target=self._feed, args=(files,))
            feeding.start()
            killed = self._kill(kills)
            feeding.join()
            began = time.monotonic()
            self._until(lambda: self._counts()["pending"] == 0, 300)
            settled = time.monotonic() - began
        finally:
            self._brain.terminate()
            self._brain.wait()
        return {"kills": killed, "acknowledged": len(self._acknowledged), "seconds_to_the_last": round(settled, 1), **self._check()}

    def _feed(self, files: list[Path]) -> None:
        for path in files:
            while (reply := self._upload(path)) is None:
                time.sleep(0.2)  # killed meanwhile: the same file again
            self._acknowledged.add(reply["data"][0]["id"])
            time.sleep(0.04)

    def _kill(self, kills: int) -> int:
        """Web and worker by turns, while files come in and, when they are through, while they are still read."""
        killed = 0
        while killed < kills:
            time.sleep(self._chance.uniform(0.2, 0.9))
            victims = [x for x in _family(self._brain.pid) if ("gunicorn" if killed % 2 else "qzbrain.worker") in _command(x)]
            if victims:
                with suppress(ProcessLookupError):
                    os.kill(self._chance.choice(victims), signal.SIGKILL)
                    killed += 1
        return killed

    def _check(self) -> dict[str, Any]:
        brain = build(Settings(qzbrain_data=self._data))
        caller = brain.access.local_caller()
        ready = {x.id for x in self._all(brain, caller)}
        kb = brain.access.resolve(caller, ["crash"])[0]
        scope = brain.access.scope(caller, [kb.id])

        def found() -> list[list[str]]:
            return [[hit.text for hit in brain.retriever.search(SearchQuery(q), scope).hits] for q in _QUESTIONS]

        before = found()
        brain.feeder.rebuild(kb.id)
        same = before == found() and all(before)
        brain.close()
        return {"ready": len(ready), "lost": len(self._acknowledged - ready), "same_as_rebuilt": same}

    def _all(self, brain: Any, caller: Any) -> list[Any]:
        found: list[Any] = []
        after = None
        while True:
            page = brain.knowledge.documents(caller, "crash", "ready", limit=1000, after=after)
            found += page.data
            after = page.next
            if not page.has_more:
                return found

    def _counts(self) -> dict[str, int]:
        reply = self._call("GET", "/api/knowledge-bases/crash")
        return reply["documents"] if reply else {"pending": -1}

    def _upload(self, path: Path) -> Any:
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'.encode()
        body = head + path.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()
        return self._call("POST", "/api/knowledge-bases/crash/documents", body, f"multipart/form-data; boundary={_BOUNDARY}")

    def _call(self, method: str, path: str, body: bytes | None = None, content_type: str = "application/json") -> Any:
        """The reply; None when there was none, or not a good one."""
        request = urllib.request.Request(self._url + path, body, {"Content-Type": content_type}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return json.load(reply)
        except (OSError, http.client.HTTPException, ValueError):
            return None

    @staticmethod
    def _until(done: Any, within_s: float) -> None:
        end = time.monotonic() + within_s
        while not done():
            if time.monotonic() > end:
                raise SystemExit(f"not done within {within_s} s")
            time.sleep(0.2)


def _family(root: int) -> list[int]:
    """A process's descendants."""
    found = [root]
    for pid in found:
        with suppress(OSError):
            found += [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found[1:]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
