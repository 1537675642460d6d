"""Whose word counts about who asked: a trusted proxy's, from the near end; nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from qzbrain import metrics
from qzbrain.brain import build
from qzbrain.settings import Settings
from qzbrain.web import proxies
from qzbrain.web.app import create_app


def seen(peer: str, *, trusted: str = "10.0.0.0/8, fd00::/8", **headers: str) -> dict[str, Any]:
    """What the application is told."""
    told: dict[str, Any] = {}

    def app(environ: dict[str, Any], _start: Any) -> list[bytes]:
        told.update(environ)
        return []

    given = {f"HTTP_X_FORWARDED_{name.upper()}": value for name, value in headers.items()}
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http", "HTTP_HOST": "inner:9025", **given}
    proxies.believing(app, Settings(trusted_proxies=trusted).proxy_networks)(environ, None)
    return told


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),  # the first one anybody can write
        ("10.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.7", "203.0.113.9"),
        ("10.0.0.1", "10.9.9.9, 10.0.0.7", "10.9.9.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, <script>", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("fd00::1", "203.0.113.9", "203.0.113.9"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),  # not one of ours
        ("", "203.0.113.9", ""),
    ],
)
def test_the_clients_address(peer: str, forwarded: str, client: str) -> None:
    assert seen(peer, **{"for": forwarded})["REMOTE_ADDR"] == client


def test_scheme_and_host_of_a_trusted_proxy_alone() -> None:
    told = seen("10.0.0.1", proto="https", host="brain.example.org")
    assert (told["wsgi.url_scheme"], told["HTTP_HOST"]) == ("https", "brain.example.org")
    told = seen("192.0.2.1", proto="https", host="brain.example.org")
    assert (told["wsgi.url_scheme"], told["HTTP_HOST"]) == ("http", "inner:9025")
    told = seen("10.0.0.1", proto="gopher", host="evil/../x")
    assert (told["wsgi.url_scheme"], told["HTTP_HOST"]) == ("http", "inner:9025")
    assert not any(name.startswith("HTTP_X_FORWARDED") for name in told)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings(trusted_proxies="proxy.example.org")


def test_an_application_behind_a_proxy_gives_secure_headers(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    client = create_app(build(make_settings(qzbrain_accounts="on", trusted_proxies="127.0.0.1"))).test_client()
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "brain.example.org", "Origin": "https://brain.example.org"}
    reply = client.get("/healthz", headers=headers)
    assert reply.status_code == 200
    assert "max-age" in reply.headers["Strict-Transport-Security"]
    assert client.get("/healthz", headers={**headers, "Origin": "https://evil.example"}).status_code == 403
    plain = client.get("/healthz", headers={**headers, "X-Forwarded-Proto": "http"})
    assert "Strict-Transport-Security" not in plain.headers
