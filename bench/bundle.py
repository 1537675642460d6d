"""What the offline bundle costs: `python bench/bundle.py [CACHE]`. As root, with mmdebstrap: it installs in a clean root without any network.

JSON on standard output: seconds to build (with what CACHE, `.tools/bundle-cache` by default, holds; the first time everything is fetched), again with all of it
there, size, seconds to unpack, to install, to start and to the first answer that cites a law, and the size on the disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.running import ROOT, wait_for
from tests.servers.clean_root import CleanRoot

ASK = """curl -sf http://127.0.0.1:9025/v1/chat/completions -H 'Content-Type: application/json' \
-d '{"model": "auto@laws", "messages": [{"role": "user", "content": "行政处罚的种类有哪些？"}]}'"""


def main(cache: Path) -> None:
    """Build twice, install, ask, report."""
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        tar, told = Path(folder) / "bundle.tar", dict[str, object]()
        for name in ("build_s", "build_again_s"):
            began = time.perf_counter()
            command = [sys.executable, "-m", "qzbrain.cli", "bundle", "-o", str(tar), "--python", "system", "--python-version", "3.11"]
            command += ["--cache", str(cache), "--json"]
            done = subprocess.run(command, cwd=ROOT, env={**os.environ, "QZBRAIN_DATA": f"{folder}/data"}, stdout=subprocess.PIPE, check=True)
            told[name] = round(time.perf_counter() - began, 1)
        built = json.loads(done.stdout)
        told |= {"size_mb": round(built["size_bytes"] / 1e6, 1), "embedder": built["manifest"]["embedder"], "parts": built["manifest"]["sizes"]}
        with CleanRoot(Path(folder)) as root:
            root.put(tar, "/srv/bundle.tar")
            script = "sh /srv/qzbrain-*/install.sh"
            for name, text in (("unpack_s", "cd /srv && tar -xf bundle.tar"), ("verify_s", f"{script} --verify-only"), ("install_s", f"{script} --to /srv/q")):
                began = time.perf_counter()
                done_inside = root.run(text)
                assert done_inside.returncode == 0, done_inside.stderr
                told[name] = round(time.perf_counter() - began, 1)
            began = time.perf_counter()
            root.popen("exec /srv/q/qzbrain serve > /srv/log 2>&1")
            answer = wait_for(lambda: "警告" in (reply := root.run(ASK).stdout) and reply, "an answer", 120)
            told |= {"first_answer_s": round(time.perf_counter() - began, 1), "cites": len(json.loads(answer)["citations"])}
            told["installed_mb"] = round(int(root.run("du -sm /srv/q/versions").stdout.split()[0]), 1)
    print(json.dumps(told, ensure_ascii=False))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".tools" / "bundle-cache").absolute())
