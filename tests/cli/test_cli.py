"""The command line as scripts use it: what stands on standard output, what on standard error, and the exit code."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from qzbrain.cli.session import open_brain
from tests.cli.conftest import Run
from tests.running import free_port

RULE = "采购金额超过五十万元的，须经董事会批准。采购金额不超过五十万元的，由总经理批准。"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A folder with a text, one in a sub-folder, a hidden one, and one that cannot be read."""
    folder = tmp_path / "rules"
    (folder / "more").mkdir(parents=True)
    (folder / "purchase.txt").write_text(RULE, encoding="utf-8")
    (folder / "more" / "travel.md").write_text("# 差旅\n\n出差须提前三天申请。", encoding="utf-8")
    (folder / ".hidden").write_text("x", encoding="utf-8")
    (folder / "empty.txt").touch()
    return folder


def test_documents_are_added_and_asked_without_a_brain_running(run: Run, rules: Path) -> None:
    added = run("kb", "add", "rules", rules, "--recursive", "--create", "--json")
    assert added.code == 1
    assert (added.json["documents"], added.json["ready"]) == (3, 2)
    assert [(x["name"], x["code"]) for x in added.json["failed"]] == [("empty.txt", "empty")]
    assert added.json["failed"][0]["message"]
    assert added.json["chunks"] >= 2
    asked = run("ask", "五十万元以上的采购由谁批准？", "--kb", "rules", "--json")
    assert asked.code == 0
    answer = asked.json
    assert answer["rung"] == "extractive"
    assert "董事会" in answer["answer"]
    assert all(RULE[x["start"] : x["end"]] == x["quote"] for x in answer["citations"] if x["document"] == "purchase.txt")
    told = run("ask", "五十万元以上的采购由谁批准？", "--kb", "rules")
    assert "董事会" in told.out
    assert "[1]" in told.out
    assert "耗时" not in told.err
    timed = run("ask", "五十万元以上的采购由谁批准？", "--kb", "rules", "--timing")
    assert timed.out == told.out
    assert "耗时：共" in timed.err and "检索" in timed.err and "words" in timed.err


def test_what_is_not_known_is_not_answered(run: Run, rules: Path) -> None:
    run("kb", "add", "rules", rules / "purchase.txt", "--create")
    assert run("ask", "火星上有几座火山？", "--kb", "rules", "--json").json["rung"] == "refused"


def test_a_folder_without_recursive_gives_its_own_files(run: Run, rules: Path) -> None:
    assert run("kb", "add", "rules", rules, "--create", "--json").json["documents"] == 2


def test_the_same_files_again_are_recognised(run: Run, rules: Path) -> None:
    first = run("kb", "add", "rules", rules / "purchase.txt", "--create", "--json").json
    again = run("kb", "add", "rules", rules / "purchase.txt", "--json").json
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert json.loads(run("kb", "list", "--json").out)["documents"]["total"] == 1


def test_a_corpus_counts_its_lines(run: Run, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"id": f"r{n}", "text": f"第{n}号规定：{RULE}"}, ensure_ascii=False) for n in range(5)]
    corpus.write_text("\n".join([*lines, "{broken"]), encoding="utf-8")
    added = run("kb", "add", "rules", corpus, "--create", "--json")
    assert (added.code, added.json["ready"], added.json["documents"]) == (1, 5, 6)
    assert [x["name"] for x in added.json["failed"]] == ["corpus.jsonl:6"]
    assert added.json["chunks"] >= 5
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"id": "q", "question": "第3号规定", "doc_id": "r3", "answers": ["董事会"]}, ensure_ascii=False), encoding="utf-8")
    figures = run("eval", "rules", questions, "--k", "1,5", "--json").json
    assert figures["questions"] == 1
    assert set(figures["recall"]) == {"1", "5"}
    assert figures["recall"]["5"] == 1.0
    assert {"mrr", "answer_in_shown_sentences", "p50_ms", "p95_ms"} <= set(figures)
    with open_brain() as (brain, caller):
        assert brain.chat.conversations.page(caller, include_api=True).data == ()  # an evaluation leaves no history


