"""A whole brain that speaks https, as a user starts it: it says that it is ready, and the doctor reaches it."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.authority import Authority
from tests.running import RunningBrain


def test_it_gets_ready_answers_and_passes_the_doctor(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    authority.context("IP:127.0.0.1", days=90)
    running = RunningBrain(tmp_path / "data")
    running.environment |= {"TLS_CERT": str(tmp_path / "ca" / "engine.pem"), "TLS_KEY": str(tmp_path / "ca" / "engine.key")}
    running.start()
    try:
        assert f"https://127.0.0.1:{running.port}" in running.output()
        context = ssl.create_default_context(cafile=str(authority.file))
        with urllib.request.urlopen(f"https://127.0.0.1:{running.port}/readyz", context=context, timeout=10) as reply:
            assert json.load(reply)["status"] == "ready"
        command = [sys.executable, "-m", "qzbrain.cli", "doctor", "--step", "8", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=running.environment, timeout=60, check=False)
        found = {one["id"]: one["status"] for one in json.loads(done.stdout)["checks"]}
        assert {found[name] for name in ("web", "tls", "port", "worker")} == {"ok"}
    finally:
        running.stop()
