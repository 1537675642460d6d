"""A proxy before a real server, that says no or nothing for a while: what a busy cluster and a bad network do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3


class Proxy:
    """`url` leads to `target`. `refuse`: how many of the next requests whose path ends with `path` get `status` and `headers` instead."""

    def __init__(self, target: str) -> None:
        self.refuse, self.path, self.status = 0, "", 429
        self.headers: dict[str, str] = {}
        self.body = b'{"error":{"type":"es_rejected_execution_exception","reason":"too busy"},"status":429}'
        self.seen: list[tuple[str, str]] = []
        self._pool = urllib3.PoolManager(maxsize=16)
        self._target = target
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                path = self.path.partition("?")[0]
                proxy.seen.append((self.command, path))
                if proxy.refuse and path.endswith(proxy.path):
                    proxy.refuse -= 1
                    self.answer(proxy.status, {"content-type": "application/json", **proxy.headers}, proxy.body)
                    return
                kind = {"content-type": self.headers.get("content-type") or "application/json"}
                reply = proxy._pool.request(self.command, proxy._target + self.path, body=body or None, headers=kind, retries=False)
                self.answer(reply.status, {"content-type": reply.headers["content-type"]}, reply.data)

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing on the terminal."""

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the names that the base class calls

        return Handler


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    """A proxy for the time of a block."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
