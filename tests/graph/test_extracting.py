"""Facts by a language model, as jobs: what comes in, what is refused, what a second run costs, what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from qzbrain.graph.base import Stats
from qzbrain.knowledge.packs.writing import Choice
from qzbrain.storage.tables import graph_extractions
from tests.engine import Engine, Script
from tests.graph.conftest import Extracting
from tests.graph.reading_model import passages, read, reply

FILLING = "本段说明公司的日常经营情况，包括采购、销售、仓储与售后服务，相关制度由各部门分别制定并执行。"


def document(*companies: str, filling: int = 6) -> str:
    """A text of several chunks, each company with two facts."""
    parts = []
    for name in companies:
        parts.append(f"{name}的董事长是{name[0]}明。{FILLING * filling}\n\n{name}的所在地是{name[1]}州。{FILLING * filling}")
    return "\n\n".join(parts)


def test_facts_come_with_their_quotes(extracting: Extracting, engine: Engine) -> None:
    text = document("晨光公司", "恒丰公司")
    document_id = extracting.add("a.txt", text)
    job = extracting.extract()
    assert job.status == "done" and job.result is not None, job
    assert (job.result["triples"], job.result["documents"], job.result["failed_chunks"], job.result["rejected"]) == (4, 1, 0, {})
    whole = extracting.brain.knowledge.content(extracting.caller, document_id)
    found = list(extracting.brain.graph.every_triple(extracting.kb_id))
    assert {(t.head.name, t.relation, t.tail.name) for t in found} >= {("晨光公司", "董事长", "晨明"), ("恒丰公司", "所在地", "丰州")}
    for triple in found:
        for place in triple.places:
            assert whole[place.start : place.end] == place.quote and place.document_id == document_id
            assert (place.extractor, place.confidence) == ("llm:scripted", 0.9)
    sent = engine.requests[0].body
    assert sent["response_format"]["type"] == "json_schema" and sent["temperature"] == 0 and "日常经营" in sent["messages"][1]["content"]


def test_a_second_run_costs_nothing(extracting: Extracting, engine: Engine) -> None:
    extracting.add("a.txt", document("晨光公司", "恒丰公司", "宏远公司"))
    before = extracting.brain.extractions.cost(extracting.kb_id)
    assert before.calls > 1 and before.cached_calls == 0 and before.basis == "assumed" and before.estimate_s > 0 and before.prompt_tokens > 500
    assert engine.requests == []
    assert extracting.extract().result["calls"] == before.calls  # type: ignore[index]
    asked, content = len(engine.requests), extracting.content()
    after = extracting.brain.extractions.cost(extracting.kb_id)
    assert (after.cached_calls, after.prompt_tokens, after.completion_tokens, after.estimate_s, after.basis) == (after.calls, 0, 0, 0.0, "measured")
    again = extracting.extract()
    assert again.result is not None and (again.result["calls"], again.result["cached_calls"]) == (0, after.calls)
    assert len(engine.requests) == asked and extracting.content() == content


def test_deletion_is_exact_and_what_comes_again_costs_nothing(extracting: Extracting, engine: Engine) -> None:
    first = extracting.add("a.txt", document("晨光公司", "恒丰公司"))
    extracting.extract()
    alone = extracting.content()
    second = extracting.add("b.txt", document("恒丰公司", "宏远公司"))
    extracting.extract()
    both = extracting.content()
    assert len(both) > len(alone)
    graph = extracting.brain.graph
    graph.forget_document(extracting.kb_id, second)
    assert extracting.content() == alone
    asked = len(engine.requests)
    extracting.extract(document_ids=[second])
    assert extracting.content() == both and len(engine.requests) == asked
    for one in (first, second):
        graph.forget_document(extracting.kb_id, one)
    left = graph.stats(extracting.kb_id)
    assert Stats(left.entities, left.relations, left.triples, left.mentions) == Stats()


def test_a_deleted_document_takes_its_replies_along(extracting: Extracting) -> None:
    document_id = extracting.add("a.txt", document("晨光公司"))
    extracting.extract()
    assert extracting.brain.db.rows(select(graph_extractions.c.key))
    extracting.brain.knowledge.delete_document(extracting.caller, document_id)
    assert extracting.brain.db.rows(select(graph_extractions.c.key)) == []
    assert b"\xe6\x99\xa8\xe6\x98\x8e" not in b"".join(x.reply.encode() for x in extracting.brain.db.rows(select(graph_extractions.c.reply)))


def test_a_changed_document_has_its_changed_passages_read_alone(extracting: Extracting, engine: Engine) -> None:
    names = [f"{a}{b}公司" for a in "晨恒宏远东西" for b in "光丰达胜"]
    document_id = extracting.add("a.txt", document(*names))
    other = extracting.add("b.txt", document("永安公司"))
    extracting.extract()
    asked, content = len(engine.requests), extracting.content()
    chunk = next(x for x in extracting.brain.knowledge.chunks(extracting.caller, document_id, limit=1000).data if "恒达公司的董事长" in x.text)
    changed = chunk.text.replace("恒达公司的董事长是恒明", "恒达公司的董事长是赵刚强")
    extracting.brain.knowledge.edit_chunk(extracting.caller, document_id, chunk.id, text=changed)
    extracting.work()
    job = extracting.extract()
    assert job.result is not None and 1 <= len(engine.requests) - asked <= 2 and job.result["cached_calls"] > 5
    fresh = extracting.content()
    assert {x[4] for x in fresh} - {x[4] for x in content} == {"赵刚强"}  # type: ignore[index]
    whole = extracting.brain.knowledge.content(extracting.caller, document_id)
    for triple in extracting.brain.graph.every_triple(extracting.kb_id):
        assert all(p.document_id == other or whole[p.start : p.end] == p.quote for p in triple.places)
        assert triple.tail.name != "恒明" or triple.head.name != "恒达公司"


def spoiled(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], list[str]]:
    """A model whose reply is changed before it is sent."""

    def answer(body: dict[str, Any]) -> list[str]:
        said = read(body)
        change(said)
        return [json.dumps(said)]

    return answer


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("quote_not_found", {"quote": "这句话不在文中。"}), ("quote_not_found", {"quote": "晨光公司 的董事长"}), ("no_quote", {"quote": " "}),
        ("empty", {"s": " "}), ("empty", {"p": ""}), ("unknown_entity", {"o": "不在表中的人"}), ("unknown_chunk", {"chunk": 99}),
        ("unknown_chunk", {"chunk": None}), ("malformed", {"quote": 7}), ("unfit", {"p": "长" * 300}), ("same_entity", {"o": "晨光公司"}),
        ("unfit", {"s": "坏\x00名"}), ("unfit", {"quote": "\ud800"}),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_refused_and_counted(extracting: Extracting, engine: Engine, reason: str, change: dict[str, Any]) -> None:
    extracting.add("a.txt", document("晨光公司", filling=1))
    engine.script(answer=spoiled(lambda said: said["triples"][0].update(change)))
    job = extracting.extract()
    assert job.status == "done" and job.result is not None
    assert (job.result["triples"], job.result["rejected"]) == (1, {reason: 1})
    assert [t.relation for t in extracting.brain.graph.every_triple(extracting.kb_id)] == ["所在地"]


def test_an_engine_without_schemas_is_asked_without(extracting: Extracting, engine: Engine) -> None:
    extracting.add("a.txt", document("晨光公司", "恒丰公司", "宏远公司"))

    def answer(body: dict[str, Any]) -> Script | list[str]:
        if "response_format" in body:
            return Script(status=400, message="response_format is not supported")
        return ["<think>先想一想 {\"a\": 1}</think>好的：\n```json\n", *reply(body), "\n```\n以上。"]

    engine.script(answer=answer)
    job = extracting.extract()
    assert job.status == "done" and job.result is not None and job.result["triples"] == 6
    assert sum("response_format" in one.body for one in engine.requests) <= 4  # each call under way when it was found out


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "garbage"}, {"texts": ["对不起，我做不到。"]}, {"texts": ['{"entities": [{"name": "晨光公司"']}, {"fault": "close", "after": 1},
        {"fault": "empty"},
    ],
)  # fmt: skip
def test_a_group_that_fails_is_counted_and_the_others_go_on(
    extracting: Extracting, engine: Engine, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr("qzbrain.graph.asking.MOST_PAUSE_S", 0.01)
    extracting.add("a.txt", document("晨光公司", "恒丰公司", "宏远公司", filling=10))

    def answer(body: dict[str, Any]) -> Script | list[str]:
        return Script(**fault) if any("恒丰公司的董事长" in one for one in passages(body)) else reply(body)

    engine.script(answer=answer)
    job = extracting.extract()
    assert job.status == "done" and job.result is not None and job.result["failed_chunks"] > 0
    assert job.result["failures"][0]["en"] and job.result["failures"][0]["zh"]
    found = {(t.head.name, t.relation) for t in extracting.brain.graph.every_triple(extracting.kb_id)}
    assert ("宏远公司", "所在地") in found and ("恒丰公司", "董事长") not in found
    engine.script(answer=reply)
    asked = len(engine.requests)
    assert extracting.extract(model="scripted").result["failed_chunks"] == 0  # type: ignore[index]
    assert len(engine.requests) == asked + 1 and len(list(extracting.brain.graph.every_triple(extracting.kb_id))) == 6


def test_a_reply_that_is_too_long_is_asked_for_in_halves(extracting: Extracting, engine: Engine) -> None:
    extracting.add("a.txt", document("晨光公司", "恒丰公司"))

    def answer(body: dict[str, Any]) -> Script | list[str]:
        text = "".join(reply(body))
        return Script(texts=[text[: len(text) // 2]], finish_reason="length") if len(passages(body)) > 1 else [text]

    engine.script(answer=answer)
    job = extracting.extract()
    assert job.status == "done" and job.result is not None and (job.result["triples"], job.result["failed_chunks"]) == (4, 0)


@pytest.mark.parametrize("fault", [{"status": 500}, {"fault": "garbage"}, {"status": 503}])
def test_when_everything_fails_the_job_says_why(extracting: Extracting, engine: Engine, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]) -> None:
    monkeypatch.setattr("qzbrain.graph.asking.MOST_PAUSE_S", 0.01)
    extracting.add("a.txt", document(*(f"{a}光公司" for a in "晨恒宏远东西南北")))
    engine.script(**fault)
    job = extracting.extract()
    assert job.status == "failed" and job.reason_code == "extraction_failed" and job.reason_zh and "scripted" in str(job.reason_en)
    assert len(engine.requests) <= 40
    engine.script(answer=reply)
    extracting.brain.jobs.retry(job.id)
    extracting.work()
    assert extracting.brain.jobs.get(job.id).status == "done"
    assert extracting.brain.graph.stats(extracting.kb_id).triples == 16


def test_an_engine_that_is_full_for_a_moment_is_waited_for(extracting: Extracting, engine: Engine) -> None:
    extracting.add("a.txt", document("晨光公司", filling=1))
    refused: list[int] = []

    def answer(body: dict[str, Any]) -> Script | list[str]:
        if not refused:
            refused.append(1)
            return Script(status=429, headers=("retry-after: 1",))
        return reply(body)

    engine.script(answer=answer)
    job = extracting.extract()
    assert job.status == "done" and job.result is not None and job.result["triples"] == 2


def test_an_engine_that_hangs_ends_the_job(make_extracting: Callable[..., Extracting], engine: Engine) -> None:
    extracting = make_extracting(first_token_timeout_s=0.3, idle_timeout_s=0.3)
    extracting.add("a.txt", document("晨光公司", filling=1))
    engine.script(fault="silence")
    job = extracting.extract()
    assert job.status == "failed" and "no answer began" in str(job.reason_en)


def test_a_refused_connection_ends_the_job(extracting: Extracting, engine: Engine) -> None:
    extracting.add("a.txt", document("晨光公司", filling=1))
    engine.close()
    job_id = extracting.brain.extractions.submit(extracting.kb_id, model="scripted")
    extracting.work()
    assert extracting.brain.jobs.get(job_id).reason_code == "extraction_failed"


def test_new_documents_are_read_by_themselves_where_that_is_wanted(make_extracting: Callable[..., Extracting], engine: Engine) -> None:
    extracting = make_extracting({"graph_extract_model": "scripted"})
    extracting.add("a.txt", document("晨光公司", filling=1))
    assert extracting.brain.graph.stats(extracting.kb_id).triples == 2 and len(engine.requests) == 1
    extracting.add("b.txt", document("恒丰公司", filling=1))
    assert extracting.brain.graph.stats(extracting.kb_id).triples == 4 and len(engine.requests) == 2
    last = next(one for one in extracting.brain.jobs.jobs(limit=100).data if one.kind == "graph-extract")
    assert last.result is not None and (last.result["documents"], last.result["cached_calls"]) == (1, 0)  # the first document is not looked at again


def test_without_the_setting_nothing_is_read(extracting: Extracting, engine: Engine) -> None:
    extracting.add("a.txt", document("晨光公司"))
    assert engine.requests == []


def test_documents_of_a_pack_are_read_too_and_cost_nothing_where_they_were_read_before(
    make_extracting: Callable[..., Extracting], engine: Engine, tmp_path: Path
) -> None:
    extracting = make_extracting({"graph_extract_model": "scripted"})
    extracting.add("a.txt", document("晨光公司", filling=1))
    brain, pack = extracting.brain, tmp_path / "kb.qzkb"
    brain.packs.write(extracting.caller, "kb", pack, Choice(), lambda *_: None)
    job_id = brain.packs.submit_import(extracting.caller, pack, name="copy")
    extracting.work()
    assert brain.jobs.get(job_id).status == "done", brain.jobs.get(job_id)
    kb_id = brain.access.resolve(extracting.caller, ["copy"])[0].id
    assert brain.graph.stats(kb_id).triples == 2 and len(engine.requests) == 1
