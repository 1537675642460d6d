"""`qzbrain graph extract` as people and scripts use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.engine import Engine
from tests.graph.reading_model import reply


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """The model `scripted` of the configuration."""
    with Engine() as made:
        made.script(answer=reply)
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "config.toml").write_text(f'[models.scripted]\nengine = "external"\nbase_url = "{made.base_url}"\n')
        yield made


@pytest.fixture
def filled(run: Run, engine: Engine, tmp_path: Path) -> Engine:
    """With a knowledge base of one document."""
    (tmp_path / "a.txt").write_text("晨光公司的董事长是李明。晨光公司的所在地是上海。")
    run("kb", "create", "kb")
    assert run("kb", "add", "kb", tmp_path / "a.txt").code == 0
    return engine


def test_the_cost_is_shown_and_nothing_is_asked(run: Run, filled: Engine) -> None:
    shown = run("graph", "extract", "kb", "--dry-run", "--json")
    assert shown.code == 0 and (shown.json["calls"], shown.json["cached_calls"], shown.json["basis"]) == (1, 0, "assumed")
    for_people = run("graph", "extract", "kb", "--dry-run")
    assert for_people.out == "" and "scripted" in for_people.err and filled.requests == []


def test_extracting_without_a_running_brain(run: Run, filled: Engine) -> None:
    done = run("graph", "extract", "kb", "--json", "--yes")
    assert done.code == 0, done.err
    assert (done.json["status"], done.json["triples"], done.json["failed_chunks"], done.json["calls"]) == ("done", 2, 0, 1)
    again = run("graph", "extract", "kb", "--yes")
    assert again.code == 0 and "2" in again.out and len(filled.requests) == 1


def test_failures_have_exit_codes_and_no_traceback(run: Run, filled: Engine) -> None:
    unknown = run("graph", "extract", "kb", "--model", "other")
    assert unknown.code == 1 and "scripted" in unknown.err and "Traceback" not in unknown.err
    assert run("graph", "extract", "nothing").code == 1
    assert run("graph", "extract", "kb", "--document", "nothing", "--json").json["error"]["code"] == "document_not_found"
    filled.script(fault="garbage", texts=[])
    failed = run("graph", "extract", "kb", "--json", "--yes", "--model", "scripted")
    assert failed.code == 1 and failed.json["status"] == "failed" and failed.json["reason"]["code"] == "extraction_failed"


def test_without_a_language_model_it_says_so(run: Run) -> None:
    run("kb", "create", "kb")
    said = run("graph", "extract", "kb")
    assert said.code == 1 and "config.toml" in said.err
