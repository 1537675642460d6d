"""The HTTP API without a server: shapes, statuses, errors, languages, headers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from qzbrain.brain import Brain
from qzbrain.web import pages

JSON = "application/json"
MEGABYTE = json.dumps({"messages": [{"role": "user", "content": "法" * 350_000}]}).encode()
OUTSIDE = ("/console/../app.py", "/console/%2e%2e/app.py", "/console/..%2fapp.py", "/console//etc/passwd", "/console/none.js", "/console/%00")


def shape(reply: Any) -> dict[str, Any]:
    """The error of a reply, after checking its shape."""
    error = reply.get_json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["message"]
    assert reply.headers["X-Request-Id"]
    return dict(error)


@pytest.fixture
def laws(client: FlaskClient) -> str:
    """An empty knowledge base."""
    assert client.post("/api/knowledge-bases", json={"name": "laws"}).status_code == 201
    return "laws"


BAD = {
    "no JSON": ("/v1/chat/completions", b"{nonsense", 400, "invalid_json"),
    "bytes that are no UTF-8": ("/api/search", b'{"query":"\xe9\xff"}', 400, "invalid_json"),
    "a list instead of an object": ("/api/search", b"[]", 400, "invalid_value"),
    "no messages": ("/v1/chat/completions", b'{"model":"auto"}', 400, "missing_field"),
    "empty messages": ("/v1/chat/completions", b'{"messages":[]}', 400, "invalid_value"),
    "messages a string": ("/v1/chat/completions", b'{"messages":"x"}', 400, "invalid_value"),
    "last message not the user's": ("/v1/chat/completions", b'{"messages":[{"role":"assistant","content":"x"}]}', 400, "no_question"),
    "blank question": ("/v1/chat/completions", b'{"messages":[{"role":"user","content":"  "}]}', 400, "empty_question"),
    "control characters only": ("/v1/chat/completions", b'{"messages":[{"role":"user","content":"\\u0000\\u0001"}]}', 400, "empty_question"),
    "a megabyte of question": ("/v1/chat/completions", MEGABYTE, 400, "question_too_long"),
    "five megabytes": ("/v1/chat/completions", b'{"messages":"' + b"x" * (5 << 20) + b'"}', 413, "too_large"),
    "lone surrogate": ("/api/search", b'{"query":"\\ud800"}', 400, "invalid_json"),
    "unknown model": ("/v1/chat/completions", b'{"model":"nothing","messages":[{"role":"user","content":"x"}]}', 404, "model_not_found"),
    "unknown knowledge base": ("/v1/chat/completions", b'{"model":"auto@nowhere","messages":[{"role":"user","content":"x"}]}', 404, "knowledge_base_not_found"),
    "negative max_tokens": ("/v1/chat/completions", b'{"max_tokens":-1,"messages":[{"role":"user","content":"x"}]}', 400, "invalid_value"),
    "top_k too small": ("/api/search", b'{"query":"x","top_k":-1}', 400, "invalid_value"),
    "top_k too large": ("/api/search", b'{"query":"x","top_k":1000000000}', 400, "invalid_value"),
    "empty query": ("/api/search", b'{"query":""}', 400, "invalid_value"),
    "search in an unknown base": ("/api/search", b'{"query":"x","knowledge_bases":["nowhere"]}', 404, "knowledge_base_not_found"),
    "unknown mode": ("/api/search", b'{"query":"x","mode":"magic"}', 400, "invalid_value"),
    "confidence that is no number": ("/api/search", b'{"query":"x","min_confidence":NaN}', 400, "invalid_value"),
    "name with a slash": ("/api/knowledge-bases", b'{"name":"../x"}', 400, "invalid_name"),
    "name taken": ("/api/knowledge-bases", b'{"name":"laws"}', 409, "name_taken"),
    "upload to an unknown base": ("/api/knowledge-bases/nowhere/documents", b'{"name":"a","text":"b"}', 404, "knowledge_base_not_found"),
    "upload without content": ("/api/knowledge-bases/laws/documents", b"", 400, "invalid_json"),
    "unknown conversation": ("/api/conversations/nothing/messages", b'{"content":"x"}', 404, "conversation_not_found"),
    "unknown rating": ("/api/conversations/a/messages/b/feedback", b'{"rating":"sideways"}', 400, "invalid_value"),
    "unknown job": ("/api/jobs/nothing/retry", b"", 404, "job_not_found"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_the_openai_shape(shared: FlaskClient, name: str) -> None:
    path, body, status, code = BAD[name]
    reply = shared.post(path, data=body, content_type=JSON)
    error = shape(reply)
    assert reply.status_code == status
    if name != "name with a slash":
        assert error["code"] == code


@pytest.mark.parametrize("query", ["\x00\x01\u202e控制", "?" * 900, "😀" * 200, 'AND OR NOT ("', "' OR 1=1 --", "{{7*7}} ${x} <script>"])
def test_odd_queries_find_nothing_or_are_refused(shared: FlaskClient, query: str) -> None:
    assert shared.post("/api/search", json={"query": query}).status_code in (200, 400)


def test_unknown_fields_are_named_under_api_and_ignored_under_v1(shared: FlaskClient) -> None:
    error = shape(shared.post("/api/search", json={"query": "x", "topk": 3}))
    assert (error["code"], error["param"]) == ("unknown_field", "topk")
    assert "topk" in error["message"]
    refused = shared.post("/v1/chat/completions", json={"model": "nothing", "frobnicate": 1, "messages": [{"role": "user", "content": "x"}]})
    assert shape(refused)["code"] == "model_not_found"


def test_unknown_routes_and_methods_have_the_shape_in_the_readers_language(shared: FlaskClient) -> None:
    missing = shared.get("/nothing", headers={"Accept-Language": "en-GB,zh;q=0.5"})
    assert (missing.status_code, shape(missing)["type"]) == (404, "not_found_error")
    assert "no such route" in shape(missing)["message"]
    assert "没有" in shape(shared.get("/nothing", headers={"Accept-Language": "zh-TW"}))["message"]
    wrong = shared.put("/api/search")
    assert (wrong.status_code, shape(wrong)["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]


def test_an_unforeseen_fault_is_a_500_in_the_shape_without_its_text(client: FlaskClient, brain: Brain, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(brain.knowledge, "knowledge_bases", broken)
    reply = client.get("/api/knowledge-bases")
    assert reply.status_code == 500
    assert shape(reply)["type"] == "server_error"
    assert "secret" not in reply.get_data(as_text=True)


def test_a_given_request_id_comes_back_unless_it_is_odd(shared: FlaskClient) -> None:
    assert shared.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert shared.get("/healthz", headers={"X-Request-Id": "a b<c>"}).headers["X-Request-Id"] != "a b<c>"


def test_a_wrong_content_type_is_refused(client: FlaskClient, laws: str) -> None:
    assert shape(client.post("/api/search", data="query=x", content_type="application/x-www-form-urlencoded"))["code"] == "unsupported_media_type"
    assert client.post("/api/knowledge-bases/laws/documents", data=b"x", content_type="text/plain").status_code == 415


def test_knowledge_bases_from_making_to_deleting(client: FlaskClient) -> None:
    made = client.post("/api/knowledge-bases", json={"name": "规章", "title": "公司规章"}).get_json()
    assert made["chunk_chars"] == 250
    assert made["documents"] == {"total": 0, "ready": 0, "failed": 0, "pending": 0}
    assert client.get("/api/knowledge-bases/规章").get_json() == made
    assert client.patch(f"/api/knowledge-bases/{made['id']}", json={"title": "新"}).get_json()["title"] == "新"
    assert [one["name"] for one in client.get("/api/knowledge-bases").get_json()["data"]] == ["规章"]
    assert client.delete("/api/knowledge-bases/规章").status_code == 204
    assert client.get("/api/knowledge-bases/规章").status_code == 404


def test_several_files_in_one_upload_and_the_same_again(client: FlaskClient, laws: str) -> None:
    texts = {"一.txt": "第一个文件".encode(), "二.md": b"# two\n"}
    upload = {"file": [(io.BytesIO(data), f"folder/{name}") for name, data in texts.items()]}
    reply = client.post("/api/knowledge-bases/laws/documents", data=upload)
    assert reply.status_code == 202
    added = reply.get_json()["data"]
    assert [(one["name"], one["size_bytes"], one["duplicate"]) for one in added] == [(name, len(data), False) for name, data in texts.items()]
    again = client.post("/api/knowledge-bases/laws/documents", data={"file": (io.BytesIO(texts["一.txt"]), "copy.txt")}).get_json()["data"][0]
    assert (again["id"], again["duplicate"]) == (added[0]["id"], True)
    kept = client.get(f"/api/documents/{added[0]['id']}/file")
    assert kept.get_data() == texts["一.txt"]
    assert kept.headers["Content-Disposition"].startswith("attachment;")
    assert "%E4%B8%80.txt" in kept.headers["Content-Disposition"]
    assert "sandbox" in kept.headers["Content-Security-Policy"]


@pytest.mark.parametrize("body", [b"", b"--X\r\n", b"--X\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nno end"])
def test_a_broken_multipart_body_is_refused_and_leaves_nothing(client: FlaskClient, laws: str, body: bytes) -> None:
    reply = client.post("/api/knowledge-bases/laws/documents", data=body, content_type="multipart/form-data; boundary=X")
    assert reply.status_code == 400
    assert shape(reply)["param"] == "file"
    assert client.get("/api/knowledge-bases/laws").get_json()["documents"]["total"] == 0


def test_a_file_over_the_limit_is_refused_and_leaves_nothing(make_settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qzbrain import metrics
    from qzbrain.brain import build
    from qzbrain.web.app import create_app

    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)())
    small = build(make_settings(max_upload_mb=1))
    client = create_app(small).test_client()
    client.post("/api/knowledge-bases", json={"name": "laws"})
    reply = client.post("/api/knowledge-bases/laws/documents", data={"file": (io.BytesIO(b"x" * ((1 << 20) + 1)), "big.txt")})
    assert reply.status_code == 413
    assert shape(reply)["type"] == "invalid_request_error"
    assert [path for path in (tmp_path / "data" / "files").rglob("*") if path.is_file()] == []
    small.close()


def test_lists_are_read_page_by_page(client: FlaskClient) -> None:
    for number in range(3):
        client.post("/api/knowledge-bases", json={"name": f"kb{number}"})
    first = client.get("/api/knowledge-bases?limit=2").get_json()
    assert (len(first["data"]), first["has_more"]) == (2, True)
    rest = client.get(f"/api/knowledge-bases?limit=2&after={first['next']}").get_json()
    assert ([one["name"] for one in rest["data"]], rest["has_more"], rest["next"]) == (["kb2"], False, None)
    assert client.get("/api/knowledge-bases?limit=0").status_code == 400
    assert client.get("/api/knowledge-bases?frob=1").status_code == 400


def test_conversations_from_making_to_deleting(client: FlaskClient, laws: str) -> None:
    made = client.post("/api/conversations", json={"knowledge_bases": ["laws"], "title": "问"})
    assert made.status_code == 201
    path = f"/api/conversations/{made.get_json()['id']}"
    assert client.patch(path, json={"title": "改"}).get_json()["title"] == "改"
    answer = client.post(f"{path}/messages", json={"content": "行政处罚的种类有哪些？", "model": "extractive"})
    assert answer.status_code == 200
    assert answer.get_json()["rung"] == "refused"
    stored = client.get(f"{path}/messages").get_json()["data"]
    assert [(one["role"], one["status"]) for one in stored] == [("user", "complete"), ("assistant", "complete")]
    assert stored[1]["content"] == answer.get_json()["answer"]
    assert client.post(f"{path}/messages/{stored[1]['id']}/feedback", json={"rating": "down"}).status_code == 204
    assert client.post(f"{path}/messages/{stored[0]['id']}/feedback", json={"rating": "down"}).status_code == 404
    assert client.post(f"{path}/stop").get_json() == {"stopped": 0}
    assert client.delete(path).status_code == 204
    assert client.get(f"{path}/messages").status_code == 404


def test_every_route_is_described_and_nothing_else(app: Flask, client: FlaskClient) -> None:
    described = {
        (method.upper(), path) for path, operations in client.get("/openapi.json").get_json()["paths"].items() for method in operations
    }
    served = set()
    for rule in app.url_map.iter_rules():
        path = "/".join("{" + part[1:-1].split(":")[-1] + "}" if part.startswith("<") else part for part in rule.rule.split("/"))
        served |= {(method, path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    assert described == served


def test_replies_have_the_fields_that_are_described(client: FlaskClient, laws: str) -> None:
    described = client.get("/openapi.json").get_json()["components"]["schemas"]
    answer = client.post("/v1/chat/completions", json={"model": "extractive@laws", "messages": [{"role": "user", "content": "什么？"}]}).get_json()
    assert set(answer) == set(described["CompletionReply"]["properties"])
    assert set(client.get("/api/knowledge-bases/laws").get_json()) == set(described["KnowledgeBaseReply"]["properties"])
    document = client.post("/api/knowledge-bases/laws/documents", json={"name": "a.txt", "text": "内容"}).get_json()["data"][0]
    assert set(document) == set(described["AddedReply"]["properties"])
    assert set(client.get(f"/api/documents/{document['id']}").get_json()) == set(described["DocumentReply"]["properties"])
    assert set(client.get("/api/jobs").get_json()["data"][0]) == set(described["JobReply"]["properties"])
    assert set(client.get("/api/models").get_json()["data"][0]) == set(described["ModelReply"]["properties"])


def test_documentation_needs_no_script_and_no_network(shared: FlaskClient) -> None:
    page = shared.get("/docs")
    text = page.get_data(as_text=True)
    assert "/v1/chat/completions" in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert "unsafe" not in page.headers["Content-Security-Policy"]


def test_readiness_says_what_is_missing(shared: FlaskClient) -> None:
    reply = shared.get("/readyz")
    assert reply.status_code == 503
    assert (reply.get_json()["checks"]["database"], reply.get_json()["status"]) == ("ok", "not_ready")
    assert "worker" in reply.get_json()["checks"]["worker"]


def test_metrics_count_requests_and_show_jobs(client: FlaskClient, laws: str) -> None:
    client.post("/api/knowledge-bases/laws/documents", json={"name": "a.txt", "text": "内容"})
    text = client.get("/metrics").get_data(as_text=True)
    assert 'qzbrain_jobs{status="pending"} 1.0' in text
    assert "# HELP" in text


def test_the_console_may_be_kept_for_ever_under_its_version_only(shared: FlaskClient) -> None:
    page = shared.get("/")
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-cache"
    version = pages._version()
    assert f"/console/{version}/" in page.get_data(as_text=True)
    assert "immutable" in shared.get(f"/console/{version}/theme.js").headers["Cache-Control"]
    plain = shared.get("/console/theme.js")
    assert plain.headers["Cache-Control"] == "no-cache"
    assert shared.get("/console/theme.js", headers={"If-None-Match": plain.headers["ETag"]}).status_code == 304
    assert shared.get("/conversations/abc").get_data() == page.get_data()


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_the_console_is_served(shared: FlaskClient, path: str) -> None:
    assert shared.get(path).status_code == 404


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Host": "127.0.0.1:9025"}, True),
        ({"Host": "localhost:9025", "Origin": "http://localhost:9025"}, True),
        ({"Host": "127.0.0.1:9025", "Origin": "http://localhost:9025"}, True),
        ({"Host": "[::1]:9025", "Origin": "http://[::1]:9025"}, True),
        ({"Host": "bench"}, True),
        ({"Host": "evil.example"}, False),
        ({"Host": "evil.example:9025", "Origin": "http://evil.example:9025"}, False),
        ({"Host": "10.0.0.7:9025"}, False),
        ({"Host": "bench", "User-Agent": "Mozilla/5.0"}, False),
        ({"Host": "bench", "Origin": "http://bench"}, False),
        ({"Host": "127.0.0.1:9025", "Origin": "http://evil.example"}, False),
        ({"Host": "127.0.0.1:9025", "Origin": "http://127.0.0.1:8080"}, False),
        ({"Host": "127.0.0.1:9025", "Origin": "null"}, False),
        ({"Host": "127.0.0.1:9025", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Host": "127.0.0.1:9025", "Sec-Fetch-Site": "same-origin"}, True),
    ],
)
def test_pages_of_other_sites_are_refused(shared: FlaskClient, headers: dict[str, str], allowed: bool) -> None:
    reply = shared.post("/api/search", json={"query": "x"}, headers=headers)
    assert reply.status_code == (200 if allowed else 403)
    if not allowed:
        assert shape(reply)["type"] == "permission_error"


def test_a_link_from_another_site_may_open_the_page(shared: FlaskClient) -> None:
    assert shared.get("/", headers={"Host": "127.0.0.1:9025", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status_code == 200


def test_models_are_listed_with_and_without_knowledge_bases(client: FlaskClient, laws: str) -> None:
    names = [one["id"] for one in client.get("/v1/models").get_json()["data"]]
    assert {"auto", "extractive", "auto@laws", "extractive@laws"} <= set(names)

