"""`qzbrain audit`: lists, exports, and says what is wrong with exit code 1."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from qzbrain.brain import build
from qzbrain.domain import Caller
from qzbrain.settings import Settings
from tests.cli.conftest import Run


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder whose log holds five events."""
    monkeypatch.setenv("QZBRAIN_AUDIT", "on")
    brain = build(Settings(qzbrain_data=tmp_path / "data", qzbrain_audit="on"))
    for i in range(5):
        brain.audit.record(None, Caller("u1", "李", address="10.0.0.7"), "document.read", f"d{i}")
    brain.close()
    return tmp_path / "data"


def test_list_and_export(run: Run, data: Path, tmp_path: Path) -> None:
    shown = run("audit", "list", "--limit", 2, "--json")
    assert [json.loads(line)["number"] for line in shown.out.splitlines()] == [5, 4]
    assert "document.read" in run("audit", "list", "--actor", "李").out
    assert run("audit", "list", "--action", "user").out == ""
    lines = run("audit", "export", "--action", "document").out.splitlines()
    assert [json.loads(line)["subject"] for line in lines] == [f"d{i}" for i in range(5)]
    told = run("audit", "export", tmp_path / "log.csv", "--format", "csv", "--action", "document.read", "--json").json
    assert told["bytes"] == (tmp_path / "log.csv").stat().st_size
    assert (tmp_path / "log.csv").read_text(encoding="utf-8-sig").count("\n") == 6
    assert run("audit", "export", "--format", "xml").code == 2


def test_commands_leave_events_without_what_they_were_about(run: Run, data: Path) -> None:
    assert run("kb", "create", "secret-name").code == 0
    assert run("kb", "create", "secret-name").code == 1
    run("ask", "whereabouts", "--kb", "secret-name")
    lines = run("audit", "export", "--action", "command").out.splitlines()
    assert [(json.loads(line)["action"], json.loads(line)["outcome"]) for line in lines] == [
        ("command.kb.create", "done"), ("command.kb.create", "failed"), ("command.ask", "done"),
    ]  # fmt: skip
    assert not any(word in line for line in lines for word in ("secret-name", "whereabouts"))


def test_verify_tells_a_whole_log_from_one_that_was_cut_and_goes_on_when_told_to(run: Run, data: Path) -> None:
    whole = run("audit", "verify", "--json")
    assert (whole.code, whole.json["ok"], whole.json["rows"], whole.json["faults"]) == (0, True, 5, [])
    with closing(sqlite3.connect(data / "brain.sqlite")) as connection, connection:
        connection.execute("DROP TRIGGER audit_log_no_delete")
        connection.execute("DELETE FROM audit_log WHERE number > 3")
    cut = run("audit", "verify", "--json")
    assert (cut.code, cut.json["ok"]) == (1, False)
    assert [(one["kind"], one["number"]) for one in cut.json["faults"]] == [("cut_off", 5)]
    assert run("doctor", "--step", 7).code == 1
    accepted = run("audit", "verify", "--accept-end", "--json")
    assert (accepted.code, accepted.json["rows"]) == (0, 4), accepted
    (noted,) = [json.loads(line) for line in run("audit", "list", "--action", "audit", "--json").out.splitlines()]
    assert noted["details"] == {"faults": ["cut_off 5"]}
