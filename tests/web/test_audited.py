"""What requests leave in the audit log: who, what, which documents, of which level, with which outcome; refusals, bounded; and no contents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update

from qzbrain import metrics
from qzbrain.auth.standing import access_changed
from qzbrain.brain import Brain, build
from qzbrain.domain import LEVELS, Role, utc_now
from qzbrain.settings import Settings
from qzbrain.storage.tables import audit_log, documents, kb_grants, users
from qzbrain.web import audited
from qzbrain.web.app import create_app

SECRET_QUESTION = "采购金额超过五十万元须经谁批准"


@dataclass
class Site:
    """A brain with accounts, and clients of its users by name."""

    brain: Brain
    client: FlaskClient
    keys: dict[str, str]

    def call(self, user: str, method: str, path: str, **more: Any) -> Any:
        return self.client.open(path, method=method, headers={"Authorization": f"Bearer {self.keys[user]}"} if user else {}, **more)

    def events(self, action: str = "") -> list[Any]:
        self.brain.audit.flush()
        rows = self.brain.db.rows(select(audit_log).order_by(audit_log.c.number))
        return [row for row in rows if not action or row.action == action]


def add_user(brain: Brain, name: str, role: Role, clearance: str = "internal") -> str:
    row = {"id": f"u-{name}", "name": name, "role": role, "clearance": LEVELS.index(clearance), "recovery": [], "created_at": utc_now()}
    with brain.db.write() as connection:
        connection.execute(insert(users).values(row))
        access_changed(connection)
    return brain.api_keys.create(f"u-{name}", "test")[1]


@pytest.fixture
def site(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    brain = build(make_settings(qzbrain_accounts="on"))
    keys = {"boss": add_user(brain, "boss", "administrator", "top_secret"), "li": add_user(brain, "li", "reader"), "wang": add_user(brain, "wang", "editor")}
    yield Site(brain, create_app(brain).test_client(), keys)
    brain.close()


def laws(site: Site) -> tuple[str, str]:
    """A knowledge base with one document, which li may read; their ids."""
    kb = site.call("boss", "POST", "/api/knowledge-bases", json={"name": "laws"}).json["id"]
    text = f"{SECRET_QUESTION}？须经董事会批准。"
    added = site.call("boss", "POST", "/api/knowledge-bases/laws/documents", json={"name": "a.txt", "text": text}).json["data"][0]["id"]
    with site.brain.db.write() as connection:
        connection.execute(insert(kb_grants).values(kb_id=kb, user_id="u-li", group_id="", granted="read"))
        access_changed(connection)
    site.brain.access.standings.forget()
    from qzbrain.worker import work_inline

    work_inline(site.brain, lambda: site.brain.knowledge.document(site.brain.access.local_caller(), added).status == "ready")
    return kb, added


def test_every_route_is_declared(site: Site) -> None:
    """Whatever is no GET is named as a change, as reading, as asking, or as harmless; so is every GET under /api that shows contents."""
    known = {*audited.READING, *audited.CHANGING, *audited.ANSWERING, *audited.HARMLESS}
    routes = {
        f"{method} {rule.rule}" for rule in site.client.application.url_map.iter_rules() for method in rule.methods or () if method not in ("HEAD", "OPTIONS")
    }
    assert sorted(route for route in routes if not route.startswith("GET ") and route not in known) == []


def test_changes_and_reading_are_written_with_actor_subject_and_level(site: Site) -> None:
    kb, document = laws(site)
    (made,) = site.events("knowledge_base.create")
    assert (made.actor, made.subject, made.outcome) == ("boss", kb, "done")
    (added,) = site.events("document.add")
    assert (added.subject, added.kb_id) == (document, kb)
    with site.brain.db.write() as connection:
        connection.execute(update(documents).where(documents.c.id == document).values(level=1))
    reply = site.call("li", "GET", f"/api/documents/{document}/content")
    assert reply.status_code == 200
    (read,) = site.events("document.read")
    assert (read.actor_id, read.subject, read.kb_id, read.level, read.outcome) == ("u-li", document, kb, 1, "done")
    assert read.request_id == reply.headers["X-Request-Id"]
    assert read.key_id
    assert read.address == "127.0.0.1"
    assert site.call("li", "GET", "/api/knowledge-bases/laws/entries").status_code == 200
    (listed,) = site.events("entry.read")
    assert (listed.kb_id, listed.level) == (kb, 1)  # as high as the knowledge base
    site.call("li", "GET", "/api/knowledge-bases")
    assert len(site.events()) == 4  # a list of names is no content
    assert site.brain.verify_audit().faults == ()


def test_searches_and_answers_name_the_documents_shown_and_never_the_question(site: Site) -> None:
    kb, document = laws(site)
    assert site.call("li", "POST", "/api/search", json={"query": SECRET_QUESTION}).json["hits"]
    (searched,) = site.events("search")
    assert orjson.loads(searched.details) == {"documents": [document]}
    body = {"model": "extractive", "messages": [{"role": "user", "content": SECRET_QUESTION}]}
    plain = site.call("li", "POST", "/v1/chat/completions", json=body).json
    streamed = site.call("li", "POST", "/v1/chat/completions", json={**body, "stream": True}).get_data()
    assert b"[DONE]" in streamed
    first, second = site.events("answer")
    assert first.subject == plain["message_id"]
    for event in (first, second):
        assert (event.actor, event.outcome, event.level) == ("li", "done", 1)
        assert orjson.loads(event.details)["documents"] == [document]
        assert orjson.loads(event.details)["knowledge_bases"] == [kb]
    everything = "".join(str(tuple(row)) for row in site.events())
    assert not any(word in everything for word in ("采购", "董事会", *site.keys.values()))


def test_refusals_are_written_and_a_document_that_is_hidden_too(site: Site) -> None:
    _, document = laws(site)
    assert site.call("wang", "GET", f"/api/documents/{document}/content").status_code == 404
    assert site.call("li", "DELETE", f"/api/documents/{document}").status_code == 403
    assert site.call("li", "GET", "/api/system/audit").status_code == 403
    assert site.call("", "GET", "/api/jobs").status_code == 401
    assert site.client.get("/api/jobs", headers={"Authorization": "Bearer qzb_wrong"}).status_code == 401
    refused = [(row.actor, row.action, row.subject) for row in site.events() if row.outcome == "refused"]
    assert refused == [
        ("wang", "document.read", document), ("li", "document.delete", document), ("li", "audit.read", ""), ("anonymous", "request", ""),
        ("anonymous", "request", ""),
    ]  # fmt: skip
    assert site.call("li", "GET", "/api/documents/nothing/content").status_code == 404
    assert len([row for row in site.events() if row.outcome == "failed"]) == 0  # nothing was there, nothing changed
    assert site.call("wang", "POST", "/api/knowledge-bases/x/documents", data="x").status_code in (404, 403, 415)
    assert "qzb_wrong" not in "".join(row.details for row in site.events())


def test_a_flood_of_refusals_is_bounded_and_counted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    flood = audited._Flood(site.brain.audit, clock=lambda: now[0])
    seen = audited._Seen(site.brain.access.local_caller(), "request", "refused", False)
    assert sum(flood.lets_pass(seen) for _ in range(500)) == audited.A_MINUTE
    now[0] = 61.0
    assert flood.lets_pass(seen)
    (told,) = site.events("request")
    assert orjson.loads(told.details) == {"more_within_a_minute": 500 - audited.A_MINUTE}
    for i in range(5_000):  # as many callers as one likes
        flood.lets_pass(audited._Seen(site.brain.access.local_caller(), f"a{i}", "refused", False))
    assert len(flood._seen) <= audited._KINDS_KEPT + 1


def test_administrators_read_and_export_the_log(site: Site) -> None:
    laws(site)
    page = site.call("boss", "GET", "/api/system/audit?limit=1&action=document").json
    assert [one["action"] for one in page["data"]] == ["document.add"]
    assert page["data"][0]["level"] in LEVELS
    sheet = site.call("boss", "GET", "/api/system/audit?format=csv")
    assert sheet.headers["Content-Disposition"].startswith("attachment")
    assert "knowledge_base.create" in sheet.get_data(as_text=True)
    lines = site.call("boss", "GET", "/api/system/audit?format=jsonl&actor=boss").get_data().splitlines()
    assert all(orjson.loads(line)["actor"] == "boss" for line in lines)
    assert site.call("boss", "GET", "/api/system/audit?since=yesterday").status_code == 400
    assert site.call("boss", "GET", "/api/system/audit?after=x").status_code == 400


def test_without_accounts_no_row_is_written(client: FlaskClient, brain: Brain) -> None:
    client.post("/api/knowledge-bases", json={"name": "laws"})
    assert client.get("/api/system/audit").json == {"data": [], "has_more": False, "next": None}
    assert brain.verify_audit().rows == 0
