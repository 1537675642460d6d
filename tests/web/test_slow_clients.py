"""Clients that send at a crawl lose their connection, whatever they crawl with; others are served meanwhile; and what every reply carries."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from web_process import ROOT, WebProcess

from qzbrain.web.slow_clients import PacedBody, TooSlow

POST = b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'web'}"}
    process = WebProcess(tmp_path_factory.mktemp("impatient"), app="impatient:app", settings=path).start()
    yield process
    process.stop()


def until_closed(sock: socket.socket, drip: bytes) -> tuple[float, bytes]:
    """Send a byte now and then; how long the connection lived, and what came."""
    began, data = time.monotonic(), b""
    sock.settimeout(0.2)
    while time.monotonic() - began < 30:
        try:
            sock.sendall(drip)
            piece = sock.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            break
        if not piece:
            break
        data += piece
    return time.monotonic() - began, data


@pytest.mark.parametrize(("start", "answered"), [(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ", False), (b"", False), (POST, True)])
def test_a_request_at_a_crawl_is_given_up(impatient: WebProcess, start: bytes, answered: bool) -> None:
    sock = socket.create_connection(("127.0.0.1", impatient.port))
    sock.sendall(start)
    lived, data = until_closed(sock, b"a" if start else b"")
    assert lived < 20
    assert (b" 408 " in data and b"request_too_slow" in data) is answered


def test_many_of_them_hold_nobody_up(impatient: WebProcess) -> None:
    slow = []
    for _ in range(200):
        sock = socket.create_connection(("127.0.0.1", impatient.port))
        sock.sendall(POST[:-2])
        slow.append(sock)
    began = time.monotonic()
    for _ in range(5):
        assert impatient.call("GET", "/healthz")[0] == 200
    assert time.monotonic() - began < 5
    for sock in slow:
        sock.close()


def test_a_client_that_is_merely_busy_elsewhere_is_served(impatient: WebProcess) -> None:
    """Two requests on one connection, with a pause between them that is longer than the patience for a first one."""
    sock = socket.create_connection(("127.0.0.1", impatient.port))
    sock.settimeout(10)
    for pause in (3.5, 0):
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        data = b""
        while not data.endswith(b'{"status":"ok"}'):
            data += sock.recv(4096)
        time.sleep(pause)
    sock.close()
    text = "法" * 300_000
    assert impatient.call("POST", "/api/knowledge-bases", {"name": "kb"})[0] == 201
    assert impatient.call("POST", "/api/knowledge-bases/kb/documents", {"name": "a", "text": text})[0] == 202


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int) -> bytes:
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    def readline(self, size: int) -> bytes:
        line = self._data[: self._data.find(b"\n") + 1 or len(self._data)][:size]
        self._data = self._data[len(line) :]
        return line


def test_a_body_reads_as_a_file_does() -> None:
    data = b"".join(b"%d\n" % i for i in range(10_000))
    assert PacedBody(_Body(data)).read() == data
    body = PacedBody(_Body(data))
    assert body.read(10) + body.read(40_000) + body.read(-1) == data
    assert b"".join(PacedBody(_Body(data))) == data == b"".join(PacedBody(_Body(data)).readlines())
    assert PacedBody(_Body(b"")).read(5) == b""
    spent = PacedBody(_Body(data), grace_s=0)
    for _ in range(2):
        with pytest.raises(TooSlow):
            spent.read(1)
    assert spent.late


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/jobs", "/api/nothing", "/docs", "/v1/models", "/console/app.js"])
def test_every_reply_carries_the_headers(client: FlaskClient, path: str) -> None:
    reply = client.get(path)
    assert {name: reply.headers.get(name) for name in HEADERS} == HEADERS
    assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
    assert "script-src 'unsafe" not in reply.headers["Content-Security-Policy"]
    assert "camera=()" in reply.headers["Permissions-Policy"]
    assert reply.headers["Cache-Control"]
    assert "Strict-Transport-Security" not in reply.headers  # not over plain http


def test_plain_replies_at_the_address_of_sockets_carry_them_too(client: FlaskClient) -> None:
    for headers in ({}, {"Origin": "http://evil.example"}):
        reply = client.get("/socket.io/?EIO=4&transport=polling", headers=headers)
        assert reply.status_code in (400, 403)
        assert (reply.headers["X-Content-Type-Options"], reply.headers["Cache-Control"]) == ("nosniff", "no-store")


def test_a_file_is_a_download_and_never_runs(client: FlaskClient) -> None:
    client.post("/api/knowledge-bases", json={"name": "kb"})
    page = "<html><script>alert(1)</script></html>"
    added = client.post("/api/knowledge-bases/kb/documents", json={"name": 'evil".html', "text": page}).json["data"][0]
    reply = client.get(f"/api/documents/{added['id']}/file")
    assert reply.mimetype == "application/octet-stream"
    assert reply.headers["Content-Disposition"].startswith('attachment; filename="evil_.html"')
    assert reply.headers["Content-Security-Policy"].startswith("sandbox")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get(f"/api/documents/{added['id']}/content").mimetype == "application/json"
