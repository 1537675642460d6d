"""Joint search: order, scope, what is filled in, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from knowledge_rows import LAWS, Writer
from sqlalchemy import delete

from qzbrain.brain import Brain, build
from qzbrain.domain import ReadScope
from qzbrain.retrieval.base import LexicalHit, NoIndex
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.storage.tables import chunks
from tests.running import free_port


def test_a_hit_carries_where_it_stands(brain: Brain, write: Writer) -> None:
    document = write.put("办法", "采购管理办法", [("1", "第一条 为了规范采购。"), ("2", "第二条 采购金额超过五十万元的，须经董事会批准。")], external_id="p-7")
    write.catch_up("办法")
    result = brain.retriever.search(SearchQuery("谁批准五十万元以上的采购"), write.scope("办法"))
    hit = result.hits[0]
    assert (hit.document_id, hit.external_id, hit.document, hit.title, hit.knowledge_base) == (document, "p-7", "采购管理办法.md", "采购管理办法", "办法")
    assert (hit.heading_path, hit.ordinal, hit.sources["lexical"].rank) == (("采购管理办法",), 1, 1)
    assert result.answerable
    assert result.confidence == max(one.confidence for one in result.hits) >= brain.settings.answer_threshold
    assert [one.score for one in result.hits] == sorted((one.score for one in result.hits), reverse=True)
    assert result.degraded == ()


@pytest.mark.parametrize("question", ["", "的是什么？", "！@#￥%", "\x00\x07", "\ud800", "火星殖民计划的负责人", "a" * 20_000, "😀"])
def test_questions_that_find_nothing(brain: Brain, laws: Callable[[], Writer], question: str) -> None:
    result = brain.retriever.search(SearchQuery(question), laws().scope("laws"))
    assert not result.answerable
    assert result.confidence < brain.settings.answer_threshold


def test_nothing_readable_is_nothing_found(brain: Brain, laws: Callable[[], Writer]) -> None:
    laws()
    assert brain.retriever.search(SearchQuery("劳动合同"), ReadScope(())).hits == ()


def test_only_the_documents_in_scope(brain: Brain, write: Writer) -> None:
    for n in range(30):
        write.put("kb", f"甲{n}", [("", "消防检查的频次与消防检查的记录。")])
    wanted = write.put("kb", "乙", [("", "关于消防检查的一处提及，在一段讲其他事情的长文字之中，例如食堂、班车与停车。")])
    write.catch_up("kb")
    hits = brain.retriever.search(SearchQuery("消防检查", top_k=3), write.scope("kb", document_ids=[wanted])).hits
    assert [hit.document_id for hit in hits] == [wanted]


def test_deleted_rows_are_dropped_and_top_k_is_kept(brain: Brain, write: Writer) -> None:
    names = [write.put("kb", f"甲{n}", [("", f"消防检查的频次，第{n}组。")]) for n in range(40)]
    write.catch_up("kb")
    first = [hit.document_id for hit in brain.retriever.search(SearchQuery("消防检查", top_k=20), write.scope("kb")).hits]
    with brain.db.write() as connection:
        connection.execute(delete(chunks).where(chunks.c.document_id.in_(first)))
    hits = brain.retriever.search(SearchQuery("消防检查", top_k=20), write.scope("kb")).hits
    assert {hit.document_id for hit in hits} == set(names) - set(first)


def test_min_confidence_leaves_weak_hits_out(brain: Brain, laws: Callable[[], Writer]) -> None:
    scope = laws().scope("laws")
    every = brain.retriever.search(SearchQuery("劳动合同分为哪几种固定期限"), scope).hits
    some = brain.retriever.search(SearchQuery("劳动合同分为哪几种固定期限", min_confidence=0.5), scope).hits
    assert 0 < len(some) < len(every)
    assert all(hit.confidence >= 0.5 for hit in some)


@pytest.mark.parametrize(("mode", "parts"), [("auto", []), ("lexical", []), ("semantic", ["semantic"]), ("hybrid", ["semantic"])])
def test_semantic_search_is_missed_only_when_asked_for(brain: Brain, laws: Callable[[], Writer], mode: str, parts: list[str]) -> None:
    result = brain.retriever.search(SearchQuery("劳动合同", mode=mode), laws().scope("laws"))  # type: ignore[arg-type]
    assert [one.part for one in result.degraded] == parts
    assert result.hits


def test_other_knowledge_bases_do_not_change_the_ranking_inside_one(brain: Brain, laws: Callable[[], Writer]) -> None:
    writer = laws()
    question = SearchQuery("依照法律处理民事纠纷", top_k=20)
    alone = brain.retriever.search(question, writer.scope("laws")).hits
    for n in range(30):
        writer.put("other", f"丙{n}", [("", "法律 法律 民事 民事。")])
    writer.put("other", "丁", [("", "依照法律处理民事纠纷。")])
    writer.catch_up("other")
    assert brain.retriever.search(question, writer.scope("laws")).hits == alone
    both = brain.retriever.search(SearchQuery("依照法律处理民事纠纷", top_k=60), writer.scope("laws", "other")).hits
    assert [hit.chunk_id for hit in both if hit.knowledge_base == "laws"] == [hit.chunk_id for hit in alone]
    assert {hit.knowledge_base for hit in both[:2]} == {"laws", "other"}, "the two that cover the question stand first"


def test_a_missing_index_is_told(brain: Brain, write: Writer) -> None:
    write.put("kb", "甲", [("", "消防检查。")])
    result = brain.retriever.search(SearchQuery("消防检查"), write.scope("kb"))
    assert (result.hits, [one.part for one in result.degraded]) == ((), ["lexical"])
    write.catch_up("kb")
    assert brain.retriever.search(SearchQuery("消防检查"), write.scope("kb")).degraded == ()


def test_an_index_that_comes_back_behind_a_search_was_missing_from_it(brain: Brain, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    write.put("kb", "甲", [("", "消防检查。")])
    searched = brain.index.search

    def built_right_behind(*args: Any, **more: Any) -> list[LexicalHit]:
        try:
            return searched(*args, **more)
        except NoIndex:
            write.catch_up("kb")
            raise

    monkeypatch.setattr(brain.index, "search", built_right_behind)
    first, second = (brain.retriever.search(SearchQuery("消防检查"), write.scope("kb")) for _ in range(2))
    assert (first.hits, [one.part for one in first.degraded]) == ((), ["lexical"])
    assert (len(second.hits), second.degraded) == (1, ())


def test_while_the_search_server_is_away_named_articles_are_found_and_the_rest_is_told(brain: Brain, laws: Callable[[], Writer]) -> None:
    writer = laws()
    away = build(brain.settings.model_copy(update={"es_url_add": f"127.0.0.1:{free_port()}"}))
    scope = writer.scope("laws")
    title, articles = next(iter(LAWS.items()))
    key = next(key for key, _ in articles if key)
    named = away.retriever.search(SearchQuery(f"{title}第{key}条规定了什么？"), scope)
    assert (named.answerable, named.incomplete, named.hits[0].sources.keys()) == (True, True, {"reference"})
    plain = away.retriever.search(SearchQuery("劳动合同分为哪几种"), scope)
    assert (plain.hits, plain.answerable, [one.part for one in plain.degraded]) == ((), False, ["lexical"])
    assert "ES_URL_ADD" in plain.degraded[0].reason
    away.close()
