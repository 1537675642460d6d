"""`qzbrain graph import`, `export` and `query` as scripts use them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

CSV = "head,relation,tail,source\n晨光公司,董事长,李明,年报\n晨光公司,高管,王芳,年报\n晨光公司,高管,赵刚,年报\n,董事长,无名,\n李明,出生地,杭州,\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text(CSV, encoding="utf-8")
    return tmp_path / "a.csv"


def test_triples_come_in_with_bad_rows_told_by_number(run: Run, file: Path) -> None:
    looked = run("graph", "import", "staff", file, "--create", "--dry-run")
    assert looked.code == 1 and "4" in looked.out and "5" in looked.err, "a row is bad, and nothing is written"
    taken = run("graph", "import", "staff", file, "--json")
    assert taken.code == 1, "the rest is loaded, and the exit code says that not all of it could be"
    assert {name: taken.json[name] for name in ("status", "dry_run", "triples", "reason")} == {"status": "done", "dry_run": False, "triples": 4, "reason": None}
    assert [one["row"] for one in taken.json["errors"]] == [5]
    file.write_text(CSV.replace(",董事长,无名,\n", ""), encoding="utf-8")
    assert run("graph", "import", "staff", file).code == 0


def test_what_cannot_be_taken_in_says_why(run: Run, tmp_path: Path) -> None:
    run("kb", "create", "staff")
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    assert run("graph", "import", "staff", tmp_path / "empty.csv", "--json").json["reason"]["code"] == "no_triples"
    missing = run("graph", "import", "staff", tmp_path / "none.csv")
    assert missing.code == 2 and "none.csv" in missing.err
    assert run("graph", "import", "nothing", tmp_path / "empty.csv").code == 1


def test_all_triples_go_out_and_come_in_again(run: Run, file: Path, tmp_path: Path) -> None:
    run("graph", "import", "staff", file, "--create")
    for form in ("csv", "jsonl", "graphml", "cypher-csv"):
        made = run("graph", "export", "staff", "-o", tmp_path / form, "--format", form, "--json")
        assert made.code == 0 and made.json == {"path": str(tmp_path / form), "format": form, "triples": 4}
        again = run("graph", "import", f"from-{form}", tmp_path / form, "--create", "--json")
        assert (again.code, again.json["triples"], again.json["errors"]) == (0, 4, [])
    assert run("graph", "export", "staff").out.lstrip("\ufeff").splitlines()[1] == "晨光公司,董事长,李明,,,年报,"
    assert run("graph", "export", "staff", "--json").code == 2


def test_a_graph_is_asked(run: Run, file: Path) -> None:
    run("graph", "import", "staff", file, "--create")
    asked = run("graph", "query", "晨光公司的董事长是谁？", "--json")
    assert asked.code == 0
    told = asked.json
    assert (told["answer"], told["values"], told["relation"], told["knowledge_base"]) == ("晨光公司的董事长是李明[1]。", ["李明"], "董事长", "staff")
    assert told["confidence"] >= 0.6 and told["citations"][0]["facts"][0]["source"] == "年报"
    shown = run("graph", "query", "晨光公司的董事长是谁？", "--kb", "staff")
    assert "李明" in shown.out and "年报" in shown.out and "[1]" in shown.out
    nothing = run("graph", "query", "今天星期几", "--json")
    assert (nothing.code, nothing.json["kind"], nothing.json["answer"], nothing.json["citations"]) == (0, "", "", [])
