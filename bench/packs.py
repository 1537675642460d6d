"""Export and import of a pack: chunks a second of each, file size. `python bench/packs.py [CHUNKS] [WIDTH]`, by default 24,000 with 384 wide vectors.

Rows are made directly; the import includes checking the whole file and building the search index and the vector store.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from sqlalchemy import insert, select

from qzbrain.brain import Brain, build
from qzbrain.domain import new_id, utc_now
from qzbrain.knowledge.packs.writing import Choice
from qzbrain.settings import Settings
from qzbrain.storage.tables import chunks, document_texts, documents, vector_spaces, vectors
from qzbrain.worker import Workplace

OF_DOCUMENT = 60


def fill(brain: Brain, count: int, width: int) -> None:
    """A knowledge base `bench` of so many chunks with vectors."""
    caller = brain.access.local_caller("en")
    kb_id = brain.knowledge.create(caller, name="bench").id
    random = np.random.default_rng(5)
    letters = np.asarray(list("采购请假保密差旅培训档案车辆印章部门经理批准登记备案事项条款规定金额期限责任"))
    space = {"id": new_id(), "kb_id": kb_id, "status": "active", "embedder": "bench", "width": width, "embedded_upto": 2**40, "created_at": utc_now()}
    with brain.db.write() as connection:
        connection.execute(insert(vector_spaces).values(**space, manifest={"fingerprint": "x"}))
    for number in range(count // OF_DOCUMENT):
        parts = ["".join(random.choice(letters, 200)) for _ in range(OF_DOCUMENT)]
        whole, document_id = "".join(parts), new_id()
        row = {"id": document_id, "kb_id": kb_id, "identity": f"ext:{number}", "external_id": str(number), "name": f"{number}", "title": "", "status": "ready"}
        row |= {"sha256": hashlib.sha256(whole.encode()).hexdigest(), "size_bytes": 600 * OF_DOCUMENT, "stored": 0, "chunks": OF_DOCUMENT}
        of_chunks = [
            {"document_id": document_id, "kb_id": kb_id, "ordinal": at, "text": part, "start": at * 200, "end": at * 200 + 200, "heading_path": "[]"}
            for at, part in enumerate(parts)
        ]
        made = random.standard_normal((OF_DOCUMENT, width))
        made = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype("<f2")
        with brain.db.write() as connection:
            connection.execute(insert(documents).values(**row, chars=len(whole), created_at=utc_now(), ready_at=utc_now()))
            connection.execute(insert(document_texts).values(document_id=document_id, text=whole))
            connection.execute(insert(chunks), of_chunks)
            ids = connection.execute(select(chunks.c.id).where(chunks.c.document_id == document_id).order_by(chunks.c.id)).scalars().all()
            some = [
                {"space_id": space["id"], "chunk_id": one, "document_id": document_id, "vector": half.tobytes()} for one, half in zip(ids, made, strict=True)
            ]
            connection.execute(insert(vectors), some)


def main(count: int, width: int) -> None:
    """Fill, export, import, report."""
    with tempfile.TemporaryDirectory(prefix="packs-") as folder:
        here, there = (build(Settings(qzbrain_data=Path(folder) / name, qzbrain_embedder="none")) for name in ("here", "there"))
        fill(here, count, width)
        began = time.perf_counter()
        made = here.packs.write(here.access.local_caller("en"), "bench", Path(folder) / "x.qzkb", Choice(), lambda *_: None)
        took = time.perf_counter() - began
        print(f"export {made.counts['chunks'] / took:,.0f} chunks/s, {made.size_bytes / 1e6:.1f} MB, {took:.1f} s")
        caller, end = there.access.local_caller("en"), threading.Event()
        job_id = there.packs.submit_import(caller, made.path)
        began = time.perf_counter()
        Workplace(there).run(lambda: there.knowledge.job(caller, job_id).status not in ("pending", "running") or end.is_set())
        took = time.perf_counter() - began
        print(f"import {made.counts['chunks'] / took:,.0f} chunks/s, {there.knowledge.job(caller, job_id).status}, {took:.1f} s")
        here.close()
        there.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24_000, int(sys.argv[2]) if len(sys.argv) > 2 else 384)
