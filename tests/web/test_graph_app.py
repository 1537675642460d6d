"""The graph service's own application: who may ask, what it has and has not, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from qzbrain.brain import Brain, build
from qzbrain.settings import Settings
from qzbrain.web.graph_app import create_graph_app

TOKEN = "0123456789abcdef"


@pytest.fixture
def open_service(brain: Brain) -> FlaskClient:
    """Without a secret."""
    brain.knowledge.create(brain.access.local_caller("en"), name="kb")
    return create_graph_app(brain).test_client()


@pytest.fixture
def closed_service(make_settings: Callable[..., Settings]) -> Iterator[FlaskClient]:
    """With one."""
    made = build(make_settings(graph_token=TOKEN))
    yield create_graph_app(made).test_client()
    made.close()


def test_it_has_the_asking_routes_alone(brain: Brain) -> None:
    rules = set[str]()
    for rule in create_graph_app(brain).url_map.iter_rules():
        rules |= {f"{method} {rule.rule}" for method in rule.methods or () if method not in ("HEAD", "OPTIONS")}
    reading = {f"GET /api/graph/<kb>/{name}" for name in ("search", "entities/<entity_id>", "overview", "neighbors", "path", "stats", "relations")}
    asking = {"POST /chat-process-txt", "POST /api/graph/answer", "POST /api/graph/<kb>/passages", "GET /healthz", "GET /readyz"}
    assert rules == reading | asking


@pytest.mark.parametrize(
    "given", ["", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"bearer {TOKEN}", f"Basic {TOKEN}", "Bearer \xff\xfe"]
)
def test_without_the_secret_nothing_is_answered(closed_service: FlaskClient, given: str) -> None:
    headers = {"Authorization": given, "Accept-Language": "en"} if given else {"Accept-Language": "en"}
    for method, path in (("POST", "/chat-process-txt"), ("GET", "/api/graph/kb/stats"), ("GET", "/readyz"), ("GET", "/nothing")):
        reply = closed_service.open(path, method=method, headers=headers, json={"text": "x"} if method == "POST" else None)
        assert reply.status_code == 401, path
        assert reply.get_json()["error"]["code"] == "graph_token_required"
        assert TOKEN not in reply.get_data(as_text=True)
    assert closed_service.get("/healthz").status_code == 200


def test_with_the_secret_it_answers_by_any_name(closed_service: FlaskClient) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "graph.internal:8000"}
    assert closed_service.post("/chat-process-txt", json={"text": "x"}, headers=headers).get_json()["code"] == 0
    assert closed_service.get("/readyz", headers=headers).get_json()["status"] == "ready"


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"Host": "evil.example"}, "host_refused"), ({"Origin": "https://evil.example"}, "origin_refused"), ({"Sec-Fetch-Site": "cross-site"}, "origin_refused")],
)
def test_a_foreign_page_is_refused_where_there_is_no_secret(open_service: FlaskClient, headers: dict[str, str], code: str) -> None:
    reply = open_service.post("/chat-process-txt", json={"text": "x"}, headers=headers)
    assert (reply.status_code, reply.get_json()["error"]["code"]) == (403, code)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/graph/kb/passages", {"question": "x", "chunk_ids": [0]}, 400),
        ("/api/graph/kb/passages", {"question": "x", "chunk_ids": ["x"]}, 400),
        ("/api/graph/kb/passages", {"question": "x", "more": 1}, 400),
        ("/api/graph/kb/passages", {"question": "x" * 20_001}, 400),
        ("/api/graph/none/passages", {"question": "x"}, 404),
        ("/api/graph/answer", {"text": "x", "kb_ids": ["none"]}, 404),
        ("/api/graph/answer", {"text": "x", "kb_ids": ["kb"], "nearness": {"a": 7}}, 400),
        ("/api/graph/answer", {"kb_ids": ["kb"]}, 400),
        ("/chat-process-txt", {"text": "x" * (1 << 20)}, 413),
    ],
)
def test_bad_input_is_told(open_service: FlaskClient, path: str, body: dict[str, object], status: int) -> None:
    reply = open_service.post(path, json=body)
    assert reply.status_code == status and reply.get_json()["error"]["message"]


def test_a_graph_that_is_empty_answers_nothing(open_service: FlaskClient) -> None:
    assert open_service.post("/api/graph/kb/passages", json={"question": "x"}).get_json() == {"data": []}
    assert open_service.post("/api/graph/answer", json={"text": "x", "kb_ids": ["kb"]}).get_json()["values"] == []
    assert open_service.get("/api/graph/kb/relations").get_json() == {"data": []}
