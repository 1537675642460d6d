"""A brain whose worker's part is done by the test itself, and files to feed it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller, Document
from qzbrain.worker import Workplace

LAW = """# 采购管理办法

## 第一章 总则

第一条 为了规范采购，制定本办法。

第二条 采购金额超过五十万元的，须经董事会批准。

## 第二章 附则

第三条 本办法自发布之日起施行。
"""


@pytest.fixture
def kb(brain: Brain, caller: Caller) -> str:
    """The name of an empty knowledge base."""
    return brain.knowledge.create(caller, name="办法").name


@pytest.fixture
def work(brain: Brain) -> Iterator[Callable[[], None]]:
    """Do all jobs that are due, as the worker would, then return."""

    def until_idle() -> None:
        end = threading.Event()
        deadline = time.monotonic() + 60
        Workplace(brain).run(lambda: end.is_set() or time.monotonic() > deadline, idle=lambda _: end.set())
        assert end.is_set(), "the jobs did not come to an end"

    yield until_idle


@pytest.fixture
def add(brain: Brain, caller: Caller, kb: str) -> Callable[..., AddedDocument]:
    """Upload one file."""

    def one(data: bytes | str, name: str = "a.txt") -> AddedDocument:
        return brain.knowledge.add_file(caller, kb, name, io.BytesIO(data.encode() if isinstance(data, str) else data))

    return one


@pytest.fixture
def documents(brain: Brain, caller: Caller, kb: str) -> Callable[[], dict[str, Document]]:
    """All documents by name."""
    return lambda: {x.name: x for x in brain.knowledge.documents(caller, kb, limit=1000).data}


def texts_found(brain: Brain, caller: Caller, query: str, kb: str | None = None) -> list[str]:
    """The texts that a search finds."""
    from qzbrain.retrieval.hybrid import SearchQuery

    ids = None if kb is None else [x.id for x in brain.access.resolve(caller, [kb])]
    return [hit.text for hit in brain.retriever.search(SearchQuery(query), brain.access.scope(caller, ids)).hits]


def files_holding(root: Path, words: str) -> list[Path]:
    """Files under `root` whose bytes hold the words, in any of the encodings in which they may lie there."""
    import json

    forms = {words.encode(), json.dumps(words)[1:-1].encode(), words.encode("utf-16-le")}
    return [path for path in root.rglob("*") if path.is_file() and any(form in path.read_bytes() for form in forms)]
