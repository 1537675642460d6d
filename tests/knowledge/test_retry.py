"""Failed documents tried again: all of them, those of one reason; never by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller, Document
from qzbrain.errors import NotFound, ParseFailed
from qzbrain.knowledge.reader import Reader
from tests.knowledge.conftest import texts_found

Add = Callable[..., AddedDocument]
Work = Callable[[], None]
Shown = Callable[[], dict[str, Document]]


@pytest.fixture
def ailing(add: Add, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two documents that crashed their reader, one that took too long, one that is well."""
    real = Reader.read
    codes = {"crash1.txt": "crashed", "crash2.txt": "crashed", "slow.txt": "timeout"}

    def read(reader: Reader, requests: object, **options: object) -> object:
        for request, outcome in real(reader, requests, **options):  # type: ignore[arg-type]
            code = codes.get(request.name)
            yield request, outcome if code is None else ParseFailed(code, zh="坏", en="bad")

    with monkeypatch.context() as patch:
        patch.setattr(Reader, "read", read)
        for name in (*codes, "well.txt"):
            add(f"文件 {name}：采购须经批准。", name)
        work()


def _codes(shown: dict[str, Document]) -> dict[str, str | None]:
    return {name: one.reason_code for name, one in shown.items()}


@pytest.mark.usefixtures("ailing")
def test_what_failed_stays_failed_until_somebody_asks(brain: Brain, caller: Caller, kb: str, work: Work, documents: Shown) -> None:
    failed = {"crash1.txt": "crashed", "crash2.txt": "crashed", "slow.txt": "timeout", "well.txt": None}
    work()
    assert _codes(documents()) == failed
    assert {x.name for x in brain.knowledge.documents(caller, kb, "failed").data} == {name for name, code in failed.items() if code}
    assert brain.knowledge.retry_documents(caller, kb, "timeout") == 1
    assert brain.knowledge.retry_documents(caller, kb, "timeout") == 0
    work()
    assert _codes(documents()) == {**failed, "slow.txt": None}
    assert brain.knowledge.retry_documents(caller, kb) == 2
    work()
    assert {x.status for x in documents().values()} == {"ready"}
    assert {x.status for x in brain.knowledge.jobs(caller).data} == {"done"}
    assert len(texts_found(brain, caller, "采购由谁批准")) == 4


def test_lines_of_a_corpus_too(brain: Brain, caller: Caller, kb: str, add: Add, work: Work, documents: Shown) -> None:
    add("\n".join(json.dumps({"id": str(n), "text": text}, ensure_ascii=False) for n, text in enumerate(["采购须经批准。", "……"])), "c.jsonl")
    work()
    assert sorted(x.status for x in documents().values()) == ["failed", "ready"]
    assert brain.knowledge.retry_documents(caller, kb) == 1
    work()
    assert sorted(x.status for x in documents().values()) == ["failed", "ready"]


def test_an_unknown_knowledge_base_or_code(brain: Brain, caller: Caller, kb: str) -> None:
    with pytest.raises(NotFound):
        brain.knowledge.retry_documents(caller, "nothing")
    assert brain.knowledge.retry_documents(caller, kb, "no\nsuch") == 0
