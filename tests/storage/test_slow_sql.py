"""What is slow in the database is logged, with what was slow and who wanted it, and without values; what is not slow is not."""

from __future__ import annotations

import threading
import time

import orjson
import pytest
from sqlalchemy import bindparam, select, text

from qzbrain import logs, metrics
from qzbrain.brain import Brain
from qzbrain.storage.tables import knowledge_bases

SLOW = text("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 400000) SELECT count(*) FROM c WHERE 'a secret value' <> :given")


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [line for line in map(orjson.loads, capfd.readouterr().err.splitlines()) if line["event"] == "slow_sql"]


def counted() -> float:
    return float(metrics.SLOW.labels("sql")._value.get())


@pytest.fixture(autouse=True)
def warnings_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger keeps the level at which it was first used: by another test, perhaps, that wanted errors alone."""
    logs.configure("info", "test")
    monkeypatch.setattr("qzbrain.storage.database.log", logs.get("qzbrain.storage.database"))


def test_a_slow_read_names_its_statement_and_its_place(brain: Brain, capfd: pytest.CaptureFixture[str]) -> None:
    brain.db.slow_ms = 5
    before = counted()
    brain.db.rows(SLOW, {"given": "another secret"})
    (line,) = lines(capfd)
    assert line["operation"] == "read" and "WITH RECURSIVE" in str(line["statement"]) and "another secret" not in str(line)
    assert isinstance(line["took_ms"], float) and line["took_ms"] > 5
    assert counted() == before + 1
    brain.db.prepared(select(knowledge_bases.c.id).where(knowledge_bases.c.name == bindparam("name")))(name="x")
    assert lines(capfd) == []  # its twin: a quick one is not told of


def test_nothing_is_slow_where_that_is_switched_off(brain: Brain, capfd: pytest.CaptureFixture[str]) -> None:
    brain.db.slow_ms = 0
    brain.db.rows(SLOW, {"given": ""})
    assert lines(capfd) == []


def test_a_wait_for_another_transaction_is_told_apart_from_a_slow_one(brain: Brain, capfd: pytest.CaptureFixture[str]) -> None:
    brain.db.slow_ms = 60
    holding, held = threading.Event(), metrics.SQL_WAIT_SECONDS._sum.get()

    def hold() -> None:
        with brain.db.write() as connection:
            connection.execute(text("DELETE FROM jobs WHERE 1 = 0"))
            holding.set()
            time.sleep(0.15)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(5)
    with brain.db.write() as connection:
        connection.execute(text("DELETE FROM jobs WHERE 1 = 0"))
    holder.join()
    slow, waiting = sorted(lines(capfd), key=lambda line: str(line["waited_ms"]) != "0.0" and float(str(line["waited_ms"])))
    assert float(str(slow["took_ms"])) > 100 > float(str(slow["waited_ms"]))
    assert float(str(waiting["waited_ms"])) > 60 > float(str(waiting["took_ms"]))
    assert {slow["operation"], waiting["operation"]} == {"write"}
    assert metrics.SQL_WAIT_SECONDS._sum.get() - held > 0.06
