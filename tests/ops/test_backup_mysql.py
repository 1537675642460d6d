"""Backups of a real MariaDB: out of SQLite into it and back, and a restore into it that breaks off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qzbrain.brain import build
from qzbrain.errors import SettingsInvalid
from qzbrain.ops import restoring
from qzbrain.settings import Settings
from qzbrain.storage.backups.of_settings import repository_of
from tests.cli.conftest import (
    Run,
    run,  # noqa: F401  the fixture
)
from tests.ops.backed_up import answers, files_of, fill, rows_of

pytestmark = pytest.mark.servers


def environment(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name.upper(), str(value))


def test_from_sqlite_into_mysql_and_back(
    run: Run, mysql: dict[str, Any], make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path  # noqa: F811
) -> None:
    embedded, folder = make_settings(), tmp_path / "backups"
    fill(embedded)
    rows, files, said = rows_of(embedded), files_of(embedded), answers(embedded)
    assert run("backup", "-o", folder).code == 0
    environment({**mysql, "qzbrain_data": tmp_path / "served"}, monkeypatch)
    served = make_settings(**mysql, qzbrain_data=tmp_path / "served")
    done = run("restore", "latest", "--from", folder, "--json")
    assert done.code == 0, done.err
    assert rows_of(served) == rows and files_of(served) == files and answers(served) == said
    made = run("backup", "-o", folder, "--json").json
    assert (made["database"], made["new_files"]) == ("mysql", 0)
    refused = run("restore", "latest", "--from", folder, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "not_empty")
    done = run("restore", "latest", "--from", folder, "--into", tmp_path / "back", "--json")
    assert done.code == 0, done.err
    back = make_settings(qzbrain_data=tmp_path / "back")
    assert rows_of(back) == rows and files_of(back) == files and answers(back) == said


def test_a_restore_that_breaks_off_is_told_and_run_again(
    run: Run, mysql: dict[str, Any], make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    environment(mysql, monkeypatch)
    settings = make_settings(**mysql)
    fill(settings)
    old = rows_of(settings)
    made = run("backup", "--json").json
    fill(settings, kb="later", number=2)
    now = rows_of(settings)

    class Killed(BaseException):
        pass

    filling: list[str] = []

    def stop(stage: str, done: int, _total: int) -> None:
        filling.append(stage)
        if stage == "rows" and "files" in filling[filling.index("rows") :] and done > sum(made["rows"].values()) // 2:
            raise Killed

    repository = repository_of(settings)
    with pytest.raises(Killed):
        restoring.restore(settings, repository, repository.find(made["id"]), replace=True, progress=stop)
    refusal = _refusal(settings)
    assert refusal is not None and refusal.code == "restore_interrupted" and made["id"] in refusal.zh
    told = run("kb", "list", "--json")
    assert (told.code, told.json["error"]["code"]) == (1, "restore_interrupted")
    done = run("restore", made["id"], "--json")
    assert done.code == 0, done.err
    assert rows_of(settings) == old and answers(settings)
    (saved,) = [one for one in run("backup", "list", "--json").json["backups"] if one["reason"] == "before-restore"]
    assert {name: saved["rows"][name] for name in now} == {name: len(rows) for name, rows in now.items()}, "it was saved before it was touched"


def _refusal(settings: Settings) -> SettingsInvalid | None:
    try:
        build(settings).close()
    except SettingsInvalid as exc:
        return exc
    return None
