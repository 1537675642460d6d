"""Searches of who is not cleared for everything: by words, by meaning, by article, among facts and entries, along a graph, and before an index has followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from knowledge_rows import Writer
from sqlalchemy import insert, select, update

from qzbrain.brain import Brain
from qzbrain.domain import ReadScope, SearchResult, new_id, utc_now
from qzbrain.knowledge.levels import set_level
from qzbrain.retrieval.graph_hits import NearPassage
from qzbrain.retrieval.hybrid import Retriever, SearchQuery
from qzbrain.retrieval.shelves import facts_shelf
from qzbrain.storage.tables import access_state, chunks, documents, jobs, knowledge_bases, outbox

QUESTION = "消防检查的频次"


def give(brain: Brain, document_ids: Sequence[str], level: int) -> list[str]:
    """A level to documents; the indexes have not followed yet."""
    with brain.db.write() as connection:
        return set_level(connection, brain.jobs, document_ids, level)


def up_to(writer: Writer, level: int, kb: str = "kb") -> ReadScope:
    return ReadScope((writer.kb(kb),), None, ((writer.kb(kb), level),))


def found(result: SearchResult) -> list[str]:
    return [hit.document_id for hit in result.hits]


class TestSettingALevel:
    def test_what_changes_is_told_once(self, brain: Brain, write: Writer) -> None:
        one, two, three = (write.put("kb", f"甲{n}", [("", f"消防检查{n}。")]) for n in range(3))
        write.catch_up("kb")
        before = brain.db.rows(select(access_state.c.version))[0][0]
        assert give(brain, [two, one, two, "unknown"], 3) == sorted([one, two])
        assert dict(map(tuple, brain.db.rows(select(documents.c.id, documents.c.level)))) == {one: 3, two: 3, three: 1}
        assert [row.document_id for row in brain.db.rows(select(outbox.c.document_id).order_by(outbox.c.seq))] == sorted([one, two])
        assert brain.db.rows(select(access_state.c.version))[0][0] == before + 1
        assert [(row.kind, row.payload) for row in brain.db.rows(select(jobs.c.kind, jobs.c.payload))] == [("index", {"only": "changes"})]

    def test_where_nothing_changes_nothing_is_written(self, brain: Brain, write: Writer) -> None:
        one = write.put("kb", "甲", [("", "消防检查。")])
        write.catch_up("kb")
        before = brain.db.rows(select(access_state.c.version))[0][0]
        assert give(brain, [one], 1) == give(brain, ["unknown"], 2) == give(brain, [], 2) == []
        assert brain.db.rows(select(access_state.c.version))[0][0] == before
        assert not brain.db.rows(select(outbox)) and not brain.db.rows(select(jobs))

    @pytest.mark.parametrize("level", [-1, 5])
    def test_what_is_no_level_is_refused(self, brain: Brain, write: Writer, level: int) -> None:
        with pytest.raises(ValueError, match="no place in LEVELS"):
            give(brain, [write.put("kb", "甲", [("", "消防检查。")])], level)

    def test_many_documents_of_several_knowledge_bases(self, brain: Brain, write: Writer) -> None:
        some = [write.put(f"kb{n % 2}", f"甲{n}", [("", "消防检查。")]) for n in range(600)]
        write.catch_up("kb0", "kb1")
        assert sorted(give(brain, some, 0)) == sorted(some)
        assert {row.kb_id for row in brain.db.rows(select(jobs.c.kb_id))} == {write.kb("kb0"), write.kb("kb1")}
        write.catch_up("kb0", "kb1")
        assert len(brain.index.search(write.kb("kb1"), QUESTION, top_k=1000, max_level=0)) == 300


def test_what_is_hidden_takes_no_place(brain: Brain, write: Writer) -> None:
    hidden = [write.put("kb", f"甲{n}", [("", "消防检查的频次与消防检查的记录。")]) for n in range(200)]
    shown = [write.put("kb", f"乙{n}", [("", f"第{n}组：关于消防的一处提及，在一段讲其他事情的长文字之中，例如食堂、班车与停车。")]) for n in range(12)]
    give(brain, hidden, 2)
    write.catch_up("kb")
    for level in (1, 0):
        hits = found(brain.retriever.search(SearchQuery(QUESTION, top_k=10), up_to(write, level)))
        assert len(hits) == (10 if level else 0)
        assert set(hits) <= set(shown)
    assert set(found(brain.retriever.search(SearchQuery(QUESTION, top_k=10), up_to(write, 2)))) <= set(hidden)
    assert set(found(brain.retriever.search(SearchQuery(QUESTION, top_k=10), write.scope("kb")))) <= set(hidden)


def test_levels_of_one_knowledge_base_say_nothing_of_another(brain: Brain, write: Writer) -> None:
    one, two = (write.put(kb, "甲", [("", "消防检查的频次。")]) for kb in ("one", "two"))
    give(brain, [one, two], 3)
    write.catch_up("one", "two")
    scope = ReadScope((write.kb("one"), write.kb("two")), None, ((write.kb("one"), 2),))
    assert found(brain.retriever.search(SearchQuery(QUESTION), scope)) == [two]


def test_a_level_raised_a_moment_ago_is_obeyed_before_the_index_has_followed(brain: Brain, write: Writer) -> None:
    best = [write.put("kb", f"甲{n}", [("", "消防检查的频次与消防检查的记录。")]) for n in range(400)]
    rest = [write.put("kb", f"乙{n}", [("", f"第{n}组：关于消防检查的一处提及，在一段讲其他事情的长文字之中。")]) for n in range(15)]
    write.catch_up("kb")
    assert set(found(brain.retriever.search(SearchQuery(QUESTION, top_k=10), up_to(write, 1)))) <= set(best)
    give(brain, best, 4)
    at_once = brain.retriever.search(SearchQuery(QUESTION, top_k=10), up_to(write, 1))
    assert len(at_once.hits) == 10
    assert set(found(at_once)) <= set(rest)
    write.catch_up("kb")
    followed = brain.retriever.search(SearchQuery(QUESTION, top_k=10), up_to(write, 1))
    assert found(followed) == found(at_once)
    give(brain, best[:3], 0)
    write.catch_up("kb")
    assert set(found(brain.retriever.search(SearchQuery(QUESTION, top_k=3), up_to(write, 1)))) == set(best[:3])


class TestArticles:
    def test_a_hidden_law_is_not_named(self, brain: Brain, laws: Callable[[], Writer]) -> None:
        writer = laws()
        code = next(row.id for row in brain.db.rows(select(documents.c.id).where(documents.c.title == "中华人民共和国刑法")))
        asked = SearchQuery("刑法第一百二十条之一是什么？")
        assert found(brain.retriever.search(asked, up_to(writer, 1, "laws")))[0] == code
        give(brain, [code], 3)
        for _ in range(2):
            result = brain.retriever.search(asked, up_to(writer, 1, "laws"))
            assert code not in found(result)
            assert not any("reference" in hit.sources for hit in result.hits)
            writer.catch_up("laws")
        assert found(brain.retriever.search(asked, up_to(writer, 3, "laws")))[0] == code

    def test_an_article_is_clear_when_one_document_that_may_be_seen_has_it(self, brain: Brain, write: Writer) -> None:
        """What is hidden must not make doubtful what is not."""
        shown, hidden = (write.put("kb", name, [("77", f"第七十七条 {text}")]) for name, text in (("办法", "食堂供应三餐。"), ("规程", "仓库由专人看管。")))
        write.catch_up("kb")
        doubtful = brain.retriever.search(SearchQuery("第七十七条"), up_to(write, 1))
        assert not any("reference" in hit.sources for hit in doubtful.hits)
        give(brain, [hidden], 2)
        clear = brain.retriever.search(SearchQuery("第七十七条"), up_to(write, 1))
        assert [(hit.document_id, "reference" in hit.sources) for hit in clear.hits] == [(shown, True)]


def test_facts_have_the_level_of_their_document(brain: Brain, write: Writer) -> None:
    kb_id = write.kb("kb")
    named = {name: _fact(brain, kb_id, name, f"{name}的创始人：第{n}个人。") for n, name in enumerate(("甲公司", "乙公司"))}
    give(brain, [named["甲公司"]], 3)
    brain.feeder.catch_up(facts_shelf(kb_id))
    assert found(brain.retriever.search(SearchQuery("公司的创始人是谁"), up_to(write, 1))) == [named["乙公司"]]
    assert set(found(brain.retriever.search(SearchQuery("公司的创始人是谁"), up_to(write, 3)))) == set(named.values())
    give(brain, [named["乙公司"]], 4)
    assert found(brain.retriever.search(SearchQuery("公司的创始人是谁"), up_to(write, 3))) == [named["甲公司"]]
    brain.feeder.catch_up(facts_shelf(kb_id))
    assert [hit.chunk_id for hit in brain.index.search(facts_shelf(kb_id), "创始人", top_k=9, max_level=2)] == []


def _fact(brain: Brain, kb_id: str, name: str, text: str) -> str:
    """A document of facts, as told on the second shelf."""
    row = {
        "id": new_id(), "kb_id": kb_id, "identity": f"facts:{name}", "name": name, "title": name, "status": "ready", "chunks": 1, "chars": len(text),
        "sha256": "0" * 64, "size_bytes": 1, "stored": 0, "kind": "facts", "created_at": utc_now(),
    }  # fmt: skip
    shelf = facts_shelf(kb_id)
    piece = {"document_id": row["id"], "kb_id": shelf, "ordinal": 0, "text": text, "start": 0, "end": len(text), "heading_path": "[]"}
    with brain.db.write() as connection:
        connection.execute(insert(documents), row)
        connection.execute(insert(chunks), piece)
        connection.execute(insert(outbox), {"kb_id": shelf, "op": "put", "document_id": row["id"]})
    return str(row["id"])


@dataclass
class Leading:
    """A graph that leads to these passages, whatever is asked."""

    chunk_ids: list[int]

    def near(self, kb_id: str, question: str, chunk_ids: Sequence[int], *, top_k: int, ceiling: int | None = None) -> list[NearPassage]:
        return [_Near(one, 1.0 - n / 100) for n, one in enumerate(self.chunk_ids[:top_k])]


@dataclass(frozen=True)
class _Near:
    chunk_id: int
    score: float


def test_what_a_graph_leads_to_is_left_out_before_it_is_placed(brain: Brain, write: Writer) -> None:
    shown = [write.put("kb", f"乙{n}", [("", f"消防检查的频次，第{n}组。")]) for n in range(6)]
    led = [write.put("kb", f"丙{n}", [("", f"别的事情{n}。")]) for n in range(20)]
    write.catch_up("kb")
    passages = {row.document_id: row.id for row in brain.db.rows(select(chunks.c.document_id, chunks.c.id))}
    retriever = Retriever(brain.db, brain.index, brain.settings, graphs=Leading([passages[one] for one in led]))
    without = Retriever(brain.db, brain.index, brain.settings, graphs=Leading([passages[one] for one in led[15:]]))
    asked = SearchQuery(QUESTION, top_k=10)
    assert set(found(retriever.search(asked, up_to(write, 1)))) - set(shown) == set(led[:4])
    give(brain, led[:15], 2)
    assert found(retriever.search(asked, up_to(write, 1))) == found(without.search(asked, up_to(write, 1)))
    assert set(led[15:]) & set(found(retriever.search(asked, up_to(write, 1))))
    assert not set(led[:15]) & set(found(retriever.search(asked, up_to(write, 1))))


def test_entries_are_found_up_to_their_level(brain: Brain, write: Writer) -> None:
    entry = write.put("kb", "问", [("", "消防检查的频次是每月一次。")])
    with brain.db.write() as connection:
        connection.execute(update(documents).where(documents.c.id == entry).values(kind="entry"))
    give(brain, [entry], 2)
    write.catch_up("kb")
    assert [hit.chunk_id for hit in brain.index.search(write.kb("kb"), QUESTION, top_k=5, max_level=1)] == []
    assert len(brain.index.search(write.kb("kb"), QUESTION, top_k=5, max_level=2)) == 1


def test_the_local_user_asks_the_database_no_more_than_before(brain: Brain, write: Writer) -> None:
    """Levels cost who may see everything no statement."""
    write.put("kb", "甲", [("", "消防检查的频次。")])
    write.catch_up("kb")
    caller = brain.access.local_caller("zh")
    assert brain.access.scope(caller, [write.kb("kb")]).max_levels == ()
    with brain.db.write() as connection:
        connection.execute(update(knowledge_bases).values(level=4))
    give(brain, [row.id for row in brain.db.rows(select(documents.c.id))], 4)
    assert len(brain.retriever.search(SearchQuery(QUESTION), brain.access.scope(caller, [write.kb("kb")])).hits) == 1
