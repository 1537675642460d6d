"""Backups of a real MariaDB: out of SQLite into it and back. Restores that break off: tests/flows/test_restore_killed.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qzbrain.settings import Settings
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
