"""The graph over HTTP: import, look, merge, ask; and what is refused."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from qzbrain.brain import Brain
from qzbrain.worker import Workplace

COMPANY = (
    "head,relation,tail,head_type,aliases\n晨光公司,董事长,李明,公司,晨光|晨光集团\n晨光公司,股票代码,600123,公司,\n"
    "晨光公司,高管,王芳,公司,\n晨光公司,高管,赵刚,公司,\n晨光公司,所属行业,造纸,公司,\n恒丰公司,所属行业,造纸,公司,\n李明,出生地,杭州,人,\n"
)


@pytest.fixture
def asked(brain: Brain, client: FlaskClient) -> Iterator[Any]:
    client.post("/api/knowledge-bases", json={"name": "kb"})
    place = Workplace(brain)

    def ask(method: str, path: str, **options: Any) -> Any:
        return client.open(path, method=method, headers={"Accept-Language": "en"}, **options)

    def load(text: str | bytes, name: str = "a.csv", query: str = "") -> dict[str, Any]:
        data = {"file": (io.BytesIO(text.encode() if isinstance(text, str) else text), name)}
        started = ask("POST", f"/api/graph/kb/import{query}", data=data, content_type="multipart/form-data")
        assert started.status_code == 202, started.get_json()
        brain.jobs.drain(place.kinds) if hasattr(brain.jobs, "drain") else brain.jobs.run(place.kinds, _once(brain))
        job_id = started.get_json()["job_id"]
        found: dict[str, Any] = next(one for one in ask("GET", "/api/jobs").get_json()["data"] if one["id"] == job_id)
        return found

    ask.load = load  # type: ignore[attr-defined]
    yield ask
    place.close()


def _once(brain: Brain) -> Any:
    def over() -> bool:
        rows = brain.db.engine.connect().exec_driver_sql("select count(*) from jobs where status in ('pending','running')").scalar()
        return not rows

    return over


def test_triples_come_in_and_questions_are_answered(asked: Any) -> None:
    job = asked.load(COMPANY)
    assert (job["status"], job["result"]) == ("done", {"triples": 7, "entities": 8, "relations": 5, "errors": []})
    assert asked("GET", "/api/graph/kb/stats").get_json() == {"entities": 9, "relations": 5, "triples": 7, "mentions": 7, "version": 1}
    told = asked("POST", "/chat-process-txt", json={"text": "请问晨光集团的董事长是谁？"}).get_json()
    assert told["code"] == 0 and told["version"] == 1
    assert [(e["name"], e["mention"], e["type"]) for e in told["entities"]] == [("晨光公司", "晨光集团", "公司")]
    assert "请问晨光集团的董事长是谁？"[told["entities"][0]["start"] : told["entities"][0]["end"]] == "晨光集团"
    first = told["triples"][0]
    assert (first["head"], first["relation"], first["tail"], first["source"]) == ("晨光公司", "董事长", "李明", None)
    assert "晨光公司 的 董事长：李明" in told["context"]


@pytest.mark.parametrize("key", ["text", "query", "question", "prompt"])
def test_the_question_has_four_names(asked: Any, key: str) -> None:
    asked.load(COMPANY)
    told = asked("POST", "/chat-process-txt", json={key: "股票代码600123的公司的董事长是谁", "kb_ids": ["kb"], "top_k": 3, "unknown": 1}).get_json()
    assert told["triples"][0]["tail"] == "李明" and len(told["triples"]) <= 3


def test_hops_and_modes_of_the_service(asked: Any) -> None:
    asked.load(COMPANY)

    def told(**more: Any) -> list[tuple[str, str]]:
        reply = asked("POST", "/chat-process-txt", json={"text": "股票代码600123的公司的董事长是谁", **more})
        assert reply.status_code == 200
        return [(one["relation"], one["tail"]) for one in reply.get_json()["triples"]]

    assert told(mode="answer", hops=2) == told(mode="answer", hops=3) == [("董事长", "李明"), ("股票代码", "600123")]
    assert told(mode="answer", hops=1) == [("股票代码", "600123")]
    assert told(mode="around", hops=3) == [("股票代码", "600123")]
    assert told(mode="fast") == told(mode=None) == told(mode="auto")
    assert told(mode="auto")[0] == told()[0] == ("董事长", "李明")


def test_words_are_set_for_relations(asked: Any) -> None:
    asked.load(COMPANY)
    told = asked("GET", "/api/graph/kb/relations").get_json()["data"]
    assert {"relation": "董事长", "triples": 1, "forward_cues": [], "backward_cues": []} in told and len(told) == 5
    assert [one["triples"] for one in told] == sorted((one["triples"] for one in told), reverse=True)
    put = asked("PUT", "/api/graph/kb/relations/董事长", json={"forward_cues": ["谁说了算", " 谁说了算 "], "backward_cues": ["说了算的是哪家"]})
    assert (put.status_code, put.get_json()) == (
        200,
        {"relation": "董事长", "triples": 1, "forward_cues": ["谁说了算"], "backward_cues": ["说了算的是哪家"]},
    )
    assert put.get_json() in asked("GET", "/api/graph/kb/relations").get_json()["data"]
    body = {"text": "晨光公司谁说了算", "mode": "answer"}
    assert [one["tail"] for one in asked("POST", "/chat-process-txt", json=body).get_json()["triples"]] == ["李明"]
    assert asked("PUT", "/api/graph/kb/relations/董事长", json={}).get_json()["forward_cues"] == []
    assert asked("POST", "/chat-process-txt", json=body).get_json()["triples"] == []


def test_a_relation_with_a_slash_in_its_label(asked: Any) -> None:
    asked.load("head,relation,tail\n甲车,百公里/油耗,7升\n")
    assert asked("PUT", "/api/graph/kb/relations/百公里%2F油耗", json={"forward_cues": ["费油"]}).get_json()["relation"] == "百公里/油耗"


def test_entities_neighbors_and_ways(asked: Any) -> None:
    asked.load(COMPANY)
    ids = {name: asked("GET", f"/api/graph/kb/search?q={name}").get_json()["data"][0]["id"] for name in ("晨光公司", "恒丰公司", "杭州", "造纸")}
    entity = asked("GET", f"/api/graph/kb/entities/{ids['晨光公司']}").get_json()
    assert (entity["name"], entity["degree"], sorted(entity["aliases"])) == ("晨光公司", 5, ["晨光", "晨光集团"])
    around = asked("GET", f"/api/graph/kb/neighbors?id={ids['造纸']}&depth=1").get_json()["data"]
    assert {one["head"]["name"] for one in around} == {"晨光公司", "恒丰公司"}
    only = asked("GET", f"/api/graph/kb/neighbors?id={ids['晨光公司']}&relation=高管&limit=1").get_json()["data"]
    assert [(one["relation"], one["tail"]["name"]) for one in only] == [("高管", "王芳")]
    way = asked("GET", f"/api/graph/kb/path?from={ids['恒丰公司']}&to={ids['杭州']}&max_hops=4").get_json()
    assert way["found"] and [one["relation"] for one in way["data"]] == ["所属行业", "所属行业", "董事长", "出生地"]
    assert asked("GET", f"/api/graph/kb/path?from={ids['恒丰公司']}&to={ids['杭州']}&max_hops=3").get_json() == {"found": False, "data": []}


def test_what_is_exported_can_be_imported_again(asked: Any) -> None:
    asked.load(COMPANY)
    text = asked("GET", "/api/graph/kb/export?format=csv").get_data(as_text=True)
    assert len(list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))) == 8
    asked.load(text)
    assert asked("GET", "/api/graph/kb/stats").get_json()["triples"] == 7
    assert asked("GET", "/api/graph/kb/export?format=graphml").get_data().startswith(b"<?xml")


def test_a_dry_run_changes_nothing_and_tells_bad_rows(asked: Any) -> None:
    job = asked.load("head,relation,tail\n甲,与,乙\n,与,丙\n", query="?dry_run=1")
    assert job["result"]["triples"] == 1 and [one["row"] for one in job["result"]["errors"]] == [3] and "head" in job["result"]["errors"][0]["message"]
    assert asked("GET", "/api/graph/kb/stats").get_json()["triples"] == 0


def test_other_encodings_are_read(asked: Any) -> None:
    assert asked.load("主体,关系,客体\n高血压,症状,头晕\n糖尿病,症状,多饮\n".encode("gb18030"))["result"]["triples"] == 2


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02" * 400, b"one column\n"])
def test_a_file_without_triples_fails_with_its_reason(asked: Any, content: bytes) -> None:
    job = asked.load(content)
    assert job["status"] == "failed" and job["reason"]["code"] in ("no_triples", "garbled") and job["reason"]["message"]


def test_merging_and_undoing(asked: Any) -> None:
    asked.load("head,relation,tail\n清华大学,所在地,北京\n清华,建校时间,1911年\n")
    ids = {name: asked("GET", f"/api/graph/kb/search?q={name}").get_json()["data"][0]["id"] for name in ("清华大学", "清华")}
    merged = asked("POST", "/api/graph/kb/merge", json={"keep": ids["清华大学"], "merge": [ids["清华"]]}).get_json()
    assert merged["entity"]["aliases"] == ["清华"] and merged["entity"]["degree"] == 2
    assert asked("POST", "/chat-process-txt", json={"text": "清华大学的建校时间"}).get_json()["triples"][0]["tail"] == "1911年"
    assert asked("POST", f"/api/graph/kb/merge/{merged['merge_id']}/undo").status_code == 204
    assert asked("GET", f"/api/graph/kb/entities/{ids['清华']}").get_json()["name"] == "清华"
    assert asked("POST", f"/api/graph/kb/merge/{merged['merge_id']}/undo").status_code == 409


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/graph/none/stats", None, 404), ("GET", "/api/graph/kb/entities/99", None, 404), ("GET", "/api/graph/kb/entities/x", None, 400),
        ("GET", "/api/graph/kb/search?q=", None, 400), ("GET", "/api/graph/kb/neighbors?id=1&depth=9", None, 400),
        ("GET", "/api/graph/kb/path?from=1", None, 400),
        ("GET", "/api/graph/kb/path?from=1&to=2", None, 404), ("GET", "/api/graph/kb/export?format=xml", None, 400),
        ("POST", "/api/graph/kb/merge", {"keep": "1", "merge": []}, 400), ("POST", "/api/graph/kb/merge", {"keep": "1", "merge": ["2"]}, 404),
        ("POST", "/api/graph/kb/merge/none/undo", None, 404), ("POST", "/chat-process-txt", {}, 400), ("POST", "/chat-process-txt", {"text": " "}, 400),
        ("POST", "/chat-process-txt", {"text": "x" * 20_001}, 400), ("POST", "/chat-process-txt", {"text": "x", "top_k": 0}, 400),
        ("POST", "/chat-process-txt", {"text": "x", "hops": 0}, 400), ("POST", "/chat-process-txt", {"text": "x", "hops": 4}, 400),
        ("POST", "/chat-process-txt", {"text": "x", "hops": "many"}, 400), ("POST", "/chat-process-txt", {"text": "x", "mode": 3}, 400),
        ("GET", "/api/graph/none/relations", None, 404), ("PUT", "/api/graph/kb/relations/none", {"forward_cues": ["x"]}, 404),
        ("PUT", "/api/graph/kb/relations/none", {"forward_cues": [" "]}, 400), ("PUT", "/api/graph/kb/relations/none", {"forward_cues": "x"}, 400),
        ("PUT", "/api/graph/kb/relations/none", {"cues": ["x"]}, 400), ("PUT", "/api/graph/kb/relations/none", {"backward_cues": ["长" * 65]}, 400),
        ("POST", "/chat-process-txt", {"text": "x", "kb_ids": ["none"]}, 404), ("POST", "/api/graph/kb/import", {"a": 1}, 415),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(asked: Any, method: str, path: str, body: Any, status: int) -> None:
    given = asked(method, path, json=body) if body is not None else asked(method, path)
    assert given.status_code == status and given.get_json()["error"]["message"]


def test_a_text_that_names_nothing_finds_nothing(asked: Any) -> None:
    told = asked("POST", "/chat-process-txt", json={"text": "你好"}).get_json()
    assert (told["code"], told["entities"], told["triples"], told["context"]) == (0, [], [], "")


def test_an_overview_and_an_entitys_relations(asked: Any) -> None:
    asked.load(COMPANY)
    told = asked("GET", "/api/graph/kb/overview?limit=2").get_json()
    assert told["types"] == [{"type": "", "entities": 5}, {"type": "公司", "entities": 2}, {"type": "人", "entities": 1}]
    assert told["relations"][:2] == [{"relation": "所属行业", "triples": 2}, {"relation": "高管", "triples": 2}]
    assert [(one["name"], one["degree"]) for one in told["entities"]] == [("晨光公司", 5), ("造纸", 2)]
    entity = asked("GET", f"/api/graph/kb/entities/{told['entities'][0]['id']}").get_json()
    assert {"relation": "高管", "direction": "out", "triples": 2} in entity["relations"] and sum(one["triples"] for one in entity["relations"]) == 5
    assert asked("GET", "/api/graph/kb/overview?limit=0").status_code == 400
    assert asked("GET", "/api/graph/none/overview").status_code == 404


def test_an_empty_graph_has_an_empty_overview(asked: Any) -> None:
    assert asked("GET", "/api/graph/kb/overview").get_json() == {"types": [], "relations": [], "entities": []}


def test_one_thing_that_came_with_and_without_a_type_is_shown_as_one(asked: Any) -> None:
    asked.load(COMPANY)
    (person,) = asked("GET", "/api/graph/kb/search?q=李明").get_json()["data"]
    assert (person["type"], person["degree"]) == ("人", 2)
    around = asked("GET", f"/api/graph/kb/neighbors?id={person['id']}").get_json()["data"]
    assert {one["relation"] for one in around} == {"董事长", "出生地"}
    assert all(person["id"] in (one["head"]["id"], one["tail"]["id"]) for one in around)
