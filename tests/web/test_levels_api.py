"""Levels from upload to answer: who may give them, what follows from them, and what stored answers and shared conversations show to whom."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask
from sqlalchemy import delete, insert, update

from qzbrain import metrics
from qzbrain.auth.access import ANONYMOUS
from qzbrain.auth.standing import access_changed
from qzbrain.brain import Brain, build
from qzbrain.chat.wording import WITHHELD
from qzbrain.domain import LEVELS, Caller, Done, new_id, utc_now
from qzbrain.settings import Settings
from qzbrain.storage.tables import api_keys, documents, entries, kb_grants, users
from qzbrain.web.app import create_app
from qzbrain.worker import work_inline

PUBLIC = "蓝鲸项目的负责人是王芳。蓝鲸项目的办公地点在三号楼。"
SECRET = "蓝鲸项目的预算为九千万元。蓝鲸项目的预算由陈静审批。"


@dataclass
class Office:
    """A brain with accounts, its application, and a key for everybody who works there."""

    brain: Brain
    app: Flask
    keys: dict[str, str]
    ids: dict[str, str]

    def call(self, who: str, method: str, url: str, **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.keys[who]}", "Accept-Language": "en"}
        return self.app.test_client().open(url, method=method, headers=headers, **given)

    def ok(self, who: str, method: str, url: str, **given: Any) -> Any:
        response = self.call(who, method, url, **given)
        assert response.status_code < 300, response.get_json()
        return response.get_json()

    def refused(self, who: str, method: str, url: str, **given: Any) -> tuple[int, str]:
        response = self.call(who, method, url, **given)
        return response.status_code, response.get_json()["error"]["code"]

    def work(self) -> None:
        local = self.brain.access.local_caller()
        work_inline(self.brain, lambda: not self.brain.knowledge.jobs(local, "pending").data and not self.brain.knowledge.jobs(local, "running").data)

    def grant(self, who: str, right: str | None) -> None:
        kb = self.brain.knowledge.resolve(self.brain.access.local_caller(), ["kb"])[0].id
        with self.brain.db.write() as connection:
            connection.execute(delete(kb_grants).where(kb_grants.c.user_id == self.ids[who]))
            if right:
                connection.execute(insert(kb_grants), {"kb_id": kb, "user_id": self.ids[who], "group_id": "", "granted": right})
            access_changed(connection)
        self.brain.access.standings.forget()


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """See `opened`."""
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    made = opened(tmp_path / "data")
    yield made
    made.brain.close()


def opened(data: Path, **settings: object) -> Office:
    """The knowledge base `kb` of `boss` (cleared for everything), where `writer` writes and `reader` reads; both are cleared up to internal."""
    brain = build(Settings(**{"qzbrain_data": data, "qzbrain_embedder": "none", "qzbrain_accounts": "on", **settings}))
    people = {"boss": ("manager", 4), "writer": ("editor", 1), "reader": ("reader", 1), "friend": ("reader", 1), "root": ("administrator", 1)}
    ids = {name: new_id() for name in people}
    with brain.db.write() as connection:
        rows = [{"id": ids[x], "name": x, "role": role, "clearance": n, "recovery": [], "created_at": utc_now()} for x, (role, n) in people.items()]
        connection.execute(insert(users), rows)
    office = Office(brain, create_app(brain), {name: brain.api_keys.create(one, name)[1] for name, one in ids.items()}, ids)
    office.ok("boss", "POST", "/api/knowledge-bases", json={"name": "kb"})
    for name, right in (("writer", "write"), ("reader", "read")):
        with brain.db.write() as connection:
            kb = brain.knowledge.resolve(brain.access.local_caller(), ["kb"])[0].id
            connection.execute(insert(kb_grants), {"kb_id": kb, "user_id": ids[name], "group_id": "", "granted": right})
            access_changed(connection)
    brain.access.standings.forget()
    return office


def put(office: Office, who: str, name: str, text: str, **more: Any) -> dict[str, Any]:
    """The reply to one text."""
    reply: dict[str, Any] = office.ok(who, "POST", "/api/knowledge-bases/kb/documents", json={"name": name, "text": text, **more})["data"][0]
    return reply


# -- giving levels


def test_whoever_makes_a_knowledge_base_may_manage_it_and_nobody_else_sees_it(office: Office) -> None:
    assert office.ok("boss", "GET", "/api/knowledge-bases/kb")["level"] == "internal"
    assert office.ok("boss", "PATCH", "/api/knowledge-bases/kb", json={"title": "x"})["title"] == "x"
    assert office.refused("friend", "GET", "/api/knowledge-bases/kb") == (404, "knowledge_base_not_found")
    office.ok("boss", "POST", "/api/knowledge-bases", json={"name": "deep", "level": "secret"})
    assert office.refused("root", "GET", "/api/knowledge-bases/deep") == (404, "knowledge_base_not_found")
    assert office.refused("root", "POST", "/api/knowledge-bases", json={"name": "more", "level": "secret"}) == (403, "level_refused")


def test_a_level_comes_with_the_upload_and_is_the_knowledge_bases_else(office: Office) -> None:
    assert put(office, "writer", "a", "甲文。")["level"] == "internal"
    assert put(office, "writer", "b", "乙文。", level="公开")["level"] == "public"
    form = {"level": "secret", "file": (io.BytesIO("丙文。".encode()), "c.txt")}
    assert office.ok("boss", "POST", "/api/knowledge-bases/kb/documents", data=form)["data"][0]["level"] == "secret"
    form = {"file": (io.BytesIO("丁文。".encode()), "d.txt"), "level": "secret"}
    assert office.refused("writer", "POST", "/api/knowledge-bases/kb/documents", data=form) == (403, "level_refused")
    form = {"file": (io.BytesIO("丁文。".encode()), "d.txt"), "level": "hoch"}
    assert office.refused("writer", "POST", "/api/knowledge-bases/kb/documents", data=form)[0] == 400
    assert office.refused("writer", "POST", "/api/knowledge-bases/kb/documents", json={"name": "e", "text": "戊", "level": "secret"}) == (403, "level_refused")
    names = {one["name"]: one["level"] for one in office.ok("boss", "GET", "/api/knowledge-bases/kb/documents")["data"]}
    assert names == {"a": "internal", "b": "public", "c.txt": "secret"}
    assert [one["name"] for one in office.ok("reader", "GET", "/api/knowledge-bases/kb/documents")["data"]] == ["a", "b"]


def test_what_is_in_an_archive_or_a_corpus_has_the_level_of_the_upload(office: Office) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.txt", "压缩包里的文字。")
    corpus = b"".join(orjson.dumps({"id": f"l{n}", "text": f"第{n}行文字。"}) + b"\n" for n in range(3))
    form = {"level": "confidential", "file": [(io.BytesIO(packed.getvalue()), "a.zip"), (io.BytesIO(corpus), "c.jsonl")]}
    office.ok("boss", "POST", "/api/knowledge-bases/kb/documents", data=form)
    office.work()
    assert {one["level"] for one in office.ok("boss", "GET", "/api/knowledge-bases/kb/documents")["data"]} == {"confidential"}
    assert office.ok("reader", "GET", "/api/knowledge-bases/kb")["documents"]["total"] == 0
    assert office.ok("reader", "GET", "/api/jobs")["data"] == []
    assert office.ok("writer", "GET", "/api/jobs")["data"] == []
    assert len(office.ok("boss", "GET", "/api/jobs")["data"]) >= 3


def test_raising_takes_writing_and_lowering_takes_managing(office: Office) -> None:
    one = put(office, "writer", "a", "甲文。", level="public")["id"]
    assert office.ok("writer", "PATCH", f"/api/documents/{one}", json={"level": "internal"})["level"] == "internal"
    assert office.refused("writer", "PATCH", f"/api/documents/{one}", json={"level": "public"}) == (403, "permission_refused")
    assert office.refused("writer", "PATCH", f"/api/documents/{one}", json={"level": "secret"}) == (403, "level_refused")
    assert office.refused("reader", "PATCH", f"/api/documents/{one}", json={"level": "internal"}) == (403, "permission_refused")
    assert office.ok("boss", "PATCH", f"/api/documents/{one}", json={"level": "secret"})["level"] == "secret"
    for method, url in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/content"), ("GET", "/chunks"), ("GET", "/file"), ("GET", "/edits")):
        body = {"json": {"level": "internal"}} if method == "PATCH" else {}
        assert office.refused("writer", method, f"/api/documents/{one}{url}", **body) == (404, "document_not_found"), (method, url)
    assert office.ok("boss", "PATCH", f"/api/documents/{one}", json={"level": "internal"})["level"] == "internal"
    assert office.ok("writer", "GET", f"/api/documents/{one}")["level"] == "internal"


def test_bytes_that_a_hidden_document_has_already_are_a_document_of_their_own(office: Office) -> None:
    hidden = put(office, "boss", "plan", SECRET, level="secret", external_id="x")["id"]
    plain = put(office, "boss", "plain", "同样的文字。", level="secret")["id"]
    own = put(office, "writer", "mine", "同样的文字。")
    assert (own["duplicate"], own["level"]) == (False, "internal")
    assert own["id"] != plain
    again = put(office, "writer", "mine", "同样的文字。")
    assert (again["duplicate"], again["id"]) == (True, own["id"])
    other = put(office, "writer", "x", "别的文字。", external_id="x")
    assert other["id"] != hidden
    corpus = orjson.dumps({"id": "x", "text": "语料的文字。"}) + b"\n" + orjson.dumps({"id": "y", "text": "第二行。"}) + b"\n"
    office.ok("writer", "POST", "/api/knowledge-bases/kb/documents", data={"file": (io.BytesIO(corpus), "c.jsonl")})
    office.work()
    assert office.ok("boss", "GET", f"/api/documents/{hidden}/content") == {"text": SECRET}
    assert office.ok("writer", "GET", f"/api/documents/{other['id']}/content") == {"text": "语料的文字。"}
    assert office.ok("writer", "GET", "/api/knowledge-bases/kb")["documents"]["total"] == 3
    assert office.ok("boss", "GET", "/api/knowledge-bases/kb")["documents"]["total"] == 5
    raised = put(office, "boss", "mine", "别的文字二。", level="secret", external_id="y")
    assert raised["level"] == "secret"  # what is brought again with a higher level is raised to it


# -- entries


def test_entries_have_levels_and_their_documents_follow(office: Office) -> None:
    url = "/api/knowledge-bases/kb/entries"
    open_one = office.ok("writer", "POST", url, json={"question": "谁负责？", "answer": "王芳。"})
    assert open_one["level"] == "internal"
    assert office.refused("writer", "POST", url, json={"question": "密？", "answer": "密。", "level": "secret"}) == (403, "level_refused")
    closed = office.ok("boss", "POST", url, json={"question": "多少钱？", "answer": "九千万元。", "level": "secret", "approve": True})
    assert office.brain.db.rows(documents.select().where(documents.c.id == closed["document_id"]))[0].level == 3
    assert office.refused("writer", "GET", f"{url}/{closed['id']}") == (404, "entry_not_found")
    assert [one["id"] for one in office.ok("writer", "GET", url)["data"]] == [open_one["id"]]
    assert b"\xe4\xb9\x9d\xe5\x8d\x83" not in office.call("writer", "GET", f"{url}/export?format=jsonl").data
    assert office.refused("writer", "PATCH", f"{url}/{open_one['id']}", json={"level": "public"}) == (403, "permission_refused")
    assert office.ok("boss", "PATCH", f"{url}/{open_one['id']}", json={"level": "secret"})["level"] == "secret"
    assert office.refused("writer", "GET", f"{url}/{open_one['id']}/versions") == (404, "entry_not_found")
    lowered = office.ok("boss", "PATCH", f"{url}/{closed['id']}", json={"level": "internal", "answer": "不公开。"})
    assert [one["version"] for one in office.ok("writer", "GET", f"{url}/{lowered['id']}/versions")["data"]] == [2]
    assert [one["version"] for one in office.ok("boss", "GET", f"{url}/{lowered['id']}/versions")["data"]] == [2, 1]


def test_importing_entries_neither_changes_nor_tells_of_hidden_ones(office: Office) -> None:
    url = "/api/knowledge-bases/kb/entries"
    closed = office.ok("boss", "POST", url, json={"question": "多少钱？", "answer": "九千万元。", "level": "secret"})
    form = {"file": (io.BytesIO("问题,答案,密级\n多少钱？,一元。,\n级别？,高。,绝密\n".encode()), "e.csv")}
    told = office.ok("writer", "POST", f"{url}/import", data=form)
    assert (told["created"], told["updated"], told["conflicts"]) == (1, 0, [])
    assert [one["row"] for one in told["errors"]] == [3]
    assert office.ok("boss", "GET", f"{url}/{closed['id']}")["answer"] == "九千万元。"


def test_approving_takes_managing_where_entries_need_it(office: Office) -> None:
    assert office.brain.settings.entries_need_approval
    url = "/api/knowledge-bases/kb/entries"
    made = office.ok("writer", "POST", url, json={"question": "谁？", "answer": "王芳。"})
    assert made["status"] == "proposed"
    assert office.refused("writer", "POST", f"{url}/{made['id']}/approve") == (403, "permission_refused")
    assert office.refused("writer", "POST", url, json={"question": "谁呢？", "answer": "王芳。", "approve": True}) == (403, "permission_refused")
    approved = office.ok("boss", "POST", f"{url}/{made['id']}/approve")
    assert approved["in_force"] is True
    changed = office.ok("boss", "PATCH", f"{url}/{made['id']}", json={"level": "secret"})  # not approved: its level holds all the same
    assert changed["status"] == "proposed"
    rows = office.brain.db.rows(documents.select().where(documents.c.id == approved["document_id"]))
    assert rows[0].level == LEVELS.index("secret")
    assert office.brain.db.rows(entries.select().where(entries.c.id == made["id"]))[0].approved_version == 1


# -- answers


def asked(office: Office, who: str, question: str, conversation_id: str | None = None) -> dict[str, Any]:
    """The answer, in a conversation."""
    conversation_id = conversation_id or office.ok(who, "POST", "/api/conversations", json={"knowledge_bases": ["kb"]})["id"]
    body = {"content": question, "model": "extractive"}
    answer: dict[str, Any] = office.ok(who, "POST", f"/api/conversations/{conversation_id}/messages", json=body)
    return answer


def last(office: Office, who: str, conversation_id: str) -> dict[str, Any]:
    """The last message as it is shown now."""
    found: dict[str, Any] = office.ok(who, "GET", f"/api/conversations/{conversation_id}/messages")["data"][-1]
    return found


@pytest.fixture
def knowing(office: Office) -> Office:
    """With an internal and a secret document, both ready."""
    put(office, "boss", "open.txt", PUBLIC)
    put(office, "boss", "closed.txt", SECRET, level="secret")
    office.work()
    return office


def test_an_answer_has_the_highest_level_of_what_it_stands_on(knowing: Office) -> None:
    answer = asked(knowing, "boss", "蓝鲸项目的预算是多少？")
    assert "九千万元" in answer["answer"]
    assert {one["document"]: one["level"] for one in answer["citations"]}["closed.txt"] == "secret"
    assert answer["level"] == "secret"
    assert last(knowing, "boss", answer["conversation_id"])["level"] == "secret"
    body = {"model": "extractive@kb", "messages": [{"role": "user", "content": "蓝鲸项目的负责人是谁？"}]}
    low = knowing.ok("reader", "POST", "/v1/chat/completions", json=body)
    assert (low["level"], low["withheld"]) == ("internal", False)
    assert {one["document"] for one in low["citations"]} == {"open.txt"}


def test_a_stored_answer_is_judged_when_it_is_read_again(knowing: Office) -> None:
    answer = asked(knowing, "reader", "蓝鲸项目的负责人是谁？")
    talk, document = answer["conversation_id"], answer["citations"][0]["document_id"]
    assert "王芳" in last(knowing, "reader", talk)["content"]

    knowing.grant("reader", None)
    shown = last(knowing, "reader", talk)
    assert (shown["withheld"], shown["content"], shown["answer"]) == (True, WITHHELD["en"], WITHHELD["en"])
    one = shown["citations"][0]
    assert one == {
        "index": 1, "document_id": "", "external_id": None, "document": "", "title": "", "heading_path": [], "page": None, "start": 0, "end": 0, "quote": "",
        "url": "", "cited": True, "supported": True, "facts": [], "level": None, "hidden": True,
    }  # fmt: skip
    knowing.grant("reader", "read")
    assert "王芳" in last(knowing, "reader", talk)["content"]

    knowing.ok("boss", "PATCH", f"/api/documents/{document}", json={"level": "secret"})
    assert last(knowing, "reader", talk)["withheld"] is True
    assert "王芳" not in str(last(knowing, "reader", talk))
    knowing.ok("boss", "PATCH", f"/api/documents/{document}", json={"level": "internal"})
    assert last(knowing, "reader", talk)["withheld"] is False

    knowing.ok("writer", "DELETE", f"/api/documents/{document}")
    assert last(knowing, "reader", talk)["citations"][0]["hidden"] is True
    assert last(knowing, "reader", talk)["citations"][0]["quote"] == ""


def test_a_key_narrowed_to_another_knowledge_base_reads_no_old_answers(knowing: Office) -> None:
    talk = asked(knowing, "boss", "蓝鲸项目的预算是多少？")["conversation_id"]
    other = knowing.ok("boss", "POST", "/api/knowledge-bases", json={"name": "other"})["id"]
    knowing.keys["narrow"] = knowing.brain.api_keys.create(knowing.ids["boss"], "narrow", knowledge_bases=[other])[1]
    assert last(knowing, "narrow", talk)["withheld"] is True
    assert last(knowing, "boss", talk)["withheld"] is False


def test_what_may_not_be_read_any_more_is_no_part_of_the_next_answer(knowing: Office) -> None:
    talk = asked(knowing, "boss", "蓝鲸项目的预算是多少？")["conversation_id"]
    with knowing.brain.db.write() as connection:
        connection.execute(update(users).where(users.c.id == knowing.ids["boss"]).values(clearance=1))
        access_changed(connection)
    knowing.brain.access.standings.forget()
    answer = asked(knowing, "boss", "由谁审批？", talk)
    assert "陈静" not in str(answer)
    plan = knowing.brain.chat.begin(Caller(knowing.ids["boss"], "boss", "en"), _ask("由谁审批？", talk)).plan
    assert all("九千万" not in one.content for one in plan.history)
    assert plan.heard <= 1


def _ask(question: str, conversation_id: str | None) -> Any:
    from qzbrain.chat.plan import Ask

    return Ask(question, conversation_id=conversation_id, model="extractive")


def test_a_stream_is_replayed_only_while_what_it_stands_on_may_be_seen(knowing: Office) -> None:
    chat = knowing.brain.chat
    me = Caller(knowing.ids["reader"], "reader", "en")
    turn = chat.begin(me, _ask("蓝鲸项目的负责人是谁？", None))
    assert any(isinstance(one, Done) for one in chat.answer(turn))
    assert chat.replayable(me, turn)
    knowing.grant("reader", None)
    assert not chat.replayable(me, turn)
    assert chat.conversations.message(me, turn.message_id).content == WITHHELD["en"]


# -- sharing


def test_a_shared_conversation_is_read_by_whom_it_is_shared_with_as_far_as_he_may(knowing: Office) -> None:
    talk = asked(knowing, "boss", "蓝鲸项目的负责人是谁？")["conversation_id"]
    url = f"/api/conversations/{talk}"
    assert knowing.refused("reader", "GET", f"{url}/messages") == (404, "conversation_not_found")
    shares = knowing.ok("boss", "POST", f"{url}/share", json={"users": ["reader", knowing.ids["friend"]]})
    assert shares == {"users": [{"id": knowing.ids["friend"], "name": "friend"}, {"id": knowing.ids["reader"], "name": "reader"}], "groups": []}
    assert knowing.ok("reader", "GET", url)["mine"] is False
    assert [one["id"] for one in knowing.ok("reader", "GET", "/api/conversations?shared=1")["data"]] == [talk]
    assert knowing.ok("reader", "GET", "/api/conversations")["data"] == []
    mine, theirs = last(knowing, "boss", talk), last(knowing, "reader", talk)
    assert any(one["document"] == "closed.txt" for one in mine["citations"]) == any(one["hidden"] for one in theirs["citations"])
    assert "九千万" not in str(theirs)
    stranger = last(knowing, "friend", talk)  # has no right in the knowledge base
    assert (stranger["withheld"], "王芳" in str(stranger)) == (True, False)
    assert knowing.ok("friend", "GET", url)["knowledge_bases"] == []
    for method, path, body in (("PATCH", "", {"title": "x"}), ("POST", "/messages", {"content": "问"}), ("POST", "/share", {}), ("DELETE", "", None)):
        assert knowing.refused("reader", method, f"{url}{path}", json=body) == (403, "conversation_not_yours"), (method, path)
    assert knowing.ok("boss", "POST", f"{url}/share", json={"groups": ["everyone"]})["groups"] == [{"id": "everyone", "name": "everyone"}]
    assert knowing.ok("writer", "GET", url)["id"] == talk
    assert knowing.refused("boss", "POST", f"{url}/share", json={"users": ["nobody at all"]}) == (404, "user_not_found")
    knowing.ok("boss", "POST", f"{url}/share", json={})
    assert knowing.refused("reader", "GET", url) == (404, "conversation_not_found")


def test_a_secret_answer_is_withheld_from_who_is_not_cleared(knowing: Office) -> None:
    talk = asked(knowing, "boss", "蓝鲸项目的预算是多少？")["conversation_id"]
    knowing.ok("boss", "POST", f"/api/conversations/{talk}/share", json={"users": ["reader"]})
    shown = last(knowing, "reader", talk)
    assert shown["withheld"] is True
    assert "九千万" not in str(shown)
    assert "closed" not in str(shown)
    assert shown["level"] == "secret"


# -- jobs, packs


def test_jobs_on_hidden_documents_are_not_there_and_counts_of_the_rest_tell_nothing(knowing: Office) -> None:
    hidden = put(knowing, "boss", "third.txt", "第三份文件。", level="secret")
    assert hidden["job_id"] not in {one["id"] for one in knowing.ok("writer", "GET", "/api/jobs")["data"]}
    assert knowing.refused("writer", "POST", f"/api/jobs/{hidden['job_id']}/cancel") == (404, "job_not_found")
    local = knowing.brain.access.local_caller()
    index = knowing.brain.knowledge.reindex(local, "kb")
    knowing.work()
    whole = next(one for one in knowing.ok("boss", "GET", "/api/jobs")["data"] if one["id"] == index)
    part = next(one for one in knowing.ok("writer", "GET", "/api/jobs")["data"] if one["id"] == index)
    assert whole["progress"]["total"] > 0
    assert (part["status"], part["progress"]["total"], part["result"]) == ("done", 0, None)


def test_a_pack_takes_managing_and_a_clearance_for_all_of_it(knowing: Office, tmp_path: Path) -> None:
    url = "/api/knowledge-bases/kb/export"
    assert knowing.refused("writer", "POST", url, json={}) == (403, "permission_refused")
    assert knowing.refused("root", "POST", url, json={}) == (403, "level_refused")
    job = knowing.ok("boss", "POST", url, json={})["job_id"]
    knowing.work()
    assert knowing.refused("root", "GET", f"{url}/{job}") == (403, "level_refused")
    assert job not in {one["id"] for one in knowing.ok("root", "GET", "/api/jobs?limit=500")["data"]}
    data = knowing.call("boss", "GET", f"{url}/{job}").data
    assert data.startswith(b"PK")
    form = {"file": (io.BytesIO(data), "kb.qzkb")}
    assert knowing.refused("root", "POST", "/api/knowledge-bases/import?name=copy", data=form) == (403, "level_refused")
    form = {"file": (io.BytesIO(data), "kb.qzkb")}
    knowing.ok("boss", "POST", "/api/knowledge-bases/import?name=copy", data=form)
    knowing.work()
    levels = {one["name"]: one["level"] for one in knowing.ok("boss", "GET", "/api/knowledge-bases/copy/documents")["data"]}
    assert levels == {"open.txt": "internal", "closed.txt": "secret"}
    assert knowing.ok("boss", "GET", "/api/knowledge-bases/copy")["level"] == "internal"
    assert knowing.refused("reader", "GET", "/api/knowledge-bases/copy") == (404, "knowledge_base_not_found")
    knowing.ok("boss", "PATCH", "/api/knowledge-bases/copy", json={"title": "mine"})


def test_nobody_and_ended_keys_may_do_nothing(office: Office) -> None:
    assert office.app.test_client().get("/api/knowledge-bases").status_code == 401
    with office.brain.db.write() as connection:
        connection.execute(delete(api_keys).where(api_keys.c.user_id == office.ids["reader"]))
    assert office.refused("reader", "GET", "/api/knowledge-bases") == (401, "key_unknown")
    assert office.brain.access.resolve(Caller(ANONYMOUS, ANONYMOUS)) == []


@pytest.mark.servers
def test_the_same_on_a_real_mariadb(mysql: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    office = opened(tmp_path / "data", **mysql)
    try:
        put(office, "boss", "open.txt", PUBLIC)
        hidden = put(office, "boss", "closed.txt", SECRET, level="secret")
        corpus = orjson.dumps({"id": "x", "text": "机密的语料。"}) + b"\n"
        form = {"level": "secret", "file": (io.BytesIO(corpus), "c.jsonl")}
        read = office.ok("boss", "POST", "/api/knowledge-bases/kb/documents", data=form)["data"][0]["job_id"]
        own = put(office, "writer", "mine.txt", SECRET)
        assert (own["duplicate"], own["id"] == hidden["id"]) == (False, False)
        office.work()
        assert {hidden["job_id"], read} & {one["id"] for one in office.ok("writer", "GET", "/api/jobs?limit=500")["data"]} == set()
        assert {hidden["job_id"], read} <= {one["id"] for one in office.ok("boss", "GET", "/api/jobs?limit=500")["data"]}
        assert office.ok("reader", "GET", "/api/knowledge-bases/kb")["documents"]["total"] == 2
        url = "/api/knowledge-bases/kb/entries"
        office.ok("boss", "POST", url, json={"question": "多少钱？", "answer": "九千万元。", "level": "top_secret"})
        assert office.ok("writer", "GET", url)["data"] == []
        assert office.refused("root", "POST", "/api/knowledge-bases/kb/export", json={}) == (403, "level_refused")
        talk = asked(office, "boss", "蓝鲸项目的预算是多少？")["conversation_id"]
        office.ok("boss", "POST", f"/api/conversations/{talk}/share", json={"users": ["reader"], "groups": ["everyone"]})
        assert [one["id"] for one in office.ok("reader", "GET", "/api/conversations?shared=1")["data"]] == [talk]
    finally:
        office.brain.close()
