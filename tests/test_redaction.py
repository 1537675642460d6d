"""Secrets never stand in logs or errors, at debug either: whatever shape they come in."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from qzbrain import logs
from qzbrain.settings import ModelSettings, Settings, secrets_of

KEY = "qzb_Zm9vYmFyLWJhei1xdXV4LTEyMzQ1Njc4OTA"
LINES = (
    f"Authorization: Bearer {KEY}",
    "Authorization: Basic Z2VoZWltOndvcnQ5OTk=",
    f"the key {KEY} is unknown",
    '{"username": "li", "password": "geheimwort-77"}',
    "{'password': 'geheimwort-77', 'totp': '135790'}",
    "password=geheimwort-77&x=1",
    "Cookie: qzbrain_session_9025=c2Vzc2lvbi10b2tlbi1mb28; theme=dark",
    "mysql+pymysql://qiyuan:geheimwort-77@db:3306/chatglm failed",
    "redis://:geheimwort-77@cache:6379/0",
    "X-API-Key: abcdef0123456789",
    "api_key='sk-geheimwort-77'",
    "token: c2Vzc2lvbi10b2tlbi1mb28",
)
FORBIDDEN = (KEY[4:], "geheimwort", "Z2VoZWlt", "c2Vzc2lv", "135790", "abcdef0123456789")


@pytest.mark.parametrize("line", LINES)
def test_what_looks_like_a_secret_is_not_written(line: str) -> None:
    for shape in (line, json.dumps({"detail": line}), json.dumps(json.dumps({"a": line}))):
        written = logs.redacted(shape.encode())
        assert not any(one.encode() in written for one in FORBIDDEN), written
        assert b"***" in written


def test_other_text_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in (
        '{"event":"stream","completion_tokens":57,"first_token_ms":12.5,"route":"/api/api-keys/<key_id>"}', "tokens: 57", "http://127.0.0.1:9025/api?x=1@2",
        "the password is too short", '{"key_id":"0650ac","token":null}', "basic training of the model",
    ):  # fmt: skip
        assert logs.redacted(line.encode()) == line.encode()


def test_values_of_the_settings_are_hidden_whatever_they_look_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_hidden", None)
    models = {"m": ModelSettings(engine="external", base_url="http://h/v1", api_key="völlig\"frei")}
    settings = Settings(mysql_password="correct horse", redis_password="r3dis-pass", graph_token="g" * 20, models=models)
    assert set(secrets_of(settings)) == {"correct horse", "r3dis-pass", "g" * 20, "völlig\"frei"}
    logs.hide(secrets_of(settings))
    written = logs.redacted(json.dumps({"a": "x correct horse y", "b": "völlig\"frei"}, ensure_ascii=False).encode())
    assert json.loads(written) == {"a": "x *** y", "b": "***"}


def test_a_process_at_debug_writes_none_of_them_in_tracebacks_and_libraries_warnings_either() -> None:
    code = f"""
        import logging
        from qzbrain import logs
        logs.configure("debug", "test")
        logs.hide(["correct horse"])
        log = logs.get("x")
        for line in {LINES!r}:
            log.debug("seen", detail=line, headers={{"h": line}})
            logging.getLogger("urllib3").warning("said %s", line)
            try:
                raise ValueError(line)
            except ValueError:
                log.exception("failed")
        log.info("x", value="correct horse")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]  # still JSON, each of them
    assert len(lines) == 3 * len(LINES) + 1
    assert any("traceback" in line for line in lines)
    assert not [one for one in (*FORBIDDEN, "correct horse") if one in done.stderr]


def test_errors_of_settings_do_not_show_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qzbrain.errors import SettingsInvalid
    from qzbrain.settings import load_settings

    monkeypatch.setenv("QZBRAIN_DATA", str(tmp_path))
    monkeypatch.setenv("GRAPH_TOKEN", "geheim wort")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert "geheim" not in refused.value.zh + refused.value.en
    logging.getLogger()  # the root logger is the process's own
