"""The laws that come with the code, read, cut and indexed as the product does it, and everyday questions over them."""

from __future__ import annotations

import json
from pathlib import Path

import qzbrain
from qzbrain.brain import Brain, build
from qzbrain.domain import new_id, utc_now
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.parsers.base import ParseLimits
from qzbrain.knowledge.parsers.registry import parse
from qzbrain.settings import Settings
from qzbrain.storage.tables import chunks, documents, knowledge_bases, outbox

LAWS = Path(qzbrain.__file__).parent / "samples" / "laws"
QUESTIONS = (
    ("行政处罚的种类有哪些？", "行政处罚法", "第九条"),
    ("劳动合同的试用期最长多久？", "劳动合同法", "第十九条"),
    ("用人单位什么情况下应当支付经济补偿？", "劳动合同法", "第四十六条"),
    ("夫妻共同财产包括哪些？", "民法典", "第一千零六十二条"),
    ("自然人的民事权利能力从什么时候开始？", "民法典", "第十三条"),
    ("不满八周岁的未成年人是什么民事行为能力人？", "民法典", "第二十条"),
    ("经营者有欺诈行为的，消费者可以要求增加几倍赔偿？", "消费者权益保护法", "第五十五条"),
    ("小王在网上买了一件衣服。收到后不喜欢，想七日内退货，需要说明理由吗？", "消费者权益保护法", "第二十五条"),
    ("饮酒后驾驶机动车会受到什么处罚？", "道路交通安全法", "第九十一条"),
    ("处理敏感个人信息需要取得什么同意？", "个人信息保护法", "第二十九条"),
    ("行政复议应当在多少日内提出申请？", "行政复议法", "第二十条"),
    ("有限责任公司由多少股东出资设立？", "公司法", "第四十二条"),
)


def store(brain: Brain, path: Path, kb_id: str) -> None:
    """Read one law into SQL."""
    parsed, document_id = parse(path, name=path.name, limits=ParseLimits(10_000_000)), new_id()
    rows = [
        {
            "document_id": document_id,
            "kb_id": kb_id,
            "ordinal": one.ordinal,
            "text": one.text,
            "start": one.start,
            "end": one.end,
            "page": None,
            "heading_path": json.dumps(one.heading_path),
            "reference": one.reference,
        }
        for one in chunk(parsed, chunk_chars=250, overlap_chars=50)
    ]
    row = {"id": document_id, "kb_id": kb_id, "identity": document_id, "name": path.name, "title": parsed.title, "status": "ready"}
    with brain.db.write() as connection:
        connection.execute(documents.insert(), {**row, "sha256": "", "size_bytes": 1, "created_at": utc_now()})
        connection.execute(chunks.insert(), rows)
        connection.execute(outbox.insert(), {"kb_id": kb_id, "op": "put", "document_id": document_id})


def laws_of(settings: Settings) -> Brain:
    """A brain that knows the sample laws, as knowledge base `laws`."""
    brain = build(settings)
    base = {"id": "laws", "name": "laws", "chunk_chars": 250, "overlap_chars": 50, "without_evidence": "refuse", "manifest": {}}
    with brain.db.write() as connection:
        connection.execute(knowledge_bases.insert(), {**base, "created_at": utc_now()})
    for path in sorted(LAWS.glob("*.md")):
        store(brain, path, "laws")
    brain.feeder.catch_up("laws")
    return brain
