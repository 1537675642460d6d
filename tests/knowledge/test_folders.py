"""Watched folders: what is added, changed and removed there is so here; and the ugly twins: half-written, unreadable, away, links that lead out."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from qzbrain.brain import Brain, build
from qzbrain.domain import Caller, Document, WatchedFolder
from qzbrain.errors import BrainError
from qzbrain.settings import Settings
from qzbrain.storage.tables import jobs, watched_files, watched_folders
from qzbrain.web import render
from tests.knowledge.conftest import texts_found

Work = Callable[[], None]
Shown = Callable[[], dict[str, Document]]
Sync = Callable[[], dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "watched"
    made.mkdir()
    return made


def _write(path: Path, text: str, *, age_s: float = 60) -> None:
    """A file that was last written so long ago; each a little later than the one before, as in life."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    _write.count += 1  # type: ignore[attr-defined]
    when = time.time() - age_s + _write.count / 1000  # type: ignore[attr-defined]
    os.utime(path, (when, when))


_write.count = 0  # type: ignore[attr-defined]


@pytest.fixture
def sync(brain: Brain, caller: Caller, kb: str, folder: Path, work: Work) -> Sync:
    """Look through the folder now, and do all that follows; returns the counts."""
    brain.folders.watch(caller, kb, str(folder), recursive=True, exclude=["*.log", "drafts/*"], anywhere=True)

    def now() -> dict[str, Any]:
        with brain.db.write() as connection:
            connection.execute(update(jobs).where(jobs.c.kind == "scan").values(run_after=0.0))
        work()
        (one,) = brain.folders.watched(caller, kb)
        assert one.last_scan_at is not None
        return dict(one.result or {})

    return now


def _counts(result: dict[str, Any]) -> dict[str, int]:
    return {name: result[name] for name in ("added", "changed", "removed") if result[name]}


def test_added_changed_and_removed(brain: Brain, caller: Caller, folder: Path, sync: Sync, documents: Shown) -> None:
    _write(folder / "a.txt", "采购金额超过五十万元的须经批准。")
    _write(folder / "inside" / "b.txt", "独角兽须登记。")
    assert _counts(sync()) == {"added": 2}
    assert {name: x.status for name, x in documents().items()} == {"a.txt": "ready", "b.txt": "ready"}
    assert sync()["unchanged"] == 2
    _write(folder / "a.txt", "采购金额超过八十万元的须经批准。")
    result = sync()
    assert (_counts(result), result["replacing"]) == ({"changed": 1}, 1)
    assert sync()["replacing"] == 0
    assert texts_found(brain, caller, "采购金额由谁批准") == ["采购金额超过八十万元的须经批准。"]
    (folder / "inside" / "b.txt").unlink()
    assert _counts(sync()) == {"removed": 1}
    assert set(documents()) == {"a.txt"}
    assert texts_found(brain, caller, "独角兽") == []


def test_the_old_content_is_found_until_the_new_one_is_ready(brain: Brain, caller: Caller, folder: Path, sync: Sync) -> None:
    _write(folder / "a.txt", "采购金额超过五十万元的须经批准。")
    sync()
    _write(folder / "a.txt", "…… ……")
    sync()
    result = sync()
    assert [x["path"] for x in result["errors"]] == ["a.txt"]
    assert texts_found(brain, caller, "采购金额由谁批准") == ["采购金额超过五十万元的须经批准。"]
    _write(folder / "a.txt", "采购金额超过五十万元的须经批准。")
    sync()
    assert texts_found(brain, caller, "采购金额由谁批准") == ["采购金额超过五十万元的须经批准。"]
    assert sync()["error_count"] == 0


def test_a_new_time_alone_reads_nothing_again(folder: Path, sync: Sync, documents: Shown) -> None:
    _write(folder / "a.txt", "文件。")
    sync()
    before = documents()["a.txt"].id
    _write(folder / "a.txt", "文件。")
    result = sync()
    assert (_counts(result), result["unchanged"]) == ({}, 1)
    assert documents()["a.txt"].id == before


def test_what_is_hidden_temporary_excluded_or_a_link_is_left_out(folder: Path, sync: Sync, documents: Shown, tmp_path: Path) -> None:
    for name in (".hidden", "~$a.docx", "b.tmp", ".~lock.a.odt#", "c.part", "d.log", "drafts/e.txt", ".git/f.txt"):
        _write(folder / name, "文件。")
    _write(tmp_path / "secret.txt", "机密。")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "out").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.txt")
    _write(folder / "kept.txt", "留下的文件。")
    result = sync()
    assert _counts(result) == {"added": 1}
    assert set(documents()) == {"kept.txt"}
    assert result["skipped"] >= 8 and result["error_count"] == 0