def test_an_archive_counts_its_files(run: Run, tmp_path: Path) -> None:
    packed = tmp_path / "资料.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in (("甲.txt", RULE), ("深/乙.txt", f"乙：{RULE}"), ("坏.pdf", "%PDF-1.7 no"), ("../逃.txt", "x")):
            archive.writestr(name, text)
    added = run("kb", "add", "rules", packed, "--create", "--json")
    assert (added.code, added.json["ready"], added.json["documents"]) == (1, 2, 4)
    assert [x["name"] for x in added.json["failed"]] == ["资料.zip/坏.pdf", "资料.zip:4"]


def test_queued_documents_are_read_by_the_next_command_that_waits(run: Run, rules: Path) -> None:
    queued = run("kb", "add", "rules", rules / "purchase.txt", "--create", "--no-wait", "--json")
    assert (queued.code, queued.json["documents"], queued.json["ready"]) == (0, 1, 0)
    done = run("kb", "add", "rules", rules / "purchase.txt", "--json")
    assert (done.json["documents"], done.json["ready"]) == (1, 1)


def test_knowledge_bases_are_made_listed_and_removed(run: Run) -> None:
    made = run("kb", "create", "规章", "--title", "公司规章", "--json")
    assert (made.code, made.json["name"], made.json["chunk_chars"]) == (0, "规章", 250)
    run("kb", "create", "b")
    assert [json.loads(line)["name"] for line in run("kb", "list", "--json").out.splitlines()] == ["b", "规章"]
    assert run("kb", "rm", "b", "--json").json == {"removed": ["b"]}
    assert run("kb", "rm", "b", "--json").json["error"]["code"] == "knowledge_base_not_found"
    assert "规章" in run("kb", "list").out


def test_one_document_can_be_removed_only_from_its_own_knowledge_base(run: Run, rules: Path) -> None:
    run("kb", "add", "a", rules / "purchase.txt", "--create")
    run("kb", "create", "b")
    with open_brain() as (brain, caller):
        document = brain.knowledge.documents(caller, "a").data[0]
    wrong = run("kb", "rm", "b", document.id, "--json")
    assert (wrong.code, wrong.json["error"]["code"]) == (1, "other_knowledge_base")
    assert run("kb", "rm", "a", document.id, "--json").code == 0
    assert json.loads(run("kb", "list", "--json").out.splitlines()[0])["documents"]["total"] == 0


def test_reindex_rebuilds(run: Run, rules: Path) -> None:
    run("kb", "add", "rules", rules / "purchase.txt", "--create")
    assert run("kb", "reindex", "rules", "--json").json["status"] == "done"
    assert run("ask", "五十万元以上的采购由谁批准？", "--kb", "rules", "--json").json["citations"]


def test_reindex_on_a_search_server_that_is_away_says_so_instead_of_waiting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("kb", "create", "rules")
    monkeypatch.setenv("ES_URL_ADD", f"127.0.0.1:{free_port()}")
    outcome = run("kb", "reindex", "rules", "--json")
    assert (outcome.code, outcome.json["status"]) == (1, "pending")
    assert "ES_URL_ADD" in outcome.json["reason"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("ask", "问", "--kb", "nowhere"), "knowledge_base_not_found"),
        (("ask", "  "), "empty_question"),
        (("ask", "问", "--model", "nothing"), "model_not_found"),
        (("kb", "create", "../x"), None),
        (("kb", "add", "nowhere", __file__), "knowledge_base_not_found"),
        (("eval", "nowhere", "/does/not/exist"), "questions_unreadable"),
    ],
)
def test_errors_are_sentences_or_objects_never_tracebacks(run: Run, arguments: tuple[str, ...], code: str | None) -> None:
    said = run(*arguments)
    assert (said.code, said.out) == (1, "")
    assert said.err.strip()
    assert "Traceback" not in said.err
    given = run(*arguments, "--json")
    assert given.code == 1
    error = given.json["error"]
    assert {"message", "type", "code", "param"} == set(error)
    assert code is None or error["code"] == code


def test_a_path_that_is_not_there_is_wrong_usage_and_adds_nothing(run: Run, rules: Path) -> None:
    said = run("kb", "add", "new", rules / "purchase.txt", "/does/not/exist", "--create", "--json")
    assert (said.code, said.json["error"]["code"]) == (2, "path_not_found")
    assert run("kb", "list", "--json").out == ""


