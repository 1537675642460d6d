"""A brain as users start it: a file of facts comes in over the API, and questions about them are answered from the graph on every interface."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
import socketio

from tests.running import RunningBrain, wait_for

BASE = "films"
FACTS = (
    "head,relation,tail,head_type,source\n无间道,导演,刘伟强,电影,片库\n无间道,主演,刘德华,电影,片库\n无间道,主演,梁朝伟,电影,片库\n"
    "刘德华,妻子,朱丽倩,人物,名人录\n刘德华,出生日期,1961年9月27日,人物,名人录\n,导演,某人,,\n"
)
RULES = (
    "# 车辆管理办法\n\n第一条 为了管好公务车辆，制定本办法。\n\n第二条 本办法所称公务车辆，是指由本单位出资购置并用于公务的机动车。\n\n"
    "第三条 违反本办法第二条规定的，由后勤部门处理。\n"
)


def upload(brain: RunningBrain, path: str, name: str, data: bytes) -> Any:
    """A file as a form's field; the reply to it."""
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/csv\r\n\r\n'.encode()
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=30)
    try:
        connection.request("POST", path, head + data + b"\r\n--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"})
        reply = connection.getresponse()
        text = reply.read()
        assert reply.status == 202, text
        return json.loads(text)
    finally:
        connection.close()


def job(brain: RunningBrain, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in brain.call("GET", "/api/jobs?limit=100")[1]["data"] if one["id"] == job_id)
    return found


@pytest.fixture(scope="module")
def films(running_brain: RunningBrain) -> Iterator[RunningBrain]:
    """The running brain with facts and a document in a knowledge base of their own."""
    assert running_brain.call("POST", "/api/knowledge-bases", {"name": BASE})[0] == 201
    assert running_brain.call("POST", f"/api/knowledge-bases/{BASE}/documents", {"name": "rules.md", "text": RULES})[0] == 202
    wait_for(lambda: running_brain.call("GET", f"/api/knowledge-bases/{BASE}")[1]["documents"]["ready"] == 1, "the document is read")
    started = upload(running_brain, f"/api/graph/{BASE}/import", "films.csv", FACTS.encode())
    wait_for(lambda: job(running_brain, started["job_id"])["status"] == "done", "the facts are in")
    assert [one["row"] for one in job(running_brain, started["job_id"])["result"]["errors"]] == [7]
    yield running_brain
    running_brain.call("DELETE", f"/api/knowledge-bases/{BASE}")


def ask(brain: RunningBrain, question: str, *before: str) -> dict[str, Any]:
    """OpenAI's protocol, with the earlier questions as history."""
    said = [message for one in before for message in ({"role": "user", "content": one}, {"role": "assistant", "content": "……"})]
    body = {"model": f"extractive@{BASE}", "messages": [*said, {"role": "user", "content": question}]}
    status, reply = brain.call("POST", "/v1/chat/completions", body)
    assert status == 200, reply
    return {**reply, "answer": reply["choices"][0]["message"]["content"], "notes": reply["choices"][0]["message"]["annotations"]}


def told(brain: RunningBrain, question: str) -> dict[str, Any]:
    """The same, when the facts that it cites stand in a text."""
    return dict(wait_for(lambda: (a := ask(brain, question))["citations"] and a["citations"][0]["document_id"] and a, "facts told as texts", 30))


def check(brain: RunningBrain, reply: dict[str, Any]) -> None:
    """Quotes stand where the citations say."""
    for one in reply["citations"]:
        content = brain.call("GET", f"/api/documents/{one['document_id']}/content")[1]["text"]
        assert content[one["start"] : one["end"]] == one["quote"]
        assert one["cited"] is (f"[{one['index']}]" in reply["answer"])


def test_a_fact_is_answered_at_once_and_cited(films: RunningBrain) -> None:
    reply = ask(films, "无间道的导演是谁？")
    assert (reply["rung"], reply["answer"], reply["degraded"]) == ("graph", "无间道的导演是刘伟强[1]。", [])
    first = reply["citations"][0]
    assert first["cited"] and [(one["tail"], one["source"], one["knowledge_base"]) for one in first["facts"]] == [("刘伟强", "片库", BASE)]
    reply = told(films, "无间道的导演是谁？")
    assert reply["rung"] == "graph" and reply["citations"][0]["quote"] == "无间道的导演：刘伟强。"
    note = reply["notes"][0]["url_citation"]
    assert note["url"] == reply["citations"][0]["url"] and reply["answer"][note["start_index"] : note["end_index"]] == "[1]"
    check(films, reply)


def test_history_says_who_is_meant(films: RunningBrain) -> None:
    reply = ask(films, "那他的妻子呢？", "刘德华的出生日期是什么时候？")
    assert (reply["rung"], reply["answer"]) == ("graph", "刘德华的妻子是朱丽倩[1]。")


def test_a_definition_is_cited_where_the_document_says_it(films: RunningBrain) -> None:
    reply = ask(films, "公务车辆是指什么？")
    first = next(one for one in reply["citations"] if one["cited"])
    assert first["document"] == "rules.md" and "由本单位出资购置并用于公务的机动车" in reply["answer"]
    check(films, reply)


def test_questions_about_articles_are_answered_by_the_text(films: RunningBrain) -> None:
    for question in ("车辆管理办法第三条规定了什么？", "违反规定由谁处理？"):
        assert ask(films, question)["rung"] == "extractive", question


def test_a_conversation_over_the_native_api_and_its_events(films: RunningBrain) -> None:
    made = films.call("POST", "/api/conversations", {"knowledge_bases": [BASE], "model": "extractive"})[1]["id"]
    first = films.call("POST", f"/api/conversations/{made}/messages", {"content": "刘德华的出生日期是什么时候？"})[1]
    assert (first["rung"], first["answer"]) == ("graph", "刘德华的出生日期是1961年9月27日[1]。")
    client = socketio.SimpleClient()
    client.connect(f"http://127.0.0.1:{films.port}", transports=["websocket"])
    try:
        ack = client.call("chat", {"message": "那他的妻子呢？", "conversation_id": made}, timeout=10)
        seen: dict[str, Any] = {}
        while "chat:done" not in seen and "chat:error" not in seen:
            name, payload = client.receive(timeout=10)
            if payload["message_id"] == ack["message_id"]:
                seen[name] = payload
    finally:
        client.disconnect()
    done = seen["chat:done"]
    assert (done["rung"], done["answer"]) == ("graph", "刘德华的妻子是朱丽倩[1]。")
    assert seen["chat:sources"]["citations"][0]["facts"] == done["citations"][0]["facts"] != []
    stored = films.call("GET", f"/api/conversations/{made}/messages")[1]["data"][-1]
    assert (stored["rung"], stored["citations"]) == ("graph", done["citations"])
