"""A corpus: recognised by what it holds, one document a line, bad lines reported by number, read again without doing it twice."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence

import pytest

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller, Document
from qzbrain.knowledge.corpus import BadLine, CorpusLine, corpus_lines, looks_like_corpus
from qzbrain.knowledge.reader import Reader, ReadRequest
from tests.knowledge.conftest import texts_found

Add = Callable[..., AddedDocument]
Work = Callable[[], None]


def _jsonl(*lines: object) -> bytes:
    return b"".join((x if isinstance(x, bytes) else json.dumps(x, ensure_ascii=False).encode()) + b"\n" for x in lines)


_ONE = {"id": "a", "title": "标题", "text": "甲须经批准。"}


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("x.jsonl", _jsonl(_ONE, _ONE), True),
        ("x.JSONL", _jsonl({"_id": 5, "text": "x"}, _ONE), True),
        ("x.ndjson", b"\xef\xbb\xbf" + _jsonl(_ONE), True),
        ("x.jsonl", _jsonl(b"not json", [1], _ONE, _ONE), True),
        ("x.txt", _jsonl(_ONE, _ONE, _ONE), True),
        ("x.txt", _jsonl(_ONE, b"not json", _ONE), False),
        ("x.jsonl", _jsonl({"name": "x"}, {"name": "y"}), False),
        ("x.jsonl", b"", False),
        ("x.md", "# 标题\n\n正文".encode(), False),
        ("x.jsonl", b'{"id":"a","text":"' + b"x" * 65_000, True),
    ],
)
def test_recognised_by_what_it_holds(name: str, head: bytes, expected: bool) -> None:
    assert looks_like_corpus(name, head) is expected


def test_every_line_is_a_document_or_a_fault_with_its_number() -> None:
    faults = ({"text": "x"}, {"id": "b"}, {"id": "b", "text": " "}, {"id": True, "text": "x"})
    data = b"\xef\xbb\xbf" + _jsonl(_ONE, b"", b"{", [1], *faults, {"id": 7, "text": "y"})
    found = list(corpus_lines(io.BytesIO(data), max_text_chars=100))
    assert [(x.row, x.external_id, x.text) for x in found if isinstance(x, CorpusLine)] == [(1, "a", "甲须经批准。"), (9, "7", "y")]
    assert [x.row for x in found if isinstance(x, BadLine)] == [3, 4, 5, 6, 7, 8]
    assert found[-1].offset == len(data)


def test_a_corpus_in_gbk_is_read() -> None:
    data = b"".join(json.dumps(x, ensure_ascii=False).encode("gbk") + b"\n" for x in (_ONE, {"id": "b", "text": "乙须登记。"}))
    assert looks_like_corpus("x.jsonl", data)
    found = list(corpus_lines(io.BytesIO(data + b'{"id": "c", "text": "\xff\xff"}\n'), max_text_chars=100))
    assert [x.text for x in found if isinstance(x, CorpusLine)] == ["甲须经批准。", "乙须登记。"]
    assert isinstance(found[-1], BadLine)


def test_a_line_over_the_limit_is_a_fault_and_the_next_one_is_read() -> None:
    for length in (101, 700_000):
        data = _jsonl({"id": "a", "text": "长" * length}, {"id": "b", "text": "短"})
        found = list(corpus_lines(io.BytesIO(data), max_text_chars=100))
        assert [type(x) for x in found] == [BadLine, CorpusLine]
        assert [x.row for x in found] == [1, 2]


def test_one_document_a_line(brain: Brain, caller: Caller, kb: str, add: Add, work: Work) -> None:
    added = add(_jsonl(_ONE, b"{broken", {"id": "b", "text": "乙须登记。"}, {"id": "c", "text": "！！！"}), "corpus.jsonl")
    assert (added.id, added.status, added.duplicate) == (None, "pending", False)
    same = add(_jsonl(_ONE, b"{broken", {"id": "b", "text": "乙须登记。"}, {"id": "c", "text": "！！！"}), "corpus.jsonl")
    assert (same.job_id, same.duplicate) == (added.job_id, True)
    work()
    job = brain.knowledge.job(caller, str(added.job_id))
    assert job.status == "done" and job.result is not None
    assert job.result["documents"] == 3
    assert [x["row"] for x in job.result["errors"]] == [2] and job.result["errors"][0]["message"]
    shown = {x.external_id: x for x in brain.knowledge.documents(caller, kb).data}
    assert {key: x.status for key, x in shown.items()} == {"a": "ready", "b": "ready", "c": "failed"}
    assert (shown["a"].title, shown["a"].name) == ("标题", "a")
    assert brain.knowledge.content(caller, shown["a"].id) == "甲须经批准。"
    assert texts_found(brain, caller, "甲由谁批准")[0] == "甲须经批准。"
    assert not brain.files.path(added.sha256).exists(), "the file itself is no document"


def test_again_it_skips_replaces_and_adds(brain: Brain, caller: Caller, kb: str, add: Add, work: Work) -> None:
    add(_jsonl(_ONE, {"id": "b", "text": "乙须登记。"}), "one.jsonl")
    work()
    before = {x.external_id: x for x in brain.knowledge.documents(caller, kb).data}
    add(_jsonl(_ONE, {"id": "b", "text": "乙须公告。"}, {"id": "c", "text": "乙须公告。"}), "two.jsonl")
    work()
    after = {x.external_id: x for x in brain.knowledge.documents(caller, kb).data}
    assert after["a"] == before["a"]
    assert after["b"].id == before["b"].id and brain.knowledge.content(caller, after["b"].id) == "乙须公告。"
    assert after["c"].id not in (before["a"].id, before["b"].id)
    assert {x.status for x in after.values()} == {"ready"}
    assert "乙须登记。" not in texts_found(brain, caller, "乙须登记")


def test_all_are_visible_while_it_is_read_and_a_broken_try_is_taken_up(
    brain: Brain, caller: Caller, kb: str, add: Add, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"id": str(n), "text": f"第{n}条须经批准。"} for n in range(900)]
    seen: list[tuple[int, int]] = []
    real = Reader.read

    def read(reader: Reader, requests: Sequence[ReadRequest], **options: object) -> object:
        counts = brain.knowledge.knowledge_base(caller, kb).documents
        seen.append((counts.total, counts.ready))
        for n, one in enumerate(real(reader, requests, **options)):  # type: ignore[arg-type]
            if n == 500 and len(seen) == 1:
                raise OSError("the first try breaks")
            yield one

    monkeypatch.setattr(Reader, "read", read)
    added = add(_jsonl(*lines), "corpus.jsonl")
    work()
    assert seen == [(900, 0)]
    with brain.db.write() as connection:
        from qzbrain.storage.tables import jobs

        connection.execute(jobs.update().values(run_after=0.0))
    work()
    assert seen[-1][0] == 900
    counts = brain.knowledge.knowledge_base(caller, kb).documents
    assert (counts.total, counts.ready) == (900, 900)
    result = brain.knowledge.job(caller, str(added.job_id)).result
    assert result is not None and result["documents"] == 900


def test_cancelled_it_leaves_nothing_waiting_for_ever(brain: Brain, caller: Caller, kb: str, add: Add, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    added = add(_jsonl(*({"id": str(n), "text": f"第{n}条。"} for n in range(20))), "corpus.jsonl")
    real = Reader.read

    def read(reader: Reader, requests: Sequence[ReadRequest], **options: object) -> object:
        brain.knowledge.cancel_job(caller, str(added.job_id))
        yield from real(reader, requests, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Reader, "read", read)
        work()
    shown: list[Document] = list(brain.knowledge.documents(caller, kb).data)
    assert {(x.status, x.reason_code) for x in shown} == {("failed", "cancelled")}
    brain.knowledge.retry_job(caller, str(added.job_id))
    work()
    assert {x.status for x in brain.knowledge.documents(caller, kb).data} == {"ready"}
