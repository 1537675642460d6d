"""A knowledge base of many documents at mixed levels, with words and vectors that have to do with each other: for tests of levels at size, and their bench."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import insert, select

from qzbrain.brain import Brain
from qzbrain.domain import ReadScope, new_id, utc_now
from qzbrain.models.base import Cancellation, EmbeddingProfile
from qzbrain.retrieval.base import LexicalHit
from qzbrain.retrieval.space_rows import SpaceRows
from qzbrain.retrieval.spaces import Manifest
from qzbrain.retrieval.vectors import DenseHit
from qzbrain.storage.tables import chunks, documents, knowledge_bases, outbox

AnyHit = LexicalHit | DenseHit
WORDS = [
    "采购", "合同", "审批", "预算", "仓库", "车辆", "出差", "保密", "培训", "档案", "消防", "值班", "印章", "会议", "验收", "维修", "报销", "考勤",
    "工资", "奖金", "税务", "发票", "审计", "财务", "银行", "贷款", "保险", "投资", "股东", "董事", "招标", "投标", "供应商", "运输", "物流", "港口",
    "海关", "关税", "进口", "出口", "质量", "检测", "实验", "设备", "电力", "燃气", "供水", "排污", "环境", "森林", "河流", "土地", "房屋", "建筑",
    "施工", "监理", "设计", "图纸", "桥梁", "道路", "铁路", "航空", "船舶", "邮政", "通信", "网络", "软件", "数据", "密码", "学校", "教师", "学生",
    "考试", "医院", "医生", "药品", "疫苗", "食品", "餐厅", "农业", "种子", "肥料", "畜牧", "渔业", "矿山", "煤炭", "石油", "钢铁", "化工", "纺织",
    "服装", "旅游", "酒店", "体育", "音乐", "电影", "出版", "广告", "商标", "专利", "诉讼", "仲裁", "律师", "法官", "警察", "监狱", "军队", "边境",
    "外交", "签证", "移民", "婚姻", "继承", "养老", "失业", "工伤", "救灾", "慈善",
]
SHARES = (2, 4, 2, 1, 1)
"""How many documents are of each level, as shares."""
NAME = "words"
_AT_ONCE = 2000


class ByWords:
    """An embedder without a model: a text means the words of WORDS that stand in it, and a little of its own."""

    name = NAME

    def __init__(self, width: int) -> None:
        self.width = width
        self._of = dict(zip(WORDS, np.random.default_rng(3).standard_normal((len(WORDS), width)), strict=True))
        self._asked: dict[str, Any] = {}
        self._common = 2 * np.random.default_rng(4).standard_normal(width)

    def profile(self) -> EmbeddingProfile:
        """As of any embedder."""
        return EmbeddingProfile(self.width, 512, "mean", "", "", NAME)

    def embed_query(self, text: str, *, timeout_s: float) -> Any:
        """A question's; made once."""
        if text not in self._asked:
            self._asked[text] = self._of_text(text)
        return self._asked[text]

    def _of_text(self, text: str) -> Any:
        own = np.random.default_rng(list(text.encode())).standard_normal(self.width)
        found = self._common + sum((vector for word, vector in self._of.items() if word in text), 0.8 * own)
        return (found / np.linalg.norm(found)).astype(np.float32)

    def embed_passages(self, texts: Sequence[str], cancellation: Cancellation) -> Any:
        """Several."""
        return np.stack([self._of_text(text) for text in texts])


def fill(brain: Brain, count: int, embedder: ByWords) -> str:
    """A knowledge base with so many documents, indexed, with vectors; returns its id."""
    chance = random.Random(11)
    kb = {
        "id": new_id(), "name": "levels", "title": "levels", "description": "", "chunk_chars": 250, "overlap_chars": 50, "without_evidence": "refuse",
        "manifest": {}, "created_at": utc_now(),
    }  # fmt: skip
    with brain.db.write() as connection:
        connection.execute(insert(knowledge_bases), kb)
    for start in range(0, count, _AT_ONCE):
        some = [_document(chance, kb["id"], n) for n in range(start, min(count, start + _AT_ONCE))]
        with brain.db.write() as connection:
            connection.execute(insert(documents), [row for row, _ in some])
            connection.execute(insert(chunks), [piece for _, pieces in some for piece in pieces])
            connection.execute(insert(outbox), [{"kb_id": kb["id"], "op": "put", "document_id": row["id"]} for row, _ in some])
    _embed(brain, str(kb["id"]), embedder)
    index(brain, str(kb["id"]))
    return str(kb["id"])


def index(brain: Brain, kb_id: str) -> None:
    """Bring words and vectors from SQL into the brain's indexes."""
    brain.feeder.catch_up(kb_id)
    space = brain.spaces.active(kb_id)
    assert space is not None
    brain.vector_feeder.bring(space)


def levels(brain: Brain, kb_id: str) -> dict[str, int]:
    """The level of each document."""
    return {row.id: row.level for row in brain.db.rows(select(documents.c.id, documents.c.level).where(documents.c.kb_id == kb_id))}


def scope(kb_id: str, max_level: int | None = None, document_ids: Sequence[str] | None = None) -> ReadScope:
    """Of somebody who is cleared for so much."""
    return ReadScope((kb_id,), None if document_ids is None else tuple(document_ids), () if max_level is None else ((kb_id, max_level),))


def questions(count: int) -> Iterator[str]:
    """Of two or three words that stand in some documents together, and in many alone."""
    chance = random.Random(5)
    for _ in range(count):
        yield "与".join(chance.sample(WORDS, chance.randint(2, 3))) + "由谁负责？"


def _document(chance: random.Random, kb_id: str, number: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    document_id = new_id()
    texts = ["、".join(chance.sample(WORDS, 8)) + f"：第{number}号文件的第{n}段。" for n in range(1 + (number % 5 == 0))]
    row = {
        "id": document_id, "kb_id": kb_id, "identity": f"ext:{number}", "name": f"{number}.md", "title": "", "status": "ready", "chunks": len(texts),
        "chars": 1, "sha256": "0" * 64, "size_bytes": 1, "created_at": utc_now(), "level": chance.choices(range(len(SHARES)), SHARES)[0],
    }  # fmt: skip
    pieces = [
        {"document_id": document_id, "kb_id": kb_id, "ordinal": n, "text": text, "start": 0, "end": len(text), "heading_path": "[]"}
        for n, text in enumerate(texts)
    ]
    return row, pieces


def _embed(brain: Brain, kb_id: str, embedder: ByWords) -> None:
    rows = SpaceRows(brain.db)
    space = rows.begin(kb_id, NAME, embedder.width, Manifest(fingerprint=NAME, cosine_floor=0.6, cosine_span=0.3))
    while found := rows.next_chunks(space, _AT_ONCE):
        grown = rows.add(space, found, embedder.embed_passages([row.text for row in found], Cancellation()))
        assert grown is not None
        space = grown
    with brain.db.write() as connection:
        rows.activate(connection, space, space.manifest)
