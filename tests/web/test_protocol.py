"""What is no HTTP that can be served, over a raw connection: refused in the shape of all errors, and the process serves on."""

from __future__ import annotations

import json
import socket

import pytest
from web_process import WebProcess

HOST = b"Host: 127.0.0.1\r\n"


def raw(web: WebProcess, data: bytes, *, ends: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Status, headers with lower-case names, body of what answers these bytes; the connection must end by itself. `ends`: nothing more is sent."""
    with socket.create_connection(("127.0.0.1", web.port), 20) as sock:
        sock.sendall(data)
        if ends:
            sock.shutdown(socket.SHUT_WR)
        reply = b""
        while piece := sock.recv(65536):
            reply += piece
    head, _, body = reply.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), headers, body


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "request_line_too_long"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Cookie: " + b"c" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n", 431, "headers_too_large"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Bad Name: x\r\n\r\n", 400, "bad_request"),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"no colon here\r\n\r\n", 400, "bad_request"),
        (b"GET /healthz HTTP/9.9\r\n" + HOST + b"\r\n", 400, "bad_request"),
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: unheard-of\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad_request"),
    ],
    ids=["line", "header", "headers", "name", "colon", "version", "nonsense", "length", "coding", "tls"],
)
def test_unreadable_requests_get_the_error_shape(web: WebProcess, data: bytes, status: int, code: str) -> None:
    answered, headers, body = raw(web, data)
    assert (answered, headers["content-type"], headers["connection"]) == (status, "application/json", "close")
    assert int(headers["content-length"]) == len(body)
    assert headers["x-request-id"]
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert "请" in error["message"]
    assert web.call("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"5;a=\x00\r\n{}\r\n", b"ff\r\n{}"], ids=["size", "extension", "breaks off"])
def test_a_broken_body_gets_the_error_shape(web: WebProcess, chunks: bytes) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, headers, body = raw(web, head + chunks, ends=True)
    assert (status, headers["content-type"]) == (400, "application/json")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
