"""What watching costs: a span while traces are off and on, a stage, a read of the database. `bench/load.py` says what all of it comes to under load.

    .venv-test/bin/python bench/observing.py
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import bindparam, select

from qzbrain import metrics, tracing
from qzbrain.stages import noting, stage
from qzbrain.storage.database import Database
from qzbrain.storage.migrate import upgrade
from qzbrain.storage.tables import knowledge_bases

TIMES = 50_000


def us(work: Callable[[], object], times: int = TIMES) -> float:
    """Microseconds a call, the best of forty rounds: the machine may be busy."""
    best = float("inf")
    for _ in range(40):
        began = time.perf_counter()
        for _ in range(times // 40):
            work()
        best = min(best, time.perf_counter() - began)
    return round(best / (times // 40) * 1e6, 2)


def a_span() -> None:
    with tracing.span("search", mode="auto", top_k=10) as span:
        span.set(hits=10)


def a_stage() -> None:
    with stage("words"):
        pass


def noted() -> None:
    with noting({}), stage("words"):
        pass


def main() -> None:
    counter = metrics.CACHE_LOOKUPS.labels("graphs", "hit")
    figures = {"span_off_us": us(a_span), "stage_us": us(a_stage), "stage_noted_us": us(noted), "counter_us": us(counter.inc)}
    figures["histogram_us"] = us(lambda: metrics.SQL_WAIT_SECONDS.observe(0.0004))
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "brain.sqlite")
        upgrade(database)
        ask = database.prepared(select(knowledge_bases.c.id).where(knowledge_bases.c.name == bindparam("name")))
        figures["prepared_read_us"] = us(lambda: ask(name="x"), TIMES // 5)
        database.close()
    try:
        tracing.start("http://127.0.0.1:9", process="bench")
    except ImportError:
        figures["span_on_us"] = -1.0
    else:
        figures["span_on_us"] = us(a_span)
        tracing.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
