"""`qzbrain kb export` and `qzbrain kb import`, with no brain running."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


def test_out_and_in_under_another_name(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "采购.txt").write_text("第一条 采购金额超过五十万元的，须经董事会批准。", encoding="utf-8")
    assert run("kb", "add", "rules", "采购.txt", "--create").code == 0
    made = run("kb", "export", "rules", "--json")
    assert made.code == 0, made.err
    assert (tmp_path / "lexical-rules-250-50.qzkb").stat().st_size == made.json["size_bytes"]
    assert made.json["counts"]["documents"] == 1
    refused = run("kb", "import", "lexical-rules-250-50.qzkb", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "name_taken")
    assert run("kb", "import", "lexical-rules-250-50.qzkb", "--name", "copy").code == 0
    assert run("kb", "import", "lexical-rules-250-50.qzkb", "--replace").code == 0
    assert "董事会" in run("ask", "采购由谁批准？", "--kb", "copy").out
    assert run("kb", "import", "lexical-rules-250-50.qzkb", "--drop", "--json").json == {"dropped": False}


def test_wrong_usage_is_said(run: Run, tmp_path: Path) -> None:
    assert run("kb", "import", tmp_path / "none.qzkb").code == 2
    assert run("kb", "export", "none").code == 1
    (tmp_path / "bad.qzkb").write_bytes(b"no pack")
    bad = run("kb", "import", tmp_path / "bad.qzkb", "--json")
    assert (bad.code, bad.json["error"]["code"]) == (1, "bad_pack")
