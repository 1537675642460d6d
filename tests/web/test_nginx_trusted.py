"""Behind a real nginx that is trusted the audit log has the client's address; what a client claims by itself, sent past nginx, counts for nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from web_process import WebProcess, eventually

from tests.servers.nginx_server import NginxServer

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebProcess, WebProcess]]:
    """The web process, and the same by way of nginx."""
    behind = WebProcess(tmp_path_factory.mktemp("behind"), settings={"QZBRAIN_AUDIT": "on", "TRUSTED_PROXIES": "127.0.0.1"}).start()
    nginx = NginxServer(tmp_path_factory.mktemp("nginx"), (behind.port, behind.port))
    try:
        nginx.start()
        before = WebProcess.__new__(WebProcess)
        before.port, before.url = nginx.port, f"http://127.0.0.1:{nginx.port}"
        yield behind, before
    finally:
        nginx.stop()
        behind.stop()


def addresses(web: WebProcess, subject: str) -> list[str]:
    with closing(sqlite3.connect(web.data / "brain.sqlite")) as connection:
        return [row[0] for row in connection.execute("SELECT address FROM audit_log WHERE subject = ?", (subject,))]


def test_the_address_in_the_audit_log(site: tuple[WebProcess, WebProcess]) -> None:
    behind, before = site
    made = before.call("POST", "/api/knowledge-bases", {"name": "plain"})[1]["id"]
    assert eventually(lambda: addresses(behind, made)) == ["127.0.0.1"]
    # nginx adds the address that it sees, 127.0.0.1, which is a trusted one: before it stands whoever a proxy further out saw
    made = before.call("POST", "/api/knowledge-bases", {"name": "outer"}, X_Forwarded_For="6.6.6.6, 203.0.113.9")[1]["id"]
    assert eventually(lambda: addresses(behind, made)) == ["203.0.113.9"]
    assert before.call("GET", "/healthz", Host="evil.example", X_Forwarded_Host="127.0.0.1")[0] == 403  # nginx writes its own
    assert before.call("GET", "/healthz")[0] == 200
