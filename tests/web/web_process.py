"""The web process alone, as supervisord starts it, over a data folder of its own; and a raw client for what clients should not do."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STARTS_S = 20.0


class WebProcess:
    """gunicorn with its workers. `start()` may be called again after a kill.

    `beside`: another one whose data folder it shares; `settings`: by environment name; `app`: another target than the real one.
    """

    def __init__(
        self, folder: Path, config: str = "", *, beside: WebProcess | None = None, settings: dict[str, str] | None = None, app: str = "qzbrain.wsgi:app"
    ) -> None:
        self.data = folder / "data" if beside is None else beside.data
        if beside is None:
            self.data.mkdir(parents=True)
            (self.data / "config.toml").write_text(config, encoding="utf-8")
        self._settings, self._app = settings or {}, app
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"web-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> WebProcess:
        """Start and wait until it answers."""
        outer = {name: value for name, value in os.environ.items() if not name.startswith("QZBRAIN_")}
        environment = {**outer, "QZBRAIN_EMBEDDER": "none", "QZBRAIN_DATA": str(self.data), "QZBRAIN_PORT": str(self.port), **self._settings}
        command = [sys.executable, "-m", "gunicorn", "-c", "qzbrain/web/gunicorn_conf.py", self._app]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
        eventually(lambda: self.call("GET", "/healthz")[0] == 200, within_s=STARTS_S)
        return self

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not enough."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9 of the master."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        assert self.process is not None
        return [int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def worker_of(self, sock: socket.socket) -> int:
        """Process id of the worker that has the other end of this connection."""
        port = sock.getsockname()[1]
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inode = next(row[9] for row in rows if row[1].endswith(f":{self.port:04X}") and row[2].endswith(f":{port:04X}"))
        for pid in self.workers():
            for link in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    if str(link.readlink()) == f"socket:[{inode}]":
                        return pid
                except OSError:
                    continue
        raise AssertionError("no worker has taken the connection yet")

    def call(self, method: str, path: str, payload: Any = None, **headers: str) -> tuple[int, Any]:
        """JSON in, (status, JSON or text) out; header names with _ for -. Status 0 when nobody answers."""
        body = payload if isinstance(payload, bytes) or payload is None else json.dumps(payload).encode()
        given = {"Content-Type": "application/json"} if body is not None else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, given)
            reply = connection.getresponse()
            data = reply.read()
        except OSError:
            return 0, None
        finally:
            connection.close()
        try:
            return reply.status, json.loads(data) if data else None
        except ValueError:
            return reply.status, data.decode()

    def open_stream(self, payload: dict[str, Any], path: str = "/v1/chat/completions", *, receive_bytes: int = 0, **headers: str) -> socket.socket:
        """A POST whose reply is left to the test. `receive_bytes`: a small receive buffer makes a slow reader."""
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", self.port))
        body = json.dumps(payload).encode()
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        return sock


def eventually(condition: Callable[[], Any], *, within_s: float = 10.0) -> Any:
    """The first true value of `condition`; fails when it does not come in time."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)
    return value


def read_all(sock: socket.socket) -> bytes:
    """What comes until the end of a chunked reply or of the connection."""
    data = b""
    while not data.endswith(b"0\r\n\r\n") and (piece := sock.recv(65536)):
        data += piece
    return data


def body_of(reply: bytes) -> bytes:
    """The body of a whole chunked HTTP reply."""
    _, _, rest = reply.partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
        if not length:
            break
    return body


def events_of(reply: bytes) -> list[Any]:
    """JSON of the `data:` lines, `[DONE]` as text."""
    lines = [line[6:] for line in body_of(reply).decode().split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]
