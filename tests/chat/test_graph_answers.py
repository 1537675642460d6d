"""The rung `graph`: what a knowledge graph answers, how it is said and cited, and that nothing else becomes worse by it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from qzbrain.brain import Brain, build
from qzbrain.chat.plan import Ask
from qzbrain.domain import Answer, Caller, Citation
from qzbrain.errors import EngineUnavailable, StorageBusy
from qzbrain.graph.base import Fact, Place
from qzbrain.knowledge.facts_due import FactsDue
from qzbrain.models.base import ChatMessage
from qzbrain.settings import ModelSettings, Settings
from qzbrain.storage.tables import graph_told
from qzbrain.worker import work_inline
from tests.chat.conftest import answer_of
from tests.engine import Engine

NOTE = "# 影片手记\n\n《无间道》由刘伟强执导，片长一百零一分钟。\n\n刘伟强的出生地是香港。\n"
LAW = "# 采购办法\n\n第一条 为了规范采购，制定本办法。\n\n第二条 采购须经董事会批准。\n\n第三条 违反第二条的，处以罚款。\n"
FILMS = (
    ("无间道", "导演", "刘伟强"), ("无间道", "主演", "刘德华"), ("无间道", "主演", "梁朝伟"), ("刘德华", "妻子", "朱丽倩"),
    ("刘德华", "出生日期", "1961年9月27日"), ("梁朝伟", "妻子", "刘嘉玲"), ("花样年华", "主演", "梁朝伟"), ("春光乍泄", "主演", "梁朝伟"),
    ("Old Bridge", "architect", "Anna Holm"),
)  # fmt: skip


def said(quote: str, document_id: str) -> Place:
    start = NOTE.index(quote)
    return Place("llm:m", document_id, 0, start, start + len(quote), quote)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Brain]:
    """Knowledge base `films`: imported facts, and two that a document says; `fresh`: facts that are told as no text; `laws`: a law, and no facts."""
    model = ModelSettings(engine="external", base_url=engine.base_url, first_token_timeout_s=2, idle_timeout_s=2)
    brain = build(Settings(qzbrain_data=tmp_path_factory.mktemp("graphs"), qzbrain_embedder="none", models={"m": model}))
    me = brain.access.local_caller("zh")
    for name in ("films", "fresh", "laws"):
        brain.knowledge.create(me, name=name)
    kb_id = brain.access.resolve(me, ["films"])[0].id
    document = brain.knowledge.add_text(me, "films", "note.md", NOTE).id
    brain.knowledge.add_text(me, "laws", "law.md", LAW)
    settle(brain)
    brain.graph.add(kb_id, [Fact(h, r, t, Place("import", source="films.csv")) for h, r, t in FILMS])
    brain.graph.add(kb_id, in_the_note(document or ""))
    settle(brain, told=6)
    brain.graph.add(brain.access.resolve(me, ["fresh"])[0].id, [Fact("晨光公司", "董事长", "李明", Place("import", source="staff.csv"))])
    yield brain
    brain.close()


def in_the_note(document_id: str) -> list[Fact]:
    """What is said there, as a model would find it."""
    found = (("无间道", "片长", "一百零一分钟", "片长一百零一分钟"), ("刘伟强", "出生地", "香港", "刘伟强的出生地是香港。"))
    return [Fact(head, relation, tail, said(quote, document_id)) for head, relation, tail, quote in found]


def settle(brain: Brain, *, told: int = 0) -> None:
    """Have documents read, and the facts of so many entities told as texts."""
    due = FactsDue(brain.db, brain.jobs)

    def there() -> bool:
        due.look()
        return int(brain.db.rows(select(func.count()).select_from(graph_told))[0][0]) >= told

    work_inline(brain, there)
    work_inline(brain, lambda: not [job for job in brain.knowledge.jobs(brain.access.local_caller()).data if job.status in ("pending", "running")])


@pytest.fixture
def me(graphs: Brain) -> Caller:
    return graphs.access.local_caller("zh")


def ask(brain: Brain, question: str, model: str = "extractive@films", *, before: tuple[str, ...] = ()) -> Answer:
    history = [ChatMessage("user", one) for one in before]
    caller = brain.access.local_caller("zh")
    return answer_of(list(brain.chat.answer(brain.chat.begin(caller, Ask(question, model=model, history=history, origin="api")))))


def cited(answer: Answer) -> list[Citation]:
    return [one for one in answer.citations if one.cited]


def check_quotes(brain: Brain, answer: Answer) -> None:
    """What every citation with a document promises."""
    for one in answer.citations:
        if one.document_id:
            assert brain.knowledge.content(brain.access.local_caller(), one.document_id)[one.start : one.end] == one.quote
    assert [one.index for one in answer.citations] == list(range(1, len(answer.citations) + 1))
    for one in answer.citations:
        assert one.cited is (f"[{one.index}]" in answer.answer)


def test_one_fact_is_a_sentence_with_its_source(graphs: Brain) -> None:
    answer = ask(graphs, "《无间道》的导演是谁？")
    assert (answer.rung, answer.answer) == ("graph", "《无间道》的导演是刘伟强[1]。")
    assert answer.confidence is not None and answer.confidence >= 0.6
    assert "知识图谱" in answer.rung_reason and "1 条事实" in answer.rung_reason
    (one,) = cited(answer)
    assert (one.title, one.quote, one.supported) == ("知识图谱：无间道", "无间道的导演：刘伟强。", True)
    assert [(x.knowledge_base, x.head, x.relation, x.tail, x.source) for x in one.facts] == [("films", "无间道", "导演", "刘伟强", "films.csv")]
    check_quotes(graphs, answer)


def test_what_texts_say_stays_among_the_sources(graphs: Brain) -> None:
    answer = ask(graphs, "《无间道》的导演是谁？")
    others = [one for one in answer.citations if not one.cited]
    assert any("由刘伟强执导" in one.quote and not one.facts for one in others)


def test_a_list_names_each_with_one_mark_for_one_source(graphs: Brain) -> None:
    answer = ask(graphs, "无间道的主演有哪些？")
    assert (answer.rung, answer.answer) == ("graph", "无间道的主演是刘德华、梁朝伟[1]。")
    assert len(cited(answer)[0].facts) == 2
    check_quotes(graphs, answer)


def test_a_count_comes_with_what_is_counted(graphs: Brain) -> None:
    answer = ask(graphs, "梁朝伟主演了几部电影？")
    assert answer.rung == "graph"
    assert answer.answer == "主演是梁朝伟的共有 3 部：无间道[1]、花样年华[2]、春光乍泄[3]。"
    check_quotes(graphs, answer)


def test_a_fact_of_a_document_is_cited_at_its_place(graphs: Brain) -> None:
    answer = ask(graphs, "刘伟强的出生地是哪里？")
    assert (answer.rung, answer.answer) == ("graph", "刘伟强的出生地是香港[1]。")
    (one,) = cited(answer)
    assert (one.document, one.quote, one.heading_path) == ("note.md", "刘伟强的出生地是香港。", ("影片手记",))
    assert one.url == f"/documents/{one.document_id}?start={one.start}&end={one.end}"
    check_quotes(graphs, answer)


def test_a_place_that_no_longer_says_so_is_not_cited(graphs: Brain, me: Caller) -> None:
    kb_id = graphs.access.resolve(me, ["films"])[0].id
    document = next(one for one in graphs.knowledge.documents(me, "films").data if one.name == "note.md").id
    graphs.graph.add(kb_id, [Fact("无间道", "票房", "五千五百万", Place("llm:m", document, 0, 3, 9, "不在这里的话"))])
    try:
        answer = ask(graphs, "无间道的票房是多少？")
        assert answer.rung != "graph" and "五千五百万" not in answer.answer
    finally:
        graphs.graph.forget_document(kb_id, document, extractor="llm:m")
        graphs.graph.add(kb_id, in_the_note(document))


def test_what_is_not_told_as_a_text_yet_is_cited_as_imported(graphs: Brain) -> None:
    answer = ask(graphs, "晨光公司的董事长是谁？", "extractive@fresh")
    assert (answer.rung, answer.answer) == ("graph", "晨光公司的董事长是李明[1]。")
    (one,) = cited(answer)
    assert (one.document_id, one.title, one.quote) == ("", "staff.csv", "晨光公司 | 董事长 | 李明")
    assert one.url == f"/graph/fresh?entity={one.facts[0].head_id}"


def test_only_knowledge_bases_of_the_turn_are_asked(graphs: Brain) -> None:
    answer = ask(graphs, "晨光公司的董事长是谁？")
    assert answer.rung != "graph" and "李明" not in answer.answer
    assert ask(graphs, "晨光公司的董事长是谁？", "extractive@films,fresh").rung == "graph"


def test_english_is_answered_in_english(graphs: Brain) -> None:
    answer = ask(graphs, "Who is the architect of Old Bridge?")
    assert (answer.rung, answer.answer) == ("graph", "The architect of Old Bridge is Anna Holm[1].")


def test_a_follow_up_means_who_was_spoken_of(graphs: Brain) -> None:
    assert ask(graphs, "那他的妻子呢？", before=("刘德华的出生日期是什么时候？",)).answer == "刘德华的妻子是朱丽倩[1]。"
    assert ask(graphs, "那他的妻子呢？").rung != "graph"


def test_a_follow_up_in_a_conversation(graphs: Brain, me: Caller) -> None:
    first = graphs.chat.begin(me, Ask("刘德华的出生日期是什么时候？", model="extractive@films"))
    assert answer_of(list(graphs.chat.answer(first))).answer == "刘德华的出生日期是1961年9月27日[1]。"
    second = graphs.chat.begin(me, Ask("那他的妻子呢？", conversation_id=first.conversation_id))
    answer = answer_of(list(graphs.chat.answer(second)))
    assert (answer.rung, answer.answer) == ("graph", "刘德华的妻子是朱丽倩[1]。")
    stored = graphs.chat.conversations.messages(me, first.conversation_id).data
    again = stored[-1].answer
    assert again is not None and again.citations == answer.citations and again.rung == "graph"


def test_ordinary_questions_are_not_the_graphs(graphs: Brain) -> None:
    for question in ("无间道好看吗？", "今天天气怎么样？", "请谈谈香港电影的发展", "谁写了红楼梦？"):
        assert ask(graphs, question).rung != "graph", question
    of_articles = ("采购办法第二条规定了什么？", "采购要谁批准？", "违反第二条的怎么处罚？", "哪些条款引用了采购办法第二条？")
    for question in (*of_articles, "采购办法包含哪些内容？", "采购办法有几条？"):
        answer = ask(graphs, question, "extractive@laws")
        assert answer.rung in ("extractive", "refused"), (question, answer.answer)


def test_a_language_model_is_shown_the_facts_and_cites_them(graphs: Brain, engine: Engine) -> None:
    engine.script(["《无间道》由刘伟强导演", "[1]。"])
    answer = ask(graphs, "《无间道》的导演是谁？", "m@films")
    assert (answer.rung, answer.answer) == ("model", "《无间道》由刘伟强导演[1]。")
    assert answer.citations[0].facts and answer.citations[0].cited and answer.citations[0].supported
    prompt = engine.requests[-1].body["messages"][-1]["content"]
    assert "<<<[1] 知识图谱：无间道\n知识图谱中的事实: 无间道 | 导演 | 刘伟强\n无间道的导演：刘伟强。\n>>>" in prompt
    assert "<<<[2] " in prompt


def test_where_the_model_fails_the_graph_answers(graphs: Brain, engine: Engine) -> None:
    engine.script(status=500)
    answer = ask(graphs, "《无间道》的导演是谁？", "m@films")
    assert (answer.rung, answer.answer) == ("graph", "《无间道》的导演是刘伟强[1]。")
    assert [one.part for one in answer.degraded] == ["model m"]


def test_a_model_that_breaks_off_is_followed_by_texts_with_their_own_numbers(graphs: Brain, engine: Engine) -> None:
    engine.script(["导演", "是"], fault="close", after=2)
    answer = ask(graphs, "《无间道》的导演是谁？", "m@films")
    assert answer.rung == "extractive" and "在此处中断" in answer.answer
    shown = [one for one in answer.citations if one.cited]
    assert shown and all(not one.facts for one in shown)
    check_quotes(graphs, answer)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (EngineUnavailable(zh="图谱服务连不上。", en="The graph service cannot be reached."), "The graph service cannot be reached."),
        (StorageBusy(), "busy"),
        (RuntimeError("broken"), "failed"),
    ],
)
def test_a_graph_that_fails_breaks_no_answer(graphs: Brain, monkeypatch: pytest.MonkeyPatch, fault: Exception, reason: str) -> None:
    def broken(*_given: object, **_named: object) -> None:
        raise fault

    monkeypatch.setattr(graphs.graph_service, "answer", broken)
    answer = ask(graphs, "《无间道》的导演是谁？")
    assert answer.rung == "extractive" and "刘伟强" in answer.answer
    (one,) = answer.degraded
    assert one.part == "graph" and reason in one.reason


def test_a_graph_that_is_slow_is_not_waited_for(graphs: Brain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qzbrain.chat.known.PATIENCE_S", 0.05)
    monkeypatch.setattr(graphs.graph_service, "answer", lambda *_given, **_named: time.sleep(1))
    answer = ask(graphs, "《无间道》的导演是谁？")
    assert answer.rung == "extractive"
    assert [one.part for one in answer.degraded] == ["graph"]
    assert answer.timings["graph_ms"] < 900


def test_a_graph_that_leads_to_no_passages_breaks_no_search(graphs: Brain, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_given: object, **_named: object) -> None:
        raise EngineUnavailable(zh="图谱服务连不上。", en="The graph service cannot be reached.")

    monkeypatch.setattr(graphs.passage_graphs, "near", away)
    monkeypatch.setattr(graphs.graph_service, "answer", away)
    answer = ask(graphs, "《无间道》的导演是谁？")
    assert answer.rung == "extractive" and [one.part for one in answer.degraded] == ["graph"]


def test_it_is_switched_off_by_a_threshold_of_zero(graphs: Brain, tmp_path: Path) -> None:
    off = build(graphs.settings.model_copy(update={"qzbrain_graph_answer": 0.0}))
    answer = ask(off, "《无间道》的导演是谁？")
    assert answer.rung == "extractive" and not any(one.facts for one in answer.citations)
    off.close()


def test_a_filter_by_documents_is_one_for_the_graph_too(graphs: Brain, me: Caller) -> None:
    kb_id = graphs.access.resolve(me, ["films"])[0].id
    document = next(one for one in graphs.knowledge.documents(me, "films").data if one.name == "note.md").id
    scope = graphs.access.scope(me, [kb_id], [document])
    names = {kb_id: "films"}
    look = graphs.graph_knowledge.look
    assert look("刘伟强的出生地是哪里？", (), scope, names, None), "the document says so"
    assert not look("《无间道》的导演是谁？", (), scope, names, None), "this comes from a file"
    assert not look("梁朝伟主演了几部电影？", (), scope, names, None)
