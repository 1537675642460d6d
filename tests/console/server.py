"""A brain as its users have it: web and worker as processes of their own, on a free port over a data folder of their own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LAWS = ROOT / "qzbrain" / "samples" / "laws"
START_S = 40.0


class Server:
    """Started at once; `stop()` ends both processes. `url` has no slash at its end."""

    def __init__(self, folder: Path, config: str = "") -> None:
        data = folder / "data"
        data.mkdir(parents=True)
        (data / "config.toml").write_text(config, encoding="utf-8")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = (folder / "server.log").open("wb")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("QZBRAIN_")}
        environment |= {"QZBRAIN_EMBEDDER": "none", "QZBRAIN_DATA": str(data), "QZBRAIN_PORT": str(self.port), "PYTHONPATH": str(ROOT)}
        web = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "qzbrain" / "web" / "gunicorn_conf.py"), "qzbrain.wsgi:app"]
        worker = [sys.executable, "-m", "qzbrain.worker"]
        self._processes = [subprocess.Popen(command, cwd=folder, env=environment, stdout=self._log, stderr=self._log) for command in (web, worker)]
        wait_until(self._is_ready, START_S)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """JSON of the reply. Raises HTTPError."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    def make_base(self, name: str, title: str, texts: dict[str, str]) -> None:
        """A knowledge base with these texts by name, all ready."""
        self.call("POST", "/api/knowledge-bases", {"name": name, "title": title})
        for document, text in texts.items():
            self.call("POST", f"/api/knowledge-bases/{name}/documents", {"name": document, "text": text})
        wait_until(lambda: self.call("GET", f"/api/knowledge-bases/{name}")["documents"]["ready"] == len(texts), 30)

    def stop(self) -> None:
        """End the processes, children included."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()

    def _is_ready(self) -> bool:
        try:
            return self.call("GET", "/readyz")["status"] == "ready"
        except (urllib.error.URLError, ConnectionError):
            assert all(process.poll() is None for process in self._processes), "a process ended while starting"
            return False


class Line:
    """A network line in front of a server that can be cut and mended."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: set[socket.socket] = set()
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all connections; new ones are broken at once."""
        self._is_cut = True
        for end in list(self._open):
            _close(end)

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    def close(self) -> None:
        """Give the port back."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            _close(end)
            self._open.discard(end)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(is_so: Any, seconds: float) -> None:
    """Return when `is_so()`; fail when it is not within `seconds`."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)
