"""A Flask client over a wired brain for what needs no server, and the real web process with a scripted engine for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from engine import Engine
from flask import Flask
from flask.testing import FlaskClient
from web_process import WebProcess

from qzbrain import metrics
from qzbrain.brain import Brain, build
from qzbrain.settings import Settings
from qzbrain.web.app import create_app


@pytest.fixture
def app(brain: Brain, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The application over the test's brain."""
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    return create_app(brain)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Requests without a server."""
    return app.test_client()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client over one brain with the empty knowledge base `laws`, for tests that change nothing."""
    brain = build(Settings(qzbrain_data=tmp_path_factory.mktemp("shared")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
        client = create_app(brain).test_client()
    client.post("/api/knowledge-bases", json={"name": "laws"})
    yield client
    brain.close()


@pytest.fixture(scope="session")
def scripted() -> Iterator[Engine]:
    """The language model of `web`, under the names `scripted` (many slots) and `narrow` (one slot, nobody may wait)."""
    with Engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory, scripted: Engine) -> Iterator[WebProcess]:
    """The web process, shared by all tests that only ask."""
    config = "".join(
        f'[models.{name}]\nengine = "external"\nbase_url = "{scripted.base_url}"\nslots = {slots}\nqueue = {queue}\n\n'
        for name, slots, queue in (("scripted", 200, 200), ("narrow", 1, 0))
    )
    process = WebProcess(tmp_path_factory.mktemp("web"), config).start()
    try:
        yield process
    finally:
        process.stop()


@pytest.fixture
def question() -> dict[str, Any]:
    """A streamed question to the bare model."""
    return {"model": "scripted@none", "stream": True, "messages": [{"role": "user", "content": "你好"}]}
