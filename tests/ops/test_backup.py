"""Backups: complete, incremental, encrypted, checked, made while the brain goes on; and putting one back."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from qzbrain.brain import beside_backup, build
from qzbrain.errors import Conflict, StorageBusy
from qzbrain.jobs.lock import WorkerLock
from qzbrain.ops import restoring
from qzbrain.ops.start import prepare_folders, take_lock
from qzbrain.settings import Settings
from qzbrain.storage.backups import REINDEX
from qzbrain.storage.backups.checking import faults
from qzbrain.storage.backups.of_settings import repository_of
from qzbrain.storage.backups.repository import Backup
from qzbrain.storage.backups.taking import take
from qzbrain.storage.tables import audit_log, chunks, documents, sessions
from qzbrain.worker import Workplace
from tests.cli.conftest import (
    Run,
    run,  # noqa: F401  the fixture
)
from tests.ops.backed_up import answers, caller_of, files_of, fill, idle, rows_of
from tests.running import free_port

SECRET = "correct horse battery staple"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "backup.key"
    path.write_text(SECRET + "\n")
    return path


def silent(_stage: str, _done: int, _total: int) -> None:
    """Nobody looks."""


def code_of(outcome: Any) -> tuple[int, str]:
    return outcome.code, outcome.json["error"]["code"]


def parts(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in ("lock", "repository.json"))


def test_everything_comes_back_elsewhere_and_answers_the_same(settings: Settings, run: Run, tmp_path: Path) -> None:  # noqa: F811
    fill(settings)
    rows, files, said = rows_of(settings), files_of(settings), answers(settings)
    assert all(said) and len(files) == 4
    made = run("backup", "--json")
    assert made.code == 0, made.err
    assert (made.json["files"], made.json["new_files"], made.json["missing"]) == (4, 4, 0)
    assert run("backup", "verify", "--json").json == {"backup": made.json["id"], "whole": True, "faults": []}
    there = tmp_path / "elsewhere"
    done = run("restore", "latest", "--into", there, "--json")
    assert done.code == 0, done.err
    assert done.json["backup"] == made.json["id"] and done.json["saved"] is None
    other = settings.model_copy(update={"qzbrain_data": there})
    assert rows_of(other) == rows
    assert files_of(other) == files
    assert answers(other) == said
    assert not (there / "restore.part").exists() and not (there / "restore.ready").exists()
    brain = build(other)  # and it goes on: no number is given twice
    brain.knowledge.add_file(caller_of(brain), "rules", "neu.txt", io.BytesIO("第九号规定由第九局批准。".encode()))
    idle(brain)
    assert max(row.id for row in brain.db.rows(select(chunks.c.id))) > max(row[0] for row in rows["chunks"])
    brain.close()


def test_the_second_backup_keeps_only_what_is_new_and_prune_forgets(
    settings: Settings, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    fill(settings)
    folder = tmp_path / "backups"
    first = run("backup", "-o", folder, "--json").json
    again = run("backup", "-o", folder, "--json").json
    assert (again["files"], again["new_files"], again["new_bytes"]) == (4, 0, 0)
    brain = build(settings)
    caller = caller_of(brain)
    brain.knowledge.add_file(caller, "rules", "neu.txt", io.BytesIO(b"new"))
    for one in brain.knowledge.documents(caller, "rules").data[:2]:
        brain.knowledge.delete_document(caller, one.id)
    idle(brain)
    brain.close()
    third = run("backup", "-o", folder, "--json").json
    assert (third["files"], third["new_files"]) == (3, 1)
    listed = run("backup", "list", "-o", folder, "--json").json["backups"]
    assert [one["id"] for one in listed] == [first["id"], again["id"], third["id"]]
    assert len(list((folder / "files").glob("??/*"))) == 5
    monkeypatch.setenv("QZBRAIN_AUDIT", "on")
    pruned = run("backup", "prune", "--keep", 1, "-o", folder, "--json").json
    (event,) = map(json.loads, run("audit", "export", "--action", "command.backup.prune").out.splitlines())
    assert event["outcome"] == "done" and event["details"] == {"uid": os.getuid(), "removed": [first["id"], again["id"]]}
    assert pruned["removed"] == [first["id"], again["id"]] and pruned["freed_bytes"] > 0
    assert len(list((folder / "files").glob("??/*"))) == 3
    assert run("backup", "verify", third["id"], "-o", folder).code == 0
    assert code_of(run("backup", "verify", first["id"], "-o", folder, "--json")) == (1, "backup_not_found")


def test_encrypted_it_shows_nothing_without_the_key(settings: Settings, run: Run, tmp_path: Path, key: Path) -> None:  # noqa: F811
    fill(settings)
    rows, folder = rows_of(settings), tmp_path / "secret"
    (settings.data / "secrets").mkdir(exist_ok=True)
    (settings.data / "secrets" / "totp.key").write_bytes(b"t" * 32)
    assert run("backup", "-o", folder, "--key-file", key).code == 0
    whole = b"".join(path.read_bytes() for path in parts(folder)) + "".join(path.name for path in parts(folder)).encode()
    assert "董事会".encode() not in whole and not any(name.encode() in whole for name in files_of(settings))
    assert run("backup", "list", "-o", folder, "--json").json["backups"][0]["encrypted"] is True
    (tmp_path / "other.key").write_text("another secret")
    there = tmp_path / "elsewhere"
    for arguments, said in (
        (("backup", "verify", "-o", folder), "backup_key_needed"),
        (("backup", "-o", folder), "backup_key_needed"),
        (("restore", "latest", "--from", folder, "--into", there), "backup_key_needed"),
        (("restore", "latest", "--from", folder, "--into", there, "--key-file", tmp_path / "other.key"), "backup_key_wrong"),
    ):
        assert code_of(run(*arguments, "--json")) == (1, said)
    assert not there.exists()
    assert run("restore", "latest", "--from", folder, "--into", there, "--key-file", key).code == 0
    other = settings.model_copy(update={"qzbrain_data": there})
    assert rows_of(other) == rows and files_of(other) == files_of(settings)
    assert (there / "secrets" / "totp.key").read_bytes() == b"t" * 32
    assert run("backup", "-o", tmp_path / "open").code == 0
    assert code_of(run("backup", "-o", tmp_path / "open", "--key-file", key, "--json")) == (1, "backup_not_encrypted")
    assert not [path for path in parts(tmp_path / "open") if path.name == "secrets"]


def test_what_is_saved_beside_encrypted_backups_is_encrypted(settings: Settings, run: Run, key: Path) -> None:  # noqa: F811
    fill(settings, number=1)
    assert run("backup", "--key-file", key).code == 0
    assert code_of(run("restore", "latest", "--replace", "--json")) == (1, "backup_key_needed")
    with pytest.raises(Conflict) as refused:
        repository_of(settings, make=True)
    assert refused.value.code == "backup_key_needed", "nothing is written there without the key"
    saved = run("restore", "latest", "--replace", "--key-file", key, "--json").json["saved"]
    listed = run("backup", "list", "--json").json["backups"]
    assert [one["encrypted"] for one in listed] == [True, True] and listed[-1]["id"] == saved
    assert run("backup", "verify", saved, "--key-file", key).code == 0
    kept = settings.backup_folder / "repository.json"
    kept.write_bytes(kept.read_bytes().replace(b'"wrapped": "', b'"wrapped": "A'))
    assert code_of(run("backup", "verify", "--key-file", key, "--json")) == (1, "backup_damaged")


@pytest.mark.parametrize("encrypted", [False, True])
def test_damage_anywhere_is_found_and_nothing_is_restored(settings: Settings, run: Run, tmp_path: Path, key: Path, encrypted: bool) -> None:  # noqa: F811
    fill(settings, number=2)
    folder, there = tmp_path / "backups", settings.model_copy(update={"qzbrain_data": tmp_path / "elsewhere"})
    with_key = ("--key-file", key) if encrypted else ()
    assert run("backup", "-o", folder, *with_key).code == 0
    repository, broken = repository_of(settings, folder, key if encrypted else None), 0
    whole = repository.find("latest")
    for path in list(parts(folder)):
        content = path.read_bytes()
        half = len(content) // 2
        for wrong in (content[:-1], content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]):
            path.unlink()  # it may be a link to the original
            path.write_bytes(wrong)
            if path.name == "backup.json":
                with pytest.raises(Conflict) as refused:
                    repository.find(whole.id)
            else:
                assert {one.code for one in faults(repository, whole, silent)} == {"backup_damaged"}, path
                with pytest.raises(Conflict) as refused:
                    restoring.restore(there, repository, whole, replace=True, progress=silent)
            assert refused.value.code == "backup_damaged", path
            broken += 1
        path.write_bytes(content)
    found = run("backup", "verify", "-o", folder, *with_key)
    assert broken >= 8 and found.code == 0 and not there.data.exists()
    (folder / "backups" / whole.id / "settings").write_bytes(b"")
    assert run("backup", "verify", "-o", folder, *with_key, "--json").json["faults"][0]["code"] == "backup_damaged"
    (folder / "backups" / whole.id / "settings").unlink()
    assert run("backup", "verify", "-o", folder, *with_key).code == 1


def test_restoring_over_a_brain_is_asked_for_and_saves_what_was_there(settings: Settings, run: Run) -> None:  # noqa: F811
    fill(settings)
    old = rows_of(settings)
    assert run("backup").code == 0
    brain = build(settings)
    brain.knowledge.create(caller_of(brain), name="later")
    brain.close()
    assert code_of(run("restore", "latest", "--json")) == (1, "not_empty")
    now = rows_of(settings)
    assert len(now["knowledge_bases"]) == 2
    done = run("restore", "latest", "--replace", "--json")
    assert done.code == 0, done.err
    assert rows_of(settings) == old
    back = run("restore", done.json["saved"], "--replace", "--json")
    assert back.code == 0, back.err
    assert rows_of(settings) == now
    empty = [one for one in run("backup", "list", "--json").json["backups"] if one["reason"] == "before-restore"]
    assert len(empty) == 2


def test_a_brain_in_use_is_not_restored_over(settings: Settings, run: Run) -> None:  # noqa: F811
    fill(settings, number=1)
    assert run("backup").code == 0
    before = rows_of(settings)
    prepare_folders(settings)
    lock = take_lock(settings)
    assert code_of(run("restore", "latest", "--replace", "--json")) == (1, "already_running")
    os.close(lock)
    worker = WorkerLock(settings.data)
    assert worker.acquire()
    assert code_of(run("restore", "latest", "--replace", "--json")) == (1, "already_running")
    worker.release()
    brain = build(settings)  # a web server under another manager holds none of these
    brain.db.rows(select(documents.c.id))
    assert code_of(run("restore", "latest", "--replace", "--json")) == (1, "already_running")
    brain.close()
    assert rows_of(settings) == before
    assert run("restore", "latest", "--replace").code == 0


def test_a_damaged_database_is_put_aside(settings: Settings, run: Run) -> None:  # noqa: F811
    fill(settings, number=1)
    before = rows_of(settings)
    assert run("backup").code == 0
    settings.database_path.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    assert code_of(run("restore", "latest", "--json")) == (1, "not_empty")
    done = run("restore", "latest", "--replace", "--json")
    assert done.code == 0, done.err
    assert rows_of(settings) == before
    assert (Path(done.json["aside"]) / settings.database_path.name).read_bytes().endswith(b"\xff")


def test_a_search_server_that_is_away_keeps_no_rows_back_and_the_worker_tries_again(settings: Settings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    fill(settings)
    rows, said = rows_of(settings), answers(settings)
    assert run("backup").code == 0
    monkeypatch.setenv("ES_URL_ADD", f"127.0.0.1:{free_port()}")
    done = run("restore", "latest", "--replace", "--json")
    assert (done.code, done.json["unindexed"]) == (0, "search_unreachable"), done.err
    assert rows_of(settings) == rows and (settings.data / REINDEX).exists()
    assert "search_unreachable" in run("restore", "latest", "--replace").err
    monkeypatch.delenv("ES_URL_ADD")
    brain = build(settings)
    worker = Workplace(brain)
    worker.rest(0, None)
    assert not (settings.data / REINDEX).exists(), "while it runs it looks again and again"
    worker.close()
    brain.close()
    assert answers(settings) == said
    assert run("restore", "latest", "--replace", "--json").json["unindexed"] is None


def test_the_audit_chain_holds_and_nobody_is_signed_in(settings: Settings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("QZBRAIN_AUDIT", "on")
    assert run("kb", "create", "one").code == 0
    settings = settings.model_copy(update={"qzbrain_audit": "on"})
    brain = build(settings)
    row = {"id": "s", "token": "t", "user_id": "u", "created_at": 1.0, "seen_at": 1.0, "rotated_at": 1.0}
    with brain.db.write() as connection:
        connection.execute(insert(sessions).values(row))
    brain.close()
    assert run("backup").code == 0
    assert run("kb", "create", "two").code == 0
    assert run("kb", "create", "three").code == 0
    done = run("restore", "latest", "--replace", "--json")
    assert done.code == 0, done.err
    verified = run("audit", "verify", "--json")
    assert verified.code == 0, verified.out
    brain = build(settings)
    actions = [row.action for row in brain.db.rows(select(audit_log.c.action).order_by(audit_log.c.number))]
    assert "backup.restore" in actions and not brain.db.rows(select(sessions.c.id))
    brain.close()


def test_what_is_deleted_while_a_backup_reads_goes_from_the_disk_afterwards(settings: Settings) -> None:
    fill(settings, number=3)
    brain = build(settings)
    caller = caller_of(brain)
    first = brain.knowledge.documents(caller, "rules").data[0]
    purge = Workplace(brain).kinds["purge"].handle
    with brain.files.held():
        brain.knowledge.delete_document(caller, first.id)
        lease = next(x for x in brain.jobs.claim({"purge": Workplace(brain).kinds["purge"]}))
        with pytest.raises(StorageBusy):
            purge([lease])
        assert len(files_of(settings)) == 2 and not brain.files.remove("0" * 64)
    purge([lease])
    assert len(files_of(settings)) == 1
    brain.close()


def test_while_uploads_and_deletions_go_on_no_row_is_without_its_original(settings: Settings, run: Run, tmp_path: Path) -> None:  # noqa: F811
    fill(settings, number=8)
    brain = build(settings)
    caller, ending, done = caller_of(brain), threading.Event(), [0, 0]
    purge = Workplace(brain).kinds["purge"]

    def go_on() -> None:
        while not ending.is_set():
            done[0] += 1
            brain.knowledge.add_file(caller, "rules", f"neu{done[0]}.txt", io.BytesIO(f"第{done[0]}份新文件。".encode() * 200))
            one = brain.knowledge.documents(caller, "rules", limit=1).data
            if done[0] % 2 and one:
                brain.knowledge.delete_document(caller, one[0].id)
                for lease in brain.jobs.claim({"purge": purge}):
                    try:
                        purge.handle([lease])
                        done[1] += 1
                    except (StorageBusy, RuntimeError):
                        pass

    repository, made = repository_of(settings, make=True), list[Backup]()
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        while len(made) < 5 or (done[0] < 12 and len(made) < 200):
            with repository.locked():
                made.append(take(brain.db, brain.files, repository, "manual", beside_backup(settings), silent))
    finally:
        ending.set()
        thread.join()
    brain.close()
    assert done[0] >= 12 and len({one.rows["documents"] for one in made}) > 1, "nothing went on meanwhile"
    assert not any(one.missing for one in made)
    for number, one in enumerate((made[len(made) // 2], made[-1])):
        there = tmp_path / f"there{number}"
        assert run("restore", one.id, "--into", there).code == 0
        other = settings.model_copy(update={"qzbrain_data": there})
        rows, files = rows_of(other), files_of(other)
        named = {row[[column.name for column in documents.columns].index("sha256")] for row in rows["documents"]}
        assert named <= set(files) and all(name == digest for name, digest in files.items())


def test_only_an_empty_folder_becomes_one_of_backups(settings: Settings, run: Run, tmp_path: Path) -> None:  # noqa: F811
    assert run("kb", "create", "x").code == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("x")
    assert code_of(run("backup", "-o", tmp_path / "mine", "--json")) == (1, "not_a_backup_folder")
    assert code_of(run("backup", "verify", "-o", tmp_path / "none", "--json")) == (1, "no_backups")
    assert run("backup", "list", "-o", tmp_path / "none", "--json").json == {"backups": []}
    assert run("backup", "--json", "list").code == 2
    assert run("backup", "-o", tmp_path / "empty").code == 0
    wrong = tmp_path / "short.key"
    wrong.write_text("x")
    assert code_of(run("backup", "-o", tmp_path / "e", "--key-file", wrong, "--json")) == (1, "settings_invalid")
