"""Whether any request makes the server fail, or tells somebody what he may not know: schemathesis over the whole OpenAPI, signed in and not.

    pip install schemathesis                          # not among the project's own packages
    python bench/fuzz_api.py [--seconds 300] [--schemathesis PATH]

A brain with accounts, documents and a graph is started; half of the time requests come with an administrator's key, half with none. Prints one
JSON object: replies by status for each half, what answered 500 or more, and routes that gave nobody anything but 401 though they are not open to him.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from qzbrain.web.rights import need_of
from tests.running import ROOT, RunningBrain

_REFUSED = {400, 401, 403, 404, 405, 406, 408, 411, 413, 414, 415, 429, 431, 501}
"""Before anybody is asked who he is, a request may be no request at all. None of these tells anything."""
_OWN_GROUND = r"^/api/(api-keys|users)/"
"""One key or user at a time: left out with the key, which would else be deleted on the way; they are asked with none, and by the matrix of rights."""


def main() -> None:
    """Start, ask, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=300, help="for each half")
    parser.add_argument("--schemathesis", default="schemathesis")
    given = parser.parse_args()
    given.schemathesis = shutil.which(given.schemathesis) or parser.error(f"there is no {given.schemathesis}")
    with tempfile.TemporaryDirectory() as name:
        brain = RunningBrain(Path(name) / "data", config='qzbrain_accounts = "on"\n').start()
        try:
            _command(brain, "user", "add", "fuzz", "--role", "administrator", "--clearance", "top_secret", "--json")
            key = json.loads(_command(brain, "key", "create", "fuzz", "fuzz", "--json"))["key"]
            told = {"signed_in": _run(given, brain, key, Path(name)), "nobody": _run(given, brain, None, Path(name))}
        finally:
            brain.stop()
    print(json.dumps(told, indent=1, ensure_ascii=False))


def _command(brain: RunningBrain, *words: str) -> str:
    command = [sys.executable, "-m", "qzbrain.cli", *words]
    return subprocess.run(command, env=brain.environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _run(given: argparse.Namespace, brain: RunningBrain, key: str | None, folder: Path) -> dict[str, object]:
    log, url = brain.data / "logs" / "web.log", f"http://127.0.0.1:{brain.port}"
    before = log.stat().st_size
    schema = folder / "openapi.json"
    if key is not None:
        asked = urllib.request.Request(f"{url}/openapi.json", headers={"Authorization": f"Bearer {key}"})
        with urllib.request.urlopen(asked) as reply:
            schema.write_bytes(reply.read())
    program = Path(given.schemathesis).absolute()
    words = [program, "run", str(schema), "--url", url, "--checks", "not_a_server_error", "--max-time", str(given.seconds), "-w", "2"]
    signed_in = ["-H", f"Authorization: Bearer {key}", "--exclude-path-regex", _OWN_GROUND] if key else []
    done = subprocess.run([*words, *signed_in], capture_output=True, text=True, cwd=folder)  # where it is, it keeps a cache
    with log.open("rb") as stream:
        stream.seek(before)
        lines = [json.loads(line) for line in stream if line.startswith(b"{") and b'"event":"request"' in line]
    statuses = Counter(line["status"] for line in lines)
    failed = sorted({f"{line['method']} {line['route']}" for line in lines if line["status"] >= 500 and line["status"] != 503})
    leaks = [] if key else sorted({f"{line['method']} {line['route']} {line['status']}" for line in lines if _leaks(line)})
    summary = re.findall(r"^.*(?:passed|failed|generated|Generated).*$", done.stdout, re.MULTILINE)[-4:]
    return {"requests": len(lines), "statuses": dict(sorted(statuses.items())), "failed": failed, "leaks": leaks, "summary": summary, "rc": done.returncode}


def _leaks(line: dict[str, object]) -> bool:
    need = need_of(str(line["method"]), str(line["route"]))
    return need != "nobody" and line["route"] != "unknown" and line["status"] not in _REFUSED


if __name__ == "__main__":
    main()
