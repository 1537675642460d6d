"""METRICS_TOKEN: reads /metrics where there are accounts, and does nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from qzbrain.brain import build
from qzbrain.errors import SettingsInvalid
from qzbrain.settings import Settings, load_settings
from qzbrain.web.app import create_app

TOKEN = "m" * 31 + "7"


@pytest.fixture
def client(make_settings: Callable[..., Settings]) -> Iterator[Callable[[str], FlaskClient]]:
    made = []

    def one(token: str) -> FlaskClient:
        made.append(build(make_settings(qzbrain_accounts="on", metrics_token=token)))
        return create_app(made[-1]).test_client()

    yield one
    for brain in made:
        brain.close()


def test_it_reads_metrics_and_nothing_else(client: Callable[[str], FlaskClient]) -> None:
    asked = client(TOKEN)
    mine = {"Authorization": f"Bearer {TOKEN}"}
    reply = asked.get("/metrics", headers=mine)
    assert reply.status_code == 200 and "qzbrain_disk_free_bytes" in reply.get_data(as_text=True)
    assert asked.get("/metrics").status_code == 401
    for wrong in (TOKEN[:-1], TOKEN + "x", "", "é" * 32):
        assert asked.get("/metrics", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
    elsewhere = ("/api/jobs", "/api/system/doctor", "/api/users", "/v1/models", "/metrics/", "//metrics")
    for method, path in (*(("GET", path) for path in elsewhere), ("POST", "/metrics"), ("DELETE", "/metrics")):
        refused = asked.open(path, method=method, headers=mine)
        assert refused.status_code in (401, 403, 404, 405) and "qzbrain_disk" not in refused.get_data(as_text=True), path


def test_without_the_setting_no_token_does(client: Callable[[str], FlaskClient]) -> None:
    asked = client("")
    for given in (TOKEN, "", " "):
        assert asked.get("/metrics", headers={"Authorization": f"Bearer {given}"}).status_code == 401


def test_a_short_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("QZBRAIN_DATA", str(tmp_path))
    monkeypatch.setenv("METRICS_TOKEN", "too short")
    with pytest.raises(SettingsInvalid, match="16 to 200"):
        load_settings()
    monkeypatch.setenv("METRICS_TOKEN", TOKEN)
    assert load_settings().metrics_token == TOKEN
