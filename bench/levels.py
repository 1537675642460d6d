"""What levels cost a search: python bench/levels.py [--documents 10000] [--width 384] [--url http://HOST:PORT] [--rounds 5] [--keep DIR]

A knowledge base of documents at mixed levels (two tenths public, four internal, two confidential, one secret, one top secret), asked by who may see
everything and by users of lower clearance, in turns, question by question: what the asker may read is looked up, then searched, ten hits filled from
SQL; the question's embedding is left out. `--url`: a search server is asked instead of the embedded indexes. One JSON object on standard output;
fails when a user's p95 is more than 1.5 times that of who may see everything.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from qzbrain.auth.standing import access_changed
from qzbrain.brain import Brain, build
from qzbrain.domain import LEVELS, Caller, new_id, utc_now
from qzbrain.retrieval.hybrid import Mode, SearchQuery
from qzbrain.settings import Settings
from qzbrain.storage.tables import kb_grants, knowledge_bases, users
from tests import levelled

MODES: tuple[Mode, ...] = ("lexical", "semantic", "hybrid")
MOST = 1.5
QUESTIONS = 60


def reader(brain: Brain, kb_id: str, clearance: int) -> Caller:
    """A user who may read the knowledge base up to this level."""
    user = new_id()
    row = {"id": user, "name": user, "role": "reader", "clearance": clearance, "recovery": [], "created_at": utc_now()}
    with brain.db.write() as connection:
        connection.execute(insert(users).values(row))
        connection.execute(insert(kb_grants).values(kb_id=kb_id, user_id=user, group_id="", granted="read"))
        connection.execute(knowledge_bases.update().where(knowledge_bases.c.id == kb_id).values(level=0))
        access_changed(connection)
    return Caller(id=user, name=user)


def measured(brain: Brain, kb_id: str, rounds: int) -> tuple[dict[str, Any], list[str]]:
    """Times by mode and asker; and which are too long."""
    callers = {"everything": brain.access.local_caller("zh")} | {name: reader(brain, kb_id, n) for n, name in enumerate(LEVELS[:-1])}
    clearances = {name: brain.access.clearance(caller) for name, caller in callers.items()}
    levels, questions = levelled.levels(brain, kb_id), list(levelled.questions(QUESTIONS))
    found: dict[str, Any] = {}
    missed: list[str] = []
    for mode in MODES:
        took: dict[str, list[float]] = {name: [] for name in callers}
        for round_ in range(rounds + 1):
            for question in questions:
                for name, caller in callers.items():
                    begun = time.perf_counter()
                    hits = brain.retriever.search(SearchQuery(question, mode=mode), brain.access.scope(caller, [kb_id])).hits
                    if round_:  # the first is for warming up
                        took[name].append((time.perf_counter() - begun) * 1e3)
                    assert len(hits) == 10 and max(levels[hit.document_id] for hit in hits) <= clearances[name]
        whole = float(np.percentile(took["everything"], 95))
        found[mode] = {
            name: {"p50_ms": round(float(np.median(times)), 2), "p95_ms": round(float(np.percentile(times, 95)), 2),
                   "p95_ratio": round(float(np.percentile(times, 95)) / whole, 2)}
            for name, times in took.items()
        }  # fmt: skip
        missed += [f"{mode} {name}" for name, one in found[mode].items() if one["p95_ratio"] > MOST]
    return found, missed


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--url")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="data folder to keep and use again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = _of(given, given.keep or Path(folder))
    print(json.dumps(found, ensure_ascii=False, indent=1))
    sys.exit(bool(found["missed"]))


def _of(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    embedder = levelled.ByWords(given.width)
    settings = Settings(qzbrain_data=folder / "data", qzbrain_embedder="none")
    if not (folder / "data").exists():
        plain = build(settings)
        levelled.fill(plain, given.documents, embedder)
        plain.close()
    brain = build(settings.model_copy(update={"es_url_add": given.url, "qizhibrain_index": "qzbrain-bench"}) if given.url else settings)
    brain.__dict__["embedder"] = embedder
    kb_id = str(brain.db.rows(select(knowledge_bases.c.id).where(knowledge_bases.c.name == "levels"))[0][0])
    levelled.index(brain, kb_id)
    found, missed = measured(brain, kb_id, given.rounds)
    brain.close()
    return {"documents": given.documents, "width": given.width, "backend": "server" if given.url else "embedded", **found, "missed": missed}


if __name__ == "__main__":
    main()
