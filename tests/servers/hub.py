"""A stand-in for ModelScope and Hugging Face: their listings, redirects to another host, ranges, entity tags; and what goes wrong on the way.

    with Hub({"Qwen/x-GGUF": {"x.gguf": b"..."}}) as hub:
        hub.endpoint, hub.faults.append(Fault("cut", after=1000))     # the next transfer breaks off
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Fault:
    """What happens to one transfer. cut: the connection closes after so many bytes; stall: nothing comes for so long; status: this reply."""

    kind: str
    after: int = 0
    status: int = 500
    headers: tuple[tuple[str, str], ...] = ()


class Hub:
    """`requests`: (host, path, headers) of each request. `told_sha256`: what listings say of a file instead. `ranges`: whether they are known."""

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        self.repositories = {name: dict(files) for name, files in repositories.items()}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.told_sha256: dict[str, str] = {}
        self.ranges = True
        self.token = ""
        self.hold = threading.Event()
        self._servers = [self._server("hub"), self._server("cdn")]
        self.endpoint, self.cdn = (f"http://127.0.0.1:{one.server_address[1]}" for one in self._servers)

    def _server(self, host: str) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self, "host": host}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def transfers(self) -> list[dict[str, str]]:
        """Headers of the requests for a file's bytes, in order."""
        return [headers for host, _, headers in self.requests if host == "cdn"]

    def sha256(self, file: str, content: bytes) -> str:
        return self.told_sha256.get(file, hashlib.sha256(content).hexdigest())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    host: str

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.hub.requests.append((self.host, self.path, {k.lower(): v for k, v in self.headers.items()}))
        if self.host == "cdn":
            return self.file()
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), {k: v[0] for k, v in parse_qs(parts.query).items()}
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.reply(401, b"{}")
        if found := re.fullmatch(r"/api/v1/models/(.+?)/repo/files", path):
            return self.listed(found[1], lambda name, data: {"Path": name, "Type": "blob", "Size": len(data), "Sha256": self.hub.sha256(name, data)}, True)
        if found := re.fullmatch(r"/api/v1/models/(.+?)/repo", path):
            return self.redirect(found[1], query.get("FilePath", ""))
        if found := re.fullmatch(r"/api/models/(.+?)/tree/([^/]+)", path):
            return self.listed(
                found[1],
                lambda name, data: {"type": "file", "path": name, "size": len(data), "lfs": {"oid": self.hub.sha256(name, data), "size": len(data)}},
                False,
            )
        if found := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            return self.redirect(found[1], found[3])
        return self.reply(404, b"{}")

    def listed(self, repository: str, entry: Any, wrapped: bool) -> None:
        files = self.hub.repositories.get(repository)
        if files is None:
            return self.reply(404, b'{"error": "Repository not found"}')
        rows = [entry(name, data) for name, data in files.items()]
        return self.reply(200, json.dumps({"Code": 200, "Success": True, "Data": {"Files": rows}} if wrapped else rows).encode())

    def redirect(self, repository: str, file: str) -> None:
        if file not in self.hub.repositories.get(repository, {}):
            return self.reply(404, b"Entry not found")
        return self.reply(302, b"", ("Location", f"{self.hub.cdn}/{repository}/{file}?signature=x"))

    def file(self) -> None:
        repository, _, file = unquote(urlsplit(self.path).path).lstrip("/").rpartition("/")
        data = self.hub.repositories[repository][file]
        fault = self.hub.faults.pop(0) if self.hub.faults else Fault("")
        if fault.kind == "status":
            return self.reply(fault.status, b"busy", *fault.headers)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if self.hub.ranges else None
        start = int(asked[1]) if asked else 0
        if start >= len(data) > 0:
            return self.reply(416, b"", ("Content-Range", f"bytes */{len(data)}"))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        body = data[start:]
        if fault.kind == "cut":
            self.wfile.write(body[: fault.after])
            self.wfile.flush()
            self.close_connection = True
            return self.connection.close()
        if fault.kind == "slow":
            for at in range(0, len(body), fault.after):
                self.wfile.write(body[at : at + fault.after])
                self.wfile.flush()
                if self.hub.hold.wait(0.05):
                    break
            return None
        if fault.kind == "stall":
            self.wfile.write(body[: fault.after])
            self.wfile.flush()
            time.sleep(0)
            self.hub.hold.wait(30)
            self.close_connection = True
            return None
        self.wfile.write(body)
        return None

    def reply(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