def test_folders_without_files_are_wrong_usage(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = run("kb", "add", "new", tmp_path / "empty", "--create", "--json")
    assert (said.code, said.json["error"]["code"]) == (2, "no_files")


@pytest.mark.parametrize("arguments", [("kb", "nonsense"), ("ask",), ("eval", "kb", "file", "--k", "0"), ("kb", "add", "x"), ("doctor", "--step", "x")])
def test_wrong_usage_ends_with_two(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


def test_settings_that_cannot_be_used_end_a_command_clearly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QZBRAIN_PORT", "abc")
    failed = run("kb", "list")
    assert failed.code == 1
    assert "qzbrain_port" in failed.err


def test_config_show_init_and_docs(run: Run, tmp_path: Path) -> None:
    shown = run("config", "show", "--json").json
    assert shown["qzbrain_data"] == {"value": str(tmp_path / "data"), "origin": "environment"}
    made = run("config", "init", "--json")
    path = Path(made.json["path"])
    assert path == tmp_path / "data" / "config.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert run("config", "init", "--json").json["error"]["code"] == "exists"
    assert run("config", "docs").out.startswith("# Settings")


def test_database_commands(run: Run) -> None:
    assert run("db", "upgrade", "--json").json["revision"]
    statements = run("db", "schema", "--json").json["statements"]
    assert any(x.startswith("CREATE TABLE documents") for x in statements)


def test_doctor_reports_and_fails_when_something_fails(run: Run, tmp_path: Path) -> None:
    checks = run("doctor", "--json").json["checks"]
    assert {"id", "step", "title", "status", "evidence", "next", "follows"} == set(checks[0])
    assert {x["step"] for x in run("doctor", "--step", "8", "--json").json["checks"]} == {8}
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "brain.sqlite").write_bytes(b"no database" * 1000)
    broken = run("doctor", "--json")
    assert broken.code == 1
    assert "fail" in {x["status"] for x in broken.json["checks"]}


def test_chunk_sizes_are_previewed_and_changed(run: Run, rules: Path) -> None:
    run("kb", "add", "rules", rules / "purchase.txt", "--create")
    changed = run("kb", "rechunk", "rules", "--chunk-chars", 60, "--overlap-chars", 10, "--json").json
    assert (changed["status"], changed["chunk_chars"], changed["failed"]) == ("done", 60, 0)
    assert run("ask", "五十万元以上的采购由谁批准？", "--kb", "rules", "--json").json["citations"]
    assert run("kb", "rechunk", "rules", "--chunk-chars", 60, "--json").json["job_id"] is None
    assert run("kb", "rechunk", "rules", "--chunk-chars", 6, "--json").code == 1
    assert run("kb", "preview", "rules", "nothing", "--chunk-chars", 100, "--json").code == 1


def test_curated_knowledge_goes_in_answers_and_comes_out(run: Run, rules: Path, tmp_path: Path) -> None:
    assert run("kb", "create", "rules").code == 0
    made = run("insert", "rules", "--question", "年假可以休几天？", "--answer", "5 天。", "--variant", "年休假有多少天", "--approve", "--json")
    assert made.code == 0 and made.json["in_force"] is True
    asked = run("ask", "请问年休假有多少天？", "--kb", "rules", "--json")
    assert (asked.json["rung"], asked.json["answer"]) == ("entry", "5 天。[1]")
    out = tmp_path / "entries.xlsx"
    assert run("insert", "rules", "--export", out, "--json").json["size_bytes"] == out.stat().st_size
    assert run("insert", "rules", "--import", out, "--json").json == {
        "created": 0, "updated": 0, "skipped": 1, "errors": [], "conflicts": [], "dry_run": False,
    }  # fmt: skip
    table = tmp_path / "a.csv"
    table.write_text("问题,答案\n总机？,62771234\n空？,\n", encoding="gbk")
    told = run("insert", "rules", "--import", table, "--dry-run", "--json")
    assert told.code == 1 and told.json["created"] == 1 and told.json["errors"][0]["row"] == 3
    assert run("eval", "rules", "--regressions", "--json").json == {"data": [], "passed": 0, "failed": 0}


@pytest.mark.parametrize("more", [[], ["--answer", "x", "--import", "y.csv"], ["--import", "none.csv"], ["--export", "a.pdf"]])
def test_an_insertion_that_cannot_be_meant_is_wrong_usage(run: Run, more: list[str]) -> None:
    run("kb", "create", "rules")
    assert run("insert", "rules", *more).code == 2
