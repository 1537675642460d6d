"""`qzbrain doctor` for people and for programs, and `--fix`: told, asked for, done, looked at again; what could not be made again is left alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qzbrain.models.engines.processes import MARK, has_ended
from qzbrain.ops.start import take_lock
from qzbrain.settings import Settings
from tests.cli.conftest import Run
from tests.ops.broken_setups import make_healthy
from tests.running import free_port, wait_for


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder that all are copies of."""
    before = os.umask(0o077)
    data = tmp_path_factory.mktemp("healthy") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("QZBRAIN_DATA", raising=False)
        make_healthy(data)
    os.umask(before)
    return data


@pytest.fixture
def data(healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("QZBRAIN_LANG", "en")
    monkeypatch.setenv("QZBRAIN_PORT", str(free_port()))
    monkeypatch.setenv("QZBRAIN_AUDIT", "on")
    shutil.copytree(healthy, tmp_path / "data")
    yield tmp_path / "data"


def precious(data: Path) -> str:
    """A digest of what nothing could bring back: originals, and the rows of documents and chunks."""
    digest = hashlib.sha256()
    for path in sorted((data / "files").rglob("*")):
        if path.is_file() and not path.name.startswith(".new-"):
            digest.update(path.read_bytes())
    with closing(sqlite3.connect(data / "brain.sqlite")) as connection:
        for table in ("documents", "chunks", "document_texts", "knowledge_bases"):
            digest.update(repr(connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()).encode())
    return digest.hexdigest()


def break_much(data: Path) -> int:
    """Rights, leftovers, a missing folder, an index that is gone, an engine that nobody minds; its process id."""
    data.chmod(0o755)
    (data / "brain.sqlite").chmod(0o644)
    shutil.rmtree(data / "logs")
    shutil.rmtree(data / "index")
    (data / "run" / "supervisor.sock").touch()
    old = data / "files" / ".new-old"
    old.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    (data / "files" / ".new-now").write_bytes(b"being written")
    environment = {**os.environ, MARK: str(data / "run/engines/big.json")}
    return int(subprocess.run(["bash", "-c", "setsid sleep 60 >/dev/null 2>&1 & echo $!"], env=environment, capture_output=True, check=True).stdout)


def noted(run: Run) -> list[tuple[str, str, dict[str, Any]]]:
    """What the audit log has of the doctor: who, outcome, details."""
    lines = run("audit", "export", "--action", "command.doctor").out.splitlines()
    return [(event["actor"], event["outcome"], event["details"]) for event in map(json.loads, lines)]


def test_people_read_it_step_by_step_with_what_to_do(run: Run, data: Path) -> None:
    (data / "run" / "supervisor.sock").touch()
    told = run("doctor")
    lines = told.out.splitlines()
    assert told.code == 0
    assert [line for line in lines if not line.startswith(" ")][:-1] == [line for line in lines if "步" in line or line.startswith("Step")]
    at = next(n for n, line in enumerate(lines) if "leftovers" in line or "遗留" in line)
    assert "→ qzbrain doctor --fix" in lines[at + 1]
    assert "leftovers" in lines[-1] and "\033" not in told.out
    assert run("doctor", "--step", "10").code == 2


def test_fix_puts_right_what_is_safe_and_leaves_the_rest(run: Run, data: Path) -> None:
    pid = break_much(data)
    before = precious(data)
    try:
        told = run("doctor", "--fix", "--yes", "--json")
        assert told.code == 0, told
        fixed, checks = told.json["fixed"], {one["id"]: one["status"] for one in told.json["checks"]}
        assert all(one["done"] for one in fixed) and len(fixed) >= 7, fixed  # and files beside the database, where there are any
        assert {checks[id] for id in ("data_folder", "leftovers", "index", "database", "audit")} == {"ok"}
        wait_for(lambda: has_ended(pid), "the engine's end", 5)
    finally:
        if not has_ended(pid):
            os.kill(pid, signal.SIGKILL)
    assert precious(data) == before
    assert (data / "files" / ".new-now").exists() and not (data / "files" / ".new-old").exists()
    assert (data / "logs").is_dir() and data.stat().st_mode & 0o077 == 0
    again = run("doctor", "--fix", "--yes", "--json")
    assert (again.code, again.json["fixed"]) == (0, [])
    ((who, outcome, details),) = noted(run)
    assert (who, outcome, details["uid"], details["failed"]) == ("local", "done", os.getuid(), {})
    assert sum(details["done"].values()) == len(fixed) and {"folders", "rights", "leftovers", "index"} == set(details["done"])
    assert run("audit", "verify").code == 0


def test_without_a_terminal_it_says_what_it_would_do_and_does_nothing(run: Run, data: Path) -> None:
    (data / "run" / "supervisor.sock").touch()
    told = run("doctor", "--fix")
    assert told.code == 2
    assert "supervisor.sock" in told.err and "--yes" in told.err
    assert noted(run) == []
    assert (data / "run" / "supervisor.sock").exists()


def test_a_running_brain_is_not_touched(run: Run, data: Path) -> None:
    (data / "run" / "supervisor.sock").touch()
    with closing(sqlite3.connect(data / "brain.sqlite")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0010'")
    lock = take_lock(Settings(qzbrain_data=data))
    try:
        assert run("doctor", "--fix", "--yes", "--json").json["fixed"] == []
    finally:
        os.close(lock)
    assert (data / "run" / "supervisor.sock").exists()


def test_what_cannot_be_done_is_told_and_fails(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data / "run" / "supervisor.sock").mkdir()  # no file: it cannot be unlinked
    told = run("doctor", "--fix", "--yes", "--json")
    assert told.code == 1
    (one,) = told.json["fixed"]
    assert (one["done"], "supervisor.sock" in one["action"], bool(one["reason"])) == (False, True, True)
    assert noted(run) == [("local", "failed", {"uid": os.getuid(), "done": {}, "failed": {"leftovers": 1}})]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to others")
def test_the_data_of_another_user_are_his_to_fix(run: Run, data: Path) -> None:
    (data / "run" / "supervisor.sock").touch()
    os.chown(data, 65534, 65534)
    told = run("doctor", "--fix", "--yes", "--json")
    assert (told.code, told.json["error"]["code"]) == (1, "data_of_another_user")
    assert "sudo -u '#65534' qzbrain doctor --fix" in told.json["error"]["message"]
    assert (data / "run" / "supervisor.sock").exists()


def test_a_config_that_cannot_be_used_is_reported_and_nothing_is_fixed(run: Run, data: Path) -> None:
    (data / "config.toml").write_text("qzbrain_prot = 1\n")
    told = run("doctor", "--fix", "--yes", "--json")
    checks = {one["id"]: one for one in told.json["checks"]}
    assert (told.code, told.json["fixed"], checks["configuration"]["status"]) == (1, [], "fail")
    assert "sed -i" in checks["configuration"]["next"]
