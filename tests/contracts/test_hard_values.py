"""Values that are too long, or hardly text, through the API: the same answer on both databases, and never a 500."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from qzbrain.brain import Brain, build
from qzbrain.domain import Caller
from qzbrain.settings import Settings
from qzbrain.web.app import create_app
from qzbrain.worker import work_inline

HARD = (
    "长" * 256, "🍣" * 64, "🍣" * 300, "a\x00b", "\x00", "\ud83d", "x\udcff", "'; DROP TABLE jobs; --", "%s %(a)s \\ \" `", "é" * 200, "\u200b\u202e",
    " a ", "a" * 5000,
)  # fmt: skip
RULE = "采购金额超过五十万元的，须经董事会批准。"


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.servers)])
def brain(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Iterator[Brain]:
    """A wired brain on each kind of database."""
    made = build(make_settings(**request.getfixturevalue("mysql")) if request.param == "mysql" else make_settings())
    yield made
    made.close()


@pytest.fixture
def caller(brain: Brain) -> Caller:
    return brain.access.local_caller("en")


@pytest.fixture
def client(brain: Brain) -> FlaskClient:
    return create_app(brain).test_client()


def read_all(brain: Brain, caller: Caller) -> None:
    def done() -> bool:
        return not any(brain.knowledge.jobs(caller, status=status).data for status in ("pending", "running"))

    work_inline(brain, done)


def send(client: FlaskClient, method: str, path: str, body: Any = None) -> int:
    """The status; half a character goes as the escape that JSON allows."""
    reply = client.open(path, method=method, data=None if body is None else json.dumps(body).encode(), content_type="application/json")
    assert reply.status_code < 500, (path, body, reply.text)
    return reply.status_code


def test_no_hard_value_gives_a_500(client: FlaskClient, brain: Brain, caller: Caller) -> None:
    assert send(client, "POST", "/api/knowledge-bases", {"name": "rules"}) == 201
    assert send(client, "POST", "/api/conversations", {"title": "t"}) == 201
    conversation = brain.chat.conversations.page(caller).data[0].id
    for hard in HARD:
        for body in ({"name": hard}, {"name": "n", "title": hard}, {"name": "n2", "description": hard}):
            send(client, "POST", "/api/knowledge-bases", body)
        for body in ({"name": hard, "text": RULE}, {"name": "a", "text": RULE + hard}, {"name": "a", "text": RULE, "title": hard}):
            send(client, "POST", "/api/knowledge-bases/rules/documents", body)
        send(client, "POST", "/api/knowledge-bases/rules/documents", {"name": "a", "text": f"{hard[:9]}{RULE}", "external_id": hard})
        send(client, "PATCH", f"/api/conversations/{conversation}", {"title": hard})
        send(client, "POST", "/api/conversations", {"title": "t", "model": f"auto@{hard}"})
        send(client, "POST", f"/api/conversations/{conversation}/messages", {"content": hard, "model": "extractive"})
        send(client, "POST", "/v1/chat/completions", {"model": "extractive", "messages": [{"role": "user", "content": hard}]})
        send(client, "POST", "/v1/chat/completions", {"model": hard, "messages": [{"role": "user", "content": "采购由谁批准"}]})
        send(client, "POST", "/api/search", {"query": hard, "knowledge_bases": ["rules"]})
        send(client, "POST", "/api/search", {"query": "采购", "knowledge_bases": [hard[:200]]})
        for path in ("conversations", "jobs", "knowledge-bases/rules/documents"):
            for name in ("after", "status", "q"):
                reply = client.get(f"/api/{path}", query_string={name: hard.encode("utf-8", "surrogatepass")})
                assert reply.status_code < 500, (path, name, hard, reply.text)
    answered = [x for x in brain.chat.conversations.messages(caller, conversation).data if x.role == "assistant"]
    for hard in HARD:
        send(client, "POST", f"/api/conversations/{conversation}/messages/{answered[0].id}/feedback", {"rating": "up", "comment": hard})
    read_all(brain, caller)
    assert {x.status for x in brain.knowledge.jobs(caller, limit=1000).data} <= {"done", "failed"}


def test_hard_file_names_and_corpora_are_read(client: FlaskClient, brain: Brain, caller: Caller) -> None:
    brain.knowledge.create(caller, name="rules")
    for number, hard in enumerate(HARD):
        brain.knowledge.add_file(caller, "rules", f"{hard}.txt", io.BytesIO(f"第{number}条 {RULE}".encode()))
    lines = [json.dumps({"id": hard, "title": hard, "text": f"第{number}号：{RULE}{hard}"}) for number, hard in enumerate(HARD)]
    brain.knowledge.add_file(caller, "rules", "corpus.jsonl", io.BytesIO("\n".join([*lines, '{"id": "good", "text": "好的一行。"}']).encode()))
    read_all(brain, caller)
    found = brain.knowledge.documents(caller, "rules", limit=1000).data
    assert {x.status for x in found} == {"ready"}
    assert all(len(x.name) <= 255 and len(x.title) <= 255 for x in found)
    (job,) = [x for x in brain.knowledge.jobs(caller, limit=100).data if x.kind == "corpus"]
    assert job.status == "done" and job.result is not None
    assert job.result["documents"] + job.result["error_count"] == len(HARD) + 1
    ids = {x.external_id for x in found if x.external_id}
    assert {" a ", "good", "a\x00b"} <= ids


def test_external_ids_that_differ_by_a_blank_are_two_documents(brain: Brain, caller: Caller) -> None:
    brain.knowledge.create(caller, name="rules")
    ids = [brain.knowledge.add_text(caller, "rules", "a", RULE + key, external_id=key).id for key in ("a", "a ", "A", " a")]
    assert len(set(ids)) == 4
    again = brain.knowledge.add_text(caller, "rules", "a", RULE + "a ", external_id="a ")
    assert (again.id, again.duplicate) == (ids[1], True)


def test_a_knowledge_base_is_named_by_its_exact_name(client: FlaskClient, brain: Brain, caller: Caller) -> None:
    made = brain.knowledge.create(caller, name="rules")
    for wrong in ("rules%20", "Rules", "RULES", "rules%00", f"{made.id}%20"):
        assert client.get(f"/api/knowledge-bases/{wrong}").status_code == 404, wrong
    assert client.get("/api/knowledge-bases/rules").status_code == 200


def test_titles_are_searched_alike(client: FlaskClient) -> None:
    for title in ("Purchase 100%", "purchase_a", "采购🍣", "Sale"):
        assert send(client, "POST", "/api/conversations", {"title": title}) == 201

    def found(query: str) -> set[str]:
        return {x["title"] for x in client.get("/api/conversations", query_string={"q": query}).get_json()["data"]}

    assert found("PURCHASE") == {"Purchase 100%", "purchase_a"}
    assert found("0%") == {"Purchase 100%"}
    assert found("_") == {"purchase_a"}
    assert found("🍣") == {"采购🍣"}
    assert found("🍺") == set()
    assert found("\\") == set()


def test_many_knowledge_bases_in_the_models_name(client: FlaskClient, brain: Brain, caller: Caller) -> None:
    names = [f"knowledge-base-{n:03}" for n in range(20)]
    for name in names:
        brain.knowledge.create(caller, name=name)
    model = "extractive@" + ",".join(names)
    assert len(model) > 255
    reply = client.post("/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": "采购由谁批准"}]})
    assert reply.status_code == 200, reply.text
    (conversation,) = brain.chat.conversations.page(caller, include_api=True).data
    assert conversation.model == "extractive"
    assert len(conversation.knowledge_bases) == len(names)