def test_a_folder_that_becomes_a_link_while_it_is_looked_through_leads_nowhere(
    folder: Path, sync: Sync, documents: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(folder / "in" / "a.txt", "文件。")
    _write(tmp_path / "secret" / "a.txt", "机密。")
    real = os.open

    def swap(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        if str(path).endswith("in/a.txt"):
            (folder / "in").rename(tmp_path / "moved")
            (folder / "in").symlink_to(tmp_path / "secret")
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", swap)
    result = sync()
    assert ([x["path"] for x in result["errors"]], documents()) == (["in/a.txt"], {})


def test_a_file_that_is_being_written_waits(folder: Path, sync: Sync, documents: Shown) -> None:
    _write(folder / "a.txt", "刚刚写", age_s=0)
    result = sync()
    assert (_counts(result), result["waiting"], documents()) == ({}, 1, {})
    _write(folder / "a.txt", "写完了。")
    assert _counts(sync()) == {"added": 1}


def test_a_folder_that_is_away_deletes_nothing(brain: Brain, caller: Caller, kb: str, folder: Path, sync: Sync, documents: Shown) -> None:
    _write(folder / "a.txt", "文件。")
    sync()
    folder.rename(folder.with_name("elsewhere"))
    result = sync()
    assert result["away"] and result["error_count"] == 1 and set(documents()) == {"a.txt"}
    folder.mkdir()
    with brain.db.write() as connection:  # the empty folder under a mount: of another device
        connection.execute(update(watched_folders).values(result={**result, "device": -1}))
    assert sync()["away"] and set(documents()) == {"a.txt"}
    folder.rmdir()
    folder.with_name("elsewhere").rename(folder)
    result = sync()
    assert (result["away"], result["unchanged"]) == (False, 1)
    assert render.folder(brain.folders.watched(caller, kb)[0], "en")["result"]["errors"] == []


def test_a_folder_inside_that_cannot_be_read_keeps_its_documents(
    folder: Path, sync: Sync, documents: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(folder / "inside" / "a.txt", "文件。")
    _write(folder / "b.txt", "另一份。")
    sync()
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("inside"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    result = sync()
    assert (_counts(result), [x["path"] for x in result["errors"]]) == ({}, ["inside"])
    assert set(documents()) == {"a.txt", "b.txt"}


def test_the_same_bytes_elsewhere_keep_the_document(brain: Brain, caller: Caller, kb: str, folder: Path, sync: Sync, documents: Shown) -> None:
    for name in ("a.txt", "copy.txt", "uploaded.txt"):
        _write(folder / name, "同样的文件。" if name != "uploaded.txt" else "也被上传的文件。")
    assert _counts(sync()) == {"added": 3}
    assert len(documents()) == 2
    assert brain.knowledge.add_file(caller, kb, "u.txt", io.BytesIO("也被上传的文件。".encode())).duplicate
    (folder / "a.txt").unlink()
    (folder / "uploaded.txt").unlink()
    assert _counts(sync()) == {"removed": 2}
    assert len(documents()) == 2
    (folder / "copy.txt").unlink()
    sync()
    assert len(documents()) == 1


def test_many_files_looked_at_again_read_none(brain: Brain, folder: Path, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(300):
        _write(folder / f"{n % 7}" / f"{n}.txt", f"第{n}份文件。")
    assert _counts(sync()) == {"added": 300}

    def opened(*_: Any) -> int:
        raise AssertionError("a file was opened")

    with monkeypatch.context() as patch:
        patch.setattr("qzbrain.knowledge.folder_scan._Run._opened", opened)
        assert sync()["unchanged"] == 300


def test_unwatched_its_documents_stay_and_a_removed_base_forgets_it(
    brain: Brain, caller: Caller, kb: str, folder: Path, sync: Sync, documents: Shown, work: Work
) -> None:
    _write(folder / "a.txt", "文件。")
    sync()
    brain.folders.unwatch(caller, kb, str(folder))
    (folder / "a.txt").unlink()
    work()
    assert (set(documents()), brain.folders.watched(caller, kb)) == ({"a.txt"}, [])
    with pytest.raises(BrainError, match="folder_not_found"):
        brain.folders.unwatch(caller, kb, str(folder))
    brain.folders.watch(caller, kb, str(folder), anywhere=True)
    brain.knowledge.delete(caller, kb)
    work()
    assert not brain.db.rows(watched_folders.select()) and not brain.db.rows(watched_files.select())


@pytest.fixture
def fenced(make_settings: Callable[..., Settings], folder: Path) -> Iterator[tuple[Brain, Caller]]:
    """A brain that lets the folder be watched over HTTP, and no other."""
    brain = build(make_settings(watch_roots=str(folder)))
    caller = brain.access.local_caller()
    brain.knowledge.create(caller, name="x")
    yield brain, caller
    brain.close()


def test_over_http_only_what_lies_inside_the_roots(fenced: tuple[Brain, Caller], folder: Path, tmp_path: Path) -> None:
    brain, caller = fenced
    (folder / "in").mkdir()
    (folder / "out").symlink_to(tmp_path)
    made: WatchedFolder = brain.folders.watch(caller, "x", str(folder / "in"))
    assert made.path == str(folder / "in") and made.result is None
    for path in (tmp_path, folder / "out", folder / "..", "/etc", f"{folder}/../nothing", str(folder) + "2"):
        with pytest.raises(BrainError, match="folder_not_allowed"):
            brain.folders.watch(caller, "x", str(path))
    for path, code in ((folder / "nothing", "no_such_folder"), ("", "invalid_value"), ("a\nb", "invalid_value")):
        with pytest.raises(BrainError, match=code):
            brain.folders.watch(caller, "x", str(path))
    with pytest.raises(BrainError, match="invalid_value"):
        brain.folders.watch(caller, "x", str(folder), every_s=1)
    with pytest.raises(BrainError, match="own_folder"):
        brain.folders.watch(caller, "x", str(tmp_path), anywhere=True)
