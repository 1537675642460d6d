"""`qzbrain graph rebuild` as scripts use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

LAW = "# 采购办法\n\n## 第一章 总则\n\n第一条 为了规范采购，制定本办法。\n\n第二条 须经董事会批准。\n\n第三条 违反本办法第二条规定的，处以罚款。\n"


def test_a_graph_is_built_anew(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(LAW)
    assert run("kb", "add", "rules", tmp_path / "a.md", "--create").code == 0
    first = run("graph", "rebuild", "rules", "--json")
    assert first.code == 0, first.err
    assert first.json["status"] == "done" and first.json["triples"] == 5
    again = run("graph", "rebuild", "rules", "--json").json
    assert (again["entities"], again["triples"]) == (first.json["entities"], first.json["triples"])
    assert "5" in run("graph", "rebuild", "rules").out


def test_it_cannot_be_built_where_that_is_off_or_there_is_no_base(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = run("graph", "rebuild", "nothing")
    assert missing.code == 1 and "nothing" in missing.err and "Traceback" not in missing.err
    run("kb", "create", "rules")
    monkeypatch.setenv("GRAPH_AT_INGEST", "off")
    off = run("graph", "rebuild", "rules")
    assert off.code == 1 and "GRAPH_AT_INGEST" in off.err
