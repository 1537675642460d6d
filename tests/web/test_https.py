"""https by one's own certificate: streams, sockets, a client that leaves, slow readers, clients that come slowly or not at all."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import websocket
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from engine import Engine
from web_process import WebProcess, body_of, events_of, eventually, read_all

from qzbrain.errors import SettingsInvalid
from qzbrain.settings import load_settings

TEXTS = [f"第{i}段，" for i in range(30)]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "brain.test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return folder / "cert.pem", folder / "key.pem"


class TlsProcess(WebProcess):
    """The web process with a certificate."""

    def __init__(self, folder: Path, config: str) -> None:
        self.cert, key = certificate(folder)
        super().__init__(folder, config, settings={"TLS_CERT": str(self.cert), "TLS_KEY": str(key)})
        self.url = f"https://127.0.0.1:{self.port}"

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.cert))

    def call(self, method: str, path: str, payload: Any = None, **headers: str) -> tuple[int, Any]:
        reply, data = self.ask(method, path, payload, **headers)
        return (0, None) if reply is None else (reply.status, json.loads(data) if data.startswith((b"{", b"[")) else data.decode())

    def ask(self, method: str, path: str, payload: Any = None, **headers: str) -> tuple[http.client.HTTPResponse | None, bytes]:
        body = payload if isinstance(payload, bytes) or payload is None else json.dumps(payload).encode()
        given = ({"Content-Type": "application/json"} if body is not None else {}) | {name.replace("_", "-"): x for name, x in headers.items()}
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.context)
        try:
            connection.request(method, path, body, given)
            reply = connection.getresponse()
            return reply, reply.read()
        except OSError:
            return None, b""
        finally:
            connection.close()

    def open_stream(self, payload: dict[str, Any], path: str = "/v1/chat/completions", *, receive_bytes: int = 0, **headers: str) -> socket.socket:
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(30)
        sock.connect(("127.0.0.1", self.port))
        secure = self.context.wrap_socket(sock, server_hostname="127.0.0.1")
        body = json.dumps(payload).encode()
        secure.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return secure


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory, scripted: Engine) -> Iterator[TlsProcess]:
    config = f'[models.scripted]\nengine = "external"\nbase_url = "{scripted.base_url}"\nslots = 200\nqueue = 200\n'
    process = TlsProcess(tmp_path_factory.mktemp("tls"), config)
    process.start()
    yield process
    process.stop()


def ask(user: str) -> dict[str, Any]:
    return {"model": "scripted@none", "stream": True, "user": user, "messages": [{"role": "user", "content": "你好"}]}


def test_plain_requests_and_headers(tls: TlsProcess) -> None:
    reply, data = tls.ask("GET", "/healthz")
    assert reply is not None
    assert json.loads(data) == {"status": "ok"}
    assert reply.headers["Strict-Transport-Security"] == "max-age=31536000"
    connection = http.client.HTTPConnection("127.0.0.1", tls.port, timeout=10)
    with pytest.raises((OSError, http.client.HTTPException)):  # plain http is not served
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 400
        raise OSError
    old = tls.context
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert old.wrap_socket(socket.create_connection(("127.0.0.1", tls.port)), server_hostname="127.0.0.1").version() == "TLSv1.2"
    status, _ = tls.call("POST", "/api/knowledge-bases", {"name": "large"})
    assert status == 201
    assert tls.call("POST", "/api/knowledge-bases/large/documents", {"name": "a.txt", "text": "法" * 2_000_000})[0] == 202


def test_streams_come_token_by_token_and_whole(tls: TlsProcess, scripted: Engine) -> None:
    scripted.script(TEXTS, user="tls-many", delay_s=0.02)
    streams = [tls.open_stream(ask("tls-many")) for _ in range(20)]
    for stream in streams:
        events = events_of(read_all(stream))
        assert "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1]) == "".join(TEXTS)
        stream.close()


def test_a_slow_reader_gets_every_byte(tls: TlsProcess, scripted: Engine) -> None:
    texts = [f"{i:06d}" * 300 for i in range(600)]  # a megabyte, far more than the kernel keeps
    scripted.script(texts, user="tls-slow")
    stream = tls.open_stream(ask("tls-slow"), receive_bytes=4096)
    time.sleep(1.5)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)  # so small a window is opened a few kilobytes at a time, five times a second
    data = b""
    while not data.endswith(b"0\r\n\r\n") and (piece := stream.recv(65536)):
        data += piece
    assert body_of(data).endswith(b"data: [DONE]\n\n")
    events = events_of(data)
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1]) == "".join(texts)


@pytest.mark.parametrize("goodbye", [True, False])
def test_a_client_that_leaves_frees_the_engine(tls: TlsProcess, scripted: Engine, goodbye: bool) -> None:
    user = f"tls-leaver-{goodbye}"
    scripted.script(["字"] * 100, user=user, delay_s=1.0)
    stream = tls.open_stream(ask(user))
    data = b""
    while "字".encode() not in data:
        data += stream.recv(65536)
    if goodbye:
        stream.settimeout(0.1)
        with suppress(OSError):  # it does not answer before its answer is over
            stream.unwrap()  # type: ignore[attr-defined]
    stream.close()
    left = time.monotonic()
    freed = eventually(lambda: next((at for name, at in scripted.cancelled if name == user), None))
    assert freed - left < 3


def test_a_socket_chats(tls: TlsProcess, scripted: Engine) -> None:
    """Read and written by one thread: Python 3.11 lets two threads into one TLS connection at once, which a client of two threads may not survive."""
    scripted.script(TEXTS, user="tls-socket", delay_s=0.01)
    address = f"wss://127.0.0.1:{tls.port}/socket.io/?EIO=4&transport=websocket"
    wire = websocket.create_connection(address, timeout=20, sslopt={"ca_certs": str(tls.cert)})
    said = iter(lambda: str(wire.recv()), "")
    assert next(said).startswith("0{")
    wire.send("40")
    assert next(said).startswith("40{")
    question = {"message": "你好", "model": "scripted@none", "options": {"user": "tls-socket"}}
    wire.send("421" + json.dumps(["chat", question]))
    text, name, ack, payload = "", "", dict[str, Any](), dict[str, Any]()
    while name != "chat:done":
        packet = next(said)
        if packet == "2":
            wire.send("3")
        elif packet.startswith("431"):
            (ack,) = json.loads(packet[3:])
        else:
            assert packet.startswith("42["), packet
            name, payload = json.loads(packet[2:])
            text += payload.get("text", "")
    assert text == "".join(TEXTS) == payload["answer"]
    assert payload["message_id"] == ack["message_id"]
    wire.close()


def test_many_that_never_finish_their_handshake_hold_nobody_up(tls: TlsProcess) -> None:
    silent = [socket.create_connection(("127.0.0.1", tls.port)) for _ in range(50)]
    began = time.monotonic()
    assert tls.call("GET", "/healthz")[0] == 200
    assert time.monotonic() - began < 5
    for sock in silent:
        sock.settimeout(25)
    assert silent[0].recv(10) == b""  # given up within HANDSHAKE_S
    for sock in silent:
        sock.close()


def test_half_a_configuration_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, _ = certificate(tmp_path)
    monkeypatch.setenv("QZBRAIN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TLS_CERT", str(cert))
    with pytest.raises(SettingsInvalid, match="go together"):
        load_settings()
    monkeypatch.setenv("TLS_KEY", str(tmp_path / "nothing.pem"))
    with pytest.raises(SettingsInvalid, match=r"nothing\.pem"):
        load_settings()
