"""Backup and restore of 24,000 articles of some 150 characters with vectors 384 wide, and 10,000 messages. `python bench/backup.py [--mysql] [--key]`

Articles come in as one corpus, vectors and messages as rows. The commands are those of users, each a process of its own; the restore goes into an
empty data folder and includes checking the backup and building both indexes. Seconds and peak memory (resident) of each; whether all rows are the same
afterwards, and a hundred searches give the same passages with the same scores. `--mysql`: a MariaDB of its own holds both brains' rows. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import orjson
from sqlalchemy import insert, select

from qzbrain.brain import Brain, build
from qzbrain.domain import new_id, utc_now
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.settings import Settings
from qzbrain.storage.tables import chunks, conversations, jobs, messages, metadata, vector_spaces, vectors
from qzbrain.worker import work_inline
from tests.servers.mariadb import MariaDb

ARTICLES, MESSAGES, WIDTH = 24_000, 10_000, 384
SUBJECTS = ("采购", "请假", "保密", "差旅", "培训", "档案", "车辆", "印章", "合同", "预算", "审计", "考勤", "招聘")
ORGANS = ["董事会", "总经理", "财务部", "人事处", "办公室", "法务部", "监事会", "工会", "审计委员会", "信息中心"]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mysql", action="store_true")
    parser.add_argument("--key", action="store_true", help="encrypted")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = MariaDb(folder / "mariadb").start() if given.mysql else None
        try:
            print(json.dumps(measured(folder, server, key=given.key), indent=1))
        finally:
            if server is not None:
                server.remove()


def measured(folder: Path, server: MariaDb | None, *, key: bool) -> dict[str, Any]:
    """Fill, back up twice, restore, compare."""
    if server is not None:
        server.create_database("restored")
    of = server.settings if server is not None else {}
    first = Settings(qzbrain_data=folder / "data", qzbrain_embedder="none", **of)
    other = Settings(qzbrain_data=folder / "restored", qzbrain_embedder="none", **{**of, **({"mysql_db": "restored"} if of else {})})
    fill(first)
    before = state(first)
    (folder / "key").write_text("a secret of the bench")
    how = ["--key-file", str(folder / "key")] if key else []
    backups = str(folder / "backups")
    made = {name: run(first, "backup", "-o", backups, *how) for name in ("backup", "second_backup")}
    size = sum(path.stat().st_size for path in (folder / "backups").rglob("*") if path.is_file())
    made["verify"] = run(first, "backup", "verify", "-o", backups, *how)
    made["restore"] = run(other, "restore", "latest", "--from", backups, *how)
    same = {name: value == before[name] for name, value in state(other).items()}
    what = {"articles": ARTICLES, "messages": MESSAGES, "width": WIDTH, "mysql": server is not None, "encrypted": key}
    return {**what, **made, "two_backups_mb": round(size / 1e6, 1), "same": same}


def run(settings: Settings, *arguments: str) -> dict[str, float]:
    """A command; seconds and MB."""
    given = settings.model_dump(include={"qzbrain_data", "qzbrain_embedder", "mysql_host", "mysql_port", "mysql_user", "mysql_password", "mysql_db"})
    environment = {**os.environ, **{name.upper(): str(value) for name, value in given.items()}}
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "qzbrain.cli", *arguments], env=environment, stdout=subprocess.DEVNULL)
    peak_kb = 0
    while process.poll() is None:
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak_kb = max(peak_kb, int(next(x for x in lines if x.startswith("VmHWM:")).split()[1]))
        time.sleep(0.02)
    assert process.returncode == 0, arguments
    return {"s": round(time.monotonic() - began, 2), "peak_mb": round(peak_kb / 1024)}


def fill(settings: Settings) -> None:
    """The brain that is backed up."""
    chance = random.Random(7)
    brain = build(settings)
    caller = brain.access.local_caller("zh")
    kb_id = brain.knowledge.create(caller, name="bench").id
    corpus = settings.data / "corpus.jsonl"
    with corpus.open("wb") as out:
        for n in range(ARTICLES):
            subject, organ = chance.choice(SUBJECTS), chance.choice(ORGANS)
            text = f"第{n}条 {subject}事项由{organ}批准。" + "".join(
                f"{chance.choice(SUBJECTS)}超过{chance.randrange(1, 99)}万元的，报{chance.choice(ORGANS)}备案。" for _ in range(8)
            )
            out.write(orjson.dumps({"id": str(n), "title": f"{subject}规定", "text": text}) + b"\n")
    with corpus.open("rb") as stream:
        brain.knowledge.add_file(caller, "bench", "corpus.jsonl", stream)
    work_inline(brain, lambda: not brain.db.rows(select(jobs.c.id).where(jobs.c.status.in_(("pending", "running"))).limit(1)))
    _vectors(brain, kb_id)
    _messages(brain, kb_id, chance)
    brain.close()


def _vectors(brain: Brain, kb_id: str) -> None:
    made = np.random.default_rng(5)
    space = {"id": new_id(), "kb_id": kb_id, "status": "active", "embedder": "bench", "width": WIDTH, "manifest": {"fingerprint": "x"}}
    found = brain.db.rows(select(chunks.c.id, chunks.c.document_id).where(chunks.c.kb_id == kb_id).order_by(chunks.c.id))
    with brain.db.write() as connection:
        connection.execute(insert(vector_spaces).values(**space, embedded_upto=found[-1].id, created_at=utc_now()))
    for start in range(0, len(found), 2000):
        some = found[start : start + 2000]
        rows = made.standard_normal((len(some), WIDTH))
        halves = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f2")
        with brain.db.write() as connection:
            pairs = zip(some, halves, strict=True)
            values = [{"space_id": space["id"], "chunk_id": x.id, "document_id": x.document_id, "vector": y.tobytes()} for x, y in pairs]
            connection.execute(insert(vectors), values)
    brain.feeder.rebuild_vectors(kb_id)


def _messages(brain: Brain, kb_id: str, chance: random.Random) -> None:
    common = {"model": "auto", "rung": "", "rung_reason": "", "details": {"citations": []}, "created_at": utc_now()}
    for n in range(MESSAGES // 20):
        one = {"id": new_id(), "owner": "local", "knowledge_bases": [kb_id], "created_at": utc_now(), "updated_at": utc_now()}
        rows = [
            {**common, "id": new_id(), "conversation_id": one["id"], "role": "user" if at % 2 else "assistant", "status": "done", "position": at,
             "content": "".join(chance.choice(SUBJECTS) + "由" + chance.choice(ORGANS) + "批准。" for _ in range(10 + n % 10))}
            for at in range(20)
        ]  # fmt: skip
        with brain.db.write() as connection:
            connection.execute(insert(conversations).values(one))
            connection.execute(insert(messages), rows)


def state(settings: Settings) -> dict[str, str]:
    """Checksums of all rows, and of what a hundred searches find, scores included."""
    brain = build(settings)
    digest, chance = hashlib.sha256(), random.Random(3)
    with brain.db.snapshot() as connection:
        for table in metadata.sorted_tables:
            if table.name != "outbox":
                for row in connection.execute(select(table).order_by(*table.primary_key)):
                    digest.update(orjson.dumps(tuple(row), default=bytes.hex, option=orjson.OPT_SORT_KEYS))
    scope = brain.access.scope(brain.access.local_caller("zh"))
    found = hashlib.sha256()
    for _ in range(100):
        question = f"{chance.choice(SUBJECTS)}由{chance.choice(ORGANS)}批准吗，第{chance.randrange(ARTICLES)}条"
        hits = brain.retriever.search(SearchQuery(question), scope).hits
        found.update(repr([(hit.document_id, hit.text, hit.score) for hit in hits]).encode())
    brain.close()
    return {"rows": digest.hexdigest(), "answers": found.hexdigest()}


if __name__ == "__main__":
    main()
