"""The doctor finds what is wrong, says what to do, and never breaks on what it finds."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from sqlalchemy import text

from qzbrain.brain import Brain
from qzbrain.domain import Caller
from qzbrain.ops.doctor import Check, examine
from qzbrain.settings import Settings


def by_id(settings: Settings, step: int | None = None) -> dict[str, Check]:
    return {check.id: check for check in examine(settings, "en", step=step)}


@pytest.fixture
def engine() -> Iterator[str]:
    """A server that lists one model, `known`, and wants the key `k`; its base_url."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = self.headers.get("Authorization") == "Bearer k"
            self.send_response(200 if right else 401)
            self.end_headers()
            self.wfile.write(json.dumps({"data": [{"id": "known"}]}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_before_the_first_start_nothing_fails(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    checks = by_id(settings)
    assert not [x for x in checks.values() if x.status == "fail"]
    assert checks["database"].status == checks["worker"].status == checks["web"].status == "skip"
    assert not settings.data.exists()  # the doctor only looks


def test_a_good_database_passes(brain: Brain) -> None:
    checks = by_id(brain.settings)
    assert [checks[x].status for x in ("database", "revision", "index", "queue")] == ["ok"] * 4


def test_a_damaged_database_is_found(brain: Brain) -> None:
    brain.close()
    for path in brain.settings.data.glob("brain.sqlite-*"):
        path.unlink()
    content = bytearray(brain.settings.database_path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    brain.settings.database_path.write_bytes(content)
    found = by_id(brain.settings)["database"]
    assert found.status == "fail"
    assert "backup" in found.next


def test_an_old_schema_is_found(brain: Brain) -> None:
    with brain.db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    found = by_id(brain.settings)["revision"]
    assert (found.status, found.next) == ("fail", "qzbrain db upgrade")


def test_an_index_that_lacks_chunks_is_found(brain: Brain, caller: Caller) -> None:
    made = brain.knowledge.create(caller, name="some")
    brain.knowledge.add_text(caller, "some", "a.txt", "采购超过五十万元须经董事会批准。")
    with brain.db.write() as connection:
        connection.execute(text("UPDATE documents SET status = 'ready', chunks = 1 WHERE kb_id = :kb"), {"kb": made.id})
        connection.execute(text("UPDATE jobs SET status = 'done'"))
    found = by_id(brain.settings)["index"]
    assert found.status == "fail"
    assert "some 0/1" in found.evidence


def test_jobs_that_do_not_move_and_jobs_that_failed_are_told(brain: Brain, caller: Caller) -> None:
    brain.knowledge.create(caller, name="some")
    brain.knowledge.add_text(caller, "some", "a.txt", "采购超过五十万元须经董事会批准。")
    assert by_id(brain.settings)["queue"].status == "ok"
    with brain.db.write() as connection:
        connection.execute(text("UPDATE jobs SET updated_at = '2020-01-01T00:00:00.000000Z'"))
    assert "10 minutes" in by_id(brain.settings)["queue"].evidence
    with brain.db.write() as connection:
        connection.execute(text("UPDATE jobs SET status = 'failed'"))
    assert by_id(brain.settings)["queue"].status == "warn"


@pytest.mark.parametrize(
    ("table", "status", "said"),
    [
        ({"model": "known", "api_key": "k"}, "ok", "/v1/models"),
        ({"model": "other", "api_key": "k"}, "warn", "other"),
        ({"model": "known", "api_key": "wrong"}, "fail", "401"),
    ],
)
def test_a_model_is_asked(table: dict[str, str], status: str, said: str, engine: str, make_settings: Callable[..., Settings]) -> None:
    found = by_id(make_settings(models={"m": {"engine": "external", "base_url": engine, **table}}))["model:m"]
    assert found.status == status
    assert said in found.evidence


def test_a_model_that_is_away_fails_with_what_to_do(make_settings: Callable[..., Settings]) -> None:
    found = by_id(make_settings(models={"m": {"engine": "external", "base_url": "http://127.0.0.1:9/v1"}}))["model:m"]
    assert found.status == "fail"
    assert "base_url" in found.next


def test_one_step_alone_and_both_languages(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    checks = examine(settings, "zh", step=8)
    assert {x.id for x in checks} == {"port", "tls", "web", "worker", "processes", "leftovers"}
    assert {x.title for x in checks} == {"端口", "HTTPS 证书", "网页服务", "后台处理", "进程", "遗留"}


def test_secrets_that_others_can_read_are_told(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings(mysql_password="x")
    settings.data.mkdir()
    config = settings.data / "config.toml"
    config.write_text("mysql_password = 'x'")
    monkeypatch.setenv("QZBRAIN_CONFIG", str(config))
    config.chmod(0o644)
    assert by_id(settings)["configuration"].status == "warn"
    config.chmod(0o600)
    assert by_id(settings)["configuration"].status == "ok"
