"""Export and import of a pack: time, file size, memory. `python bench/packs.py [CHUNKS] [WIDTH] [TRIPLES]`, by default 24,000 with 384 wide vectors and none.

Rows are made directly; the import includes checking the whole file, building the search index and the vector store, and finding the graph's names in the
chunks. Each is done by a process of its own, whose highest resident memory is told beside what it had before.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sqlalchemy import insert, select

from qzbrain.brain import Brain, build
from qzbrain.domain import new_id, utc_now
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.filling import Filling
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


def fill_graph(brain: Brain, triples: int) -> None:
    """Facts of which half come from an import and half are said in chunks, about a sixth as many entities."""
    if not triples:
        return
    kb_id = brain.access.resolve(brain.access.local_caller("en"), ["bench"])[0].id
    random, filling = np.random.default_rng(7), Filling(kb_id)
    said = brain.db.rows(select(chunks.c.id, chunks.c.document_id, chunks.c.start, chunks.c.text).where(chunks.c.kb_id == kb_id).limit(20_000))
    letters, relations = "采购请假保密差旅培训档案车辆印章", ("主管", "位于", "成立于", "属于", "编号", "负责人", "上级", "适用")
    names = [f"{letters[n % 16]}{letters[n // 16 % 16]}{n}号" for n in range(triples // 6 + 2)]
    for start in range(0, triples, 5000):
        heads, tails = random.integers(0, len(names), 5000), random.integers(0, len(names), 5000)
        facts = []
        for at, (head, tail) in enumerate(zip(heads.tolist(), tails.tolist(), strict=True)):
            place = Place("import", source="表")
            if at % 2 and said:
                row = said[(start + at) % len(said)]
                place = Place("llm:bench", row.document_id, row.id, row.start, row.start + 60, row.text[:60], confidence=0.9)
            facts.append(Fact(names[head], relations[at % 8], names[tail], place, "单位", aliases=(f"别名{head}",) if at % 10 == 0 else ()))
        with brain.db.write() as connection:
            filling.add(connection, facts[: triples - start])


def _memory_mb(which: str) -> int:
    """Resident now (VmRSS), or the most since it was asked to be counted anew (VmHWM)."""
    return next(int(line.split()[1]) >> 10 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))


def _memory_from_here() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _memory_mb("VmRSS")


def export(folder: str) -> None:
    """Write the pack, and report."""
    brain = build(Settings(qzbrain_data=Path(folder) / "here", qzbrain_embedder="none"))
    before, began = _memory_from_here(), time.perf_counter()
    made = brain.packs.write(brain.access.local_caller("en"), "bench", Path(folder) / "x.qzkb", Choice(), lambda *_: None)
    took = time.perf_counter() - began
    told = ", ".join(f"{made.counts[name]:,} {name.removeprefix('graph_')}" for name in ("chunks", "graph_entities", "graph_triples", "graph_mentions"))
    print(f"export {took:.1f} s: {told}; {made.size_bytes / 1e6:.1f} MB; memory {before} MB, at most {_memory_mb('VmHWM')}", flush=True)


def take_in(folder: str) -> None:
    """Take the pack in, and report what each stage took."""
    brain = build(Settings(qzbrain_data=Path(folder) / "there", qzbrain_embedder="none"))
    caller = brain.access.local_caller("en")
    job_id = brain.packs.submit_import(caller, Path(folder) / "x.qzkb")
    before, began = _memory_from_here(), time.perf_counter()
    Workplace(brain).run(lambda: brain.knowledge.job(caller, job_id).status not in ("pending", "running"))
    took = time.perf_counter() - began
    job = brain.knowledge.job(caller, job_id)
    print(f"import {took:.1f} s, {job.status}; memory {before} MB, at most {_memory_mb('VmHWM')}", flush=True)


def main(count: int, width: int, triples: int) -> None:
    """Fill, export, import, report."""
    started = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="packs-") as folder:
        here = build(Settings(qzbrain_data=Path(folder) / "here", qzbrain_embedder="none"))
        fill(here, count, width)
        fill_graph(here, triples)
        here.close()
        for work in (export, take_in):
            process = started.Process(target=work, args=(folder,))
            process.start()
            process.join()


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:4]]
    main(*given, *(24_000, 384, 0)[len(given) :])
