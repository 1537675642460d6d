"""`qzbrain kb watch|watched|unwatch|retry` as scripts use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two texts that were written just now, one of them in a folder inside."""
    (tmp_path / "rules" / "more").mkdir(parents=True)
    (tmp_path / "rules" / "purchase.txt").write_text("采购金额超过五十万元的，须经董事会批准。")
    (tmp_path / "rules" / "more" / "travel.md").write_text("# 差旅\n\n出差须提前三天申请。")
    return tmp_path / "rules"


def test_a_folder_is_brought_in_line_once(run: Run, folder: Path) -> None:
    assert run("kb", "create", "rules").code == 0
    first = run("kb", "watch", "rules", folder, "--once", "--recursive", "--json")
    assert first.code == 0, first.err
    assert (first.json["active"], first.json["result"]["waiting"], first.json["result"]["error_count"]) == (False, 0, 0)
    assert {x["documents"]["ready"] for x in [run("kb", "list", "--json").json]} == {2}
    (folder / "purchase.txt").unlink()
    second = run("kb", "watch", "rules", folder, "--once", "--recursive", "--json").json["result"]
    assert (second["removed"], second["unchanged"], second["added"]) == (1, 1, 0)
    assert run("kb", "list", "--json").json["documents"]["total"] == 1
    assert str(folder) in run("kb", "watched", "rules").out
    assert run("kb", "unwatch", "rules", folder, "--json").json == {"unwatched": str(folder)}
    gone = run("kb", "unwatch", "rules", folder)
    assert gone.code == 1 and "Traceback" not in gone.err
    assert run("kb", "watched", "rules").out == ""


def test_a_folder_that_is_watched_on_leaves_the_work_to_the_worker(run: Run, folder: Path) -> None:
    run("kb", "create", "rules")
    shown = run("kb", "watch", "rules", folder, "--every", "30", "--exclude", "*.log", "--json").json
    assert (shown["active"], shown["every_s"], shown["exclude"], shown["result"]) == (True, 30, ["*.log"], None)
    assert run("kb", "watch", "rules", folder / "nothing").code == 1


def test_failed_documents_are_read_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    run("kb", "add", "rules", tmp_path / "empty.txt", "--create")
    again = run("kb", "retry", "rules", "--json")
    assert (again.code, again.json) == (1, {"retried": 1, "failed": 1})
    assert run("kb", "retry", "rules", "--code", "timeout", "--no-wait", "--json").json == {"retried": 0, "failed": 1}
