"""The web process, where sockets are gevent's, with an engine behind https whose CA the operator named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from engine import Engine
from web_process import WebProcess, events_of, read_all


@pytest.mark.parametrize("trusted", [True, False])
def test_an_engine_behind_tls_answers_or_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: dict[str, Any], trusted: bool) -> None:
    authority = Authority(tmp_path / "ca")
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with Engine(tls=authority.context("IP:127.0.0.1")) as engine:
        engine.script(["行政", "处罚"], delay_s=0.01)
        web = WebProcess(tmp_path / "web", f'[models.scripted]\nengine = "external"\nbase_url = "{engine.base_url}"\n')
        try:
            web.start()
            if trusted:
                for _ in range(2):
                    with web.open_stream(question) as sock:
                        events = events_of(read_all(sock))
                    assert "".join(x["choices"][0]["delta"].get("content", "") for x in events[:-1] if x["choices"]) == "行政处罚"
                assert engine.connections == 1
            else:
                status, reply = web.call("POST", "/v1/chat/completions", {**question, "stream": False})
                assert (status, reply["error"]["code"]) == (503, "engine_unavailable")
                assert "SSL_CERT_FILE" in reply["error"]["message"]
        finally:
            web.stop()
