"""Curated entries over HTTP: put in, approve, answer, correct, carry; and what is refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from python_calamine import CalamineWorkbook
from sqlalchemy import select

from qzbrain.brain import Brain
from qzbrain.storage.tables import jobs
from qzbrain.worker import Workplace

RULES = "# 采购管理办法\n\n采购金额超过五十万元的，应当公开招标。\n\n评审专家不少于五人。\n\n合同自签订之日起七个工作日内报备案。\n"


class Desk:
    """A brain without a server: requests, and a worker that works when it is told to."""

    def __init__(self, brain: Brain, client: FlaskClient) -> None:
        self.brain, self.client, self.place = brain, client, Workplace(brain)
        self("POST", "/api/knowledge-bases", json={"name": "kb"})

    def __call__(self, method: str, path: str, **options: Any) -> Any:
        options.setdefault("headers", {"Accept-Language": "en"})
        return self.client.open(path, method=method, **options)

    def work(self) -> None:
        open_jobs = select(jobs.c.id).where(jobs.c.status.in_(("pending", "running")))
        if self.brain.db.rows(open_jobs):
            self.brain.jobs.run(self.place.kinds, lambda: not self.brain.db.rows(open_jobs))

    def add(self, **given: Any) -> dict[str, Any]:
        made = self("POST", "/api/knowledge-bases/kb/entries", json=given)
        assert made.status_code == 201, made.get_json()
        self.work()
        found: dict[str, Any] = made.get_json()
        return found

    def ask(self, question: str, conversation: str = "") -> dict[str, Any]:
        conversation = conversation or self("POST", "/api/conversations", json={"knowledge_bases": ["kb"]}).get_json()["id"]
        found: dict[str, Any] = self("POST", f"/api/conversations/{conversation}/messages", json={"content": question}).get_json()
        return found

    def search(self, question: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("POST", "/api/search", json={"query": question, "knowledge_bases": ["kb"]}).get_json()["hits"]
        return found

    def load(self, data: bytes, name: str, query: str = "") -> Any:
        form = {"file": (io.BytesIO(data), name)}
        told = self("POST", f"/api/knowledge-bases/kb/entries/import{query}", data=form, content_type="multipart/form-data")
        self.work()
        return told


@pytest.fixture
def desk(brain: Brain, client: FlaskClient) -> Iterator[Desk]:
    made = Desk(brain, client)
    yield made
    made.place.close()


LEAVE: dict[str, Any] = {
    "question": "年假可以休几天？", "answer": "工作满一年不满十年的，年假 **5 天**。\n\n- 满十年：10 天", "variants": ["年休假有多少天"], "source": "人事处",
}  # fmt: skip


def test_an_entry_answers_once_it_is_approved(desk: Desk) -> None:
    made = desk.add(**LEAVE)
    assert (made["status"], made["in_force"], made["version"], made["author"]) == ("proposed", False, 1, "local")
    assert desk.ask("年假可以休几天？")["rung"] == "refused"
    approved = desk("POST", f"/api/knowledge-bases/kb/entries/{made['id']}/approve").get_json()
    assert (approved["status"], approved["in_force"], approved["approver"]) == ("approved", True, "local")
    desk.work()
    for question in ("年假可以休几天？", "请问年假可以休几天", "年休假有多少天？"):
        answer = desk.ask(question)
        assert answer["rung"] == "entry" and answer["answer"] == LEAVE["answer"] + "[1]", (question, answer["rung"])
        (cited,) = [one for one in answer["citations"] if one["cited"]]
        text = desk("GET", f"/api/documents/{cited['document_id']}/content").get_json()["text"]
        assert text[cited["start"] : cited["end"]] == cited["quote"] == LEAVE["answer"] and cited["supported"] is True
        assert "entry" in answer["rung_reason"]


@pytest.mark.parametrize("end", ["| a | b |\n|---|---|\n| 1 | 2 |", "```\nls -l\n```", "    ls -l"])
def test_the_mark_stands_below_what_would_swallow_it(desk: Desk, end: str) -> None:
    answer = f"见下：\n\n{end}"
    desk.add(question="年假可以休几天？", answer=answer, approve=True)
    assert desk.ask("年假可以休几天？")["answer"] == f"{answer}\n\n[1]"


def test_a_hit_says_that_it_is_an_entry(desk: Desk) -> None:
    desk.add(**LEAVE, approve=True)
    (hit,) = desk.search("年假可以休几天？")
    assert hit["sources"]["entry"] == {"rank": 1, "score": 1.0} and hit["document"] == LEAVE["question"]
    assert desk.search("年假满十年")[0]["sources"]["entry"]["score"] < 0.85, "found, and not sure enough to answer by itself"


@pytest.mark.parametrize("question", ["年假可以休几小时？", "病假可以休几天？", "年假不可以休几天？", "为什么年假可以休？", "第十二条规定的年假可以休几天？"])
def test_another_question_is_not_answered_directly(desk: Desk, question: str) -> None:
    desk.add(**LEAVE, approve=True)
    assert desk.ask(question)["rung"] != "entry"


def test_a_question_that_it_does_not_answer_is_not_answered(desk: Desk) -> None:
    desk.add(**LEAVE, negatives=["实习生年假可以休几天？"], approve=True)
    assert desk.ask("实习生年假可以休几天？")["rung"] != "entry"
    assert desk.ask("年假可以休几天？")["rung"] == "entry"


def test_documents_are_counted_and_listed_without_entries(desk: Desk) -> None:
    made = desk.add(**LEAVE, approve=True)
    kb = desk("GET", "/api/knowledge-bases/kb").get_json()
    assert (kb["documents"]["total"], kb["chunks"]) == (0, 0)
    assert desk("GET", "/api/knowledge-bases/kb/documents").get_json()["data"] == []
    assert desk("DELETE", f"/api/documents/{made['document_id']}").status_code == 409
    assert desk("GET", f"/api/documents/{made['document_id']}").get_json()["entry_id"] == made["id"]


def test_a_change_waits_for_approval_while_the_old_one_answers(desk: Desk) -> None:
    made = desk.add(**LEAVE, approve=True)
    path = f"/api/knowledge-bases/kb/entries/{made['id']}"
    changed = desk("PATCH", path, json={"answer": "年假 15 天。"}).get_json()
    assert (changed["status"], changed["version"], changed["approved_version"], changed["in_force"]) == ("proposed", 2, 1, True)
    desk.work()
    assert desk.ask("年假可以休几天？")["answer"].startswith("工作满一年")
    desk("POST", f"{path}/approve")
    desk.work()
    assert desk.ask("年假可以休几天？")["answer"] == "年假 15 天。[1]"
    versions = desk("GET", f"{path}/versions").get_json()["data"]
    assert [(v["version"], v["answer"]) for v in versions] == [(2, "年假 15 天。"), (1, LEAVE["answer"])]
    assert desk("PATCH", path, json={"source": ""}).get_json()["version"] == 3
    assert desk("PATCH", path, json={"source": ""}).get_json()["version"] == 3, "nothing differs: no new version"


def test_a_deleted_entry_is_gone(desk: Desk) -> None:
    made = desk.add(**LEAVE, approve=True)
    path = f"/api/knowledge-bases/kb/entries/{made['id']}"
    assert desk("DELETE", path).status_code == 204
    desk.work()
    assert desk.search("年假可以休几天？") == [] and desk("GET", path).status_code == 404
    assert desk("GET", f"/api/documents/{made['document_id']}").status_code == 404


def test_dates_decide_at_once_and_the_sweep_follows(desk: Desk) -> None:
    soon = desk.add(**LEAVE, valid_from="2099-01-01", approve=True)
    assert (soon["status"], soon["in_force"]) == ("approved", False)
    assert desk.ask("年假可以休几天？")["rung"] == "refused"
    assert [one["id"] for one in desk("GET", "/api/knowledge-bases/kb/entries?status=upcoming").get_json()["data"]] == [soon["id"]]
    past = desk("PATCH", f"/api/knowledge-bases/kb/entries/{soon['id']}", json={"valid_from": None, "valid_until": "2020年1月31日", "approve": True}).get_json()
    assert past["in_force"] is False and past["valid_until"] >= "2020-01-31"
    assert [one["id"] for one in desk("GET", "/api/knowledge-bases/kb/entries?status=expired").get_json()["data"]] == [soon["id"]]


def test_lists_are_searched_and_paged(desk: Desk) -> None:
    for number in range(5):
        desk.add(question=f"问题{number}是什么？", answer=f"答{number}")
    first = desk("GET", "/api/knowledge-bases/kb/entries?limit=2").get_json()
    assert [one["question"] for one in first["data"]] == ["问题4是什么？", "问题3是什么？"] and first["has_more"]
    rest = desk("GET", f"/api/knowledge-bases/kb/entries?limit=10&after={first['next']}").get_json()
    assert len(rest["data"]) == 3 and not rest["has_more"]
    assert [one["answer"] for one in desk("GET", "/api/knowledge-bases/kb/entries?q=问题3").get_json()["data"]] == ["答3"]
    assert desk("GET", "/api/knowledge-bases/kb/entries?status=approved").get_json()["data"] == []


def test_a_text_without_a_question_is_found_and_never_answers_by_itself(desk: Desk) -> None:
    desk.add(answer="总机电话是 010-62771234，值班时间为每天八点至二十点。", approve=True)
    (hit,) = desk.search("总机电话是多少")
    assert "62771234" in hit["text"] and hit["sources"]["entry"]["score"] == 0.0
    assert desk.ask("总机电话是多少？")["rung"] == "extractive"


def test_what_contradicts_it_is_told(desk: Desk) -> None:
    desk("POST", "/api/knowledge-bases/kb/documents", json={"name": "办法.md", "text": RULES})
    desk.work()
    made = desk.add(question="评审专家不少于多少人？", answer="评审专家不少于三人。", approve=True)
    (conflict,) = made["conflicts"]
    text = desk("GET", f"/api/documents/{conflict['document_id']}/content").get_json()["text"]
    assert conflict["kind"] == "document" and "不少于五人" in conflict["quote"] and text[conflict["start"] : conflict["end"]].strip() == conflict["quote"]
    other = desk.add(question="请问评审专家不少于多少人", answer="评审专家不少于五人。", approve=True)
    assert [(one["kind"], one["entry_id"]) for one in other["conflicts"]] == [("entry", made["id"])]


def test_a_wrong_answer_becomes_an_entry_in_force_and_a_regression_question(desk: Desk) -> None:
    desk("POST", "/api/knowledge-bases/kb/documents", json={"name": "办法.md", "text": RULES})
    desk.work()
    conversation = desk("POST", "/api/conversations", json={"knowledge_bases": ["kb"]}).get_json()["id"]
    wrong = desk.ask("合同几日内报备案？", conversation)
    made = desk("POST", f"/api/conversations/{conversation}/messages/{wrong['message_id']}/correct", json={"answer": "十个工作日内。"})
    assert made.status_code == 201 and made.get_json()["question"] == "合同几日内报备案？" and made.get_json()["origin"]["message_id"] == wrong["message_id"]
    desk.work()
    assert desk.ask("合同几日内报备案？")["answer"] == "十个工作日内。[1]"
    ran = desk("POST", "/api/knowledge-bases/kb/regressions/run").get_json()
    assert (ran["passed"], ran["failed"]) == (1, 0) and ran["data"][0]["result"]["direct"] is True
    desk("PATCH", f"/api/knowledge-bases/kb/entries/{made.get_json()['id']}", json={"question": "别的问题是什么？", "variants": [], "approve": True})
    desk.work()
    ran = desk("POST", "/api/knowledge-bases/kb/regressions/run").get_json()
    assert (ran["passed"], ran["failed"]) == (0, 1)
    messages = desk("GET", f"/api/conversations/{conversation}/messages").get_json()["data"]
    assert messages[-1]["rating"] == "down"


TABLE = (
    "问题,相似问,答案,来源,失效,备注\n年假几天？,年休假多少天|年假有多长,5 天,人事处,2099-12-31,x\n,,没有问题的一段文字,,,\n"
    "空答案？,,,,,\n日期错？,,答,,明天,\n年假几天？,,重复,,,\n"
)


@pytest.mark.parametrize("form", ["csv", "gbk", "jsonl", "xlsx"])
def test_files_come_in_with_their_bad_rows_told(desk: Desk, form: str) -> None:
    rows = list(csv.reader(io.StringIO(TABLE)))
    if form == "jsonl":
        data = "\n".join(json.dumps(dict(zip(rows[0], row, strict=True)), ensure_ascii=False) for row in rows[1:]).encode()
        bad, name = [3, 4, 5], "a.jsonl"
    elif form == "xlsx":
        from openpyxl import Workbook

        book, out = Workbook(), io.BytesIO()
        for row in rows:
            book.active.append(row)
        book.save(out)
        data, bad, name = out.getvalue(), [4, 5, 6], "a.xlsx"
    else:
        data, bad, name = TABLE.encode("gbk" if form == "gbk" else "utf-8-sig"), [4, 5, 6], "a.csv"
    dry = desk.load(data, name, "?dry_run=1").get_json()
    assert (dry["created"], dry["updated"], dry["skipped"], dry["dry_run"]) == (2, 0, 0, True)
    assert desk("GET", "/api/knowledge-bases/kb/entries").get_json()["data"] == []
    told = desk.load(data, name, "?approve=1").get_json()
    assert (told["created"], [one["row"] for one in told["errors"]]) == (2, bad) and all(one["message"] for one in told["errors"])
    assert desk.ask("年休假多少天？")["answer"] == "5 天[1]"
    again = desk.load(data, name, "?approve=1").get_json()
    assert (again["created"], again["updated"], again["skipped"]) == (0, 0, 2)


HARD = [
    {
        "question": "=1+1 是公式吗？", "answer": "=SUM(A1)\n\n| a | b |\n|---|---|\n| 1 | \"x\" |", "variants": ["-开头", "@提到"], "negatives": ["'引号"],
        "source": "+来源",
    },
    {"question": "长吗？", "answer": "长" * 40_000, "level": "机密", "valid_from": "2026-01-01T08:00:00+08:00", "valid_until": "2099-01-01"},
    {"question": "", "answer": "只有文字\t和制表符", "source": "  "},
]  # fmt: skip


@pytest.mark.parametrize("form", ["xlsx", "csv", "jsonl"])
def test_what_is_exported_comes_in_as_it_was(desk: Desk, form: str) -> None:
    for one in HARD:
        desk.add(**one)
    data = desk("GET", f"/api/knowledge-bases/kb/entries/export?format={form}").get_data()
    if form == "xlsx":
        cells = [cell for row in CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python() for cell in row]
        assert "=SUM(A1)\n\n| a | b |\n|---|---|\n| 1 | \"x\" |" in cells, "a text, not a formula"
    fields = ("question", "answer", "variants", "negatives", "source", "valid_from", "valid_until", "level")

    def held() -> list[dict[str, Any]]:
        return [{name: one[name] for name in fields} for one in desk("GET", "/api/knowledge-bases/kb/entries").get_json()["data"]]

    before = held()
    same = desk.load(data, f"a.{form}").get_json()
    assert (same["created"], same["updated"], same["skipped"], same["errors"]) == (0, 0, 3, [])
    for one in desk("GET", "/api/knowledge-bases/kb/entries").get_json()["data"]:
        desk("DELETE", f"/api/knowledge-bases/kb/entries/{one['id']}")
    assert desk.load(data, f"a.{form}").get_json()["created"] == 3
    assert sorted(map(str, held())) == sorted(map(str, before))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/knowledge-bases/none/entries", {"answer": "x"}, 404), ("POST", "/api/knowledge-bases/kb/entries", {}, 400),
        ("POST", "/api/knowledge-bases/kb/entries", {"answer": " \n"}, 400), ("POST", "/api/knowledge-bases/kb/entries", {"answer": "x", "nonsense": 1}, 400),
        ("POST", "/api/knowledge-bases/kb/entries", {"answer": "x", "level": "高"}, 400),
        ("POST", "/api/knowledge-bases/kb/entries", {"answer": "x", "valid_from": "明天"}, 400),
        ("POST", "/api/knowledge-bases/kb/entries", {"answer": "x", "valid_from": "2026-02-01", "valid_until": "2026-01-01"}, 400),
        ("POST", "/api/knowledge-bases/kb/entries", {"answer": "x", "question": "长" * 2001}, 400),
        ("POST", "/api/knowledge-bases/kb/entries", {"answer": "x", "variants": ["a"] * 101}, 400),
        ("GET", "/api/knowledge-bases/kb/entries/none", None, 404), ("PATCH", "/api/knowledge-bases/kb/entries/none", {"answer": "x"}, 404),
        ("POST", "/api/knowledge-bases/kb/entries/none/approve", None, 404), ("GET", "/api/knowledge-bases/kb/entries?status=odd", None, 400),
        ("GET", "/api/knowledge-bases/kb/entries/export?format=pdf", None, 400), ("POST", "/api/knowledge-bases/kb/entries/import", {"a": 1}, 415),
        ("POST", "/api/conversations/none/messages/none/correct", {"answer": "x"}, 404),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(desk: Desk, method: str, path: str, body: Any, status: int) -> None:
    given = desk(method, path, json=body) if body is not None else desk(method, path)
    assert given.status_code == status and given.get_json()["error"]["message"]


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"", "a.csv"), (b"a,b\n1,2\n", "a.csv"), (b"PK\x03\x04broken", "a.xlsx"), (b"\xd0\xcf\x11\xe0" * 9, "a.xls"), (b"\x00\x01" * 900, "a.csv")],
)
def test_a_file_that_is_none_is_refused(desk: Desk, data: bytes, name: str) -> None:
    told = desk.load(data, name)
    assert told.status_code == 400 and told.get_json()["error"]["code"] in ("no_answer_column", "unreadable_file")


def test_a_deleted_knowledge_base_takes_its_entries_along(desk: Desk) -> None:
    desk.add(**LEAVE, approve=True)
    assert desk("DELETE", "/api/knowledge-bases/kb").status_code == 204
    desk.work()
    from qzbrain.storage.tables import chunks, documents, entries, entry_versions

    for table in (entries, entry_versions, documents, chunks):
        assert desk.brain.db.rows(select(table)) == []
