"""Puts a version in force: a copy of the database, a trial start of the new version on that data, and only then the link `current`.

What an upgrade is about to do stands in `upgrading.json` before it touches the data. Whatever ends it, the next run finds that file and puts the
database back as it was, unless the link has been changed already. Standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from qzbrain.errors import Conflict
from qzbrain.ops.bundle.installing import is_complete, run_child
from qzbrain.ops.bundle.layout import CORE, FOLDERS
from qzbrain.ops.bundle.machine import require_room
from qzbrain.ops.bundle.saying import say

_READY_S = 180.0
_STOP_S = 40.0
_POLL_S = 0.1
_TOLD_LINES = 12


@dataclass(frozen=True, slots=True)
class Status:
    """What a version sees with the settings in force. `database`: the SQLite file, '' for MySQL. `running`: address of a brain on that data."""

    data: str
    database: str
    accounts: bool
    running: str
    url: str


@dataclass(frozen=True, slots=True)
class Journal:
    """What stands in upgrading.json. `copy`: of the database as it was, '' when there was none; `data`: the data folder where there was none before;
    `restoring`: the copy is about to be put back, so that the database as it is now counts no more."""

    old: str
    new: str
    database: str
    copy: str
    data: str
    restoring: bool = False


class Place:
    """The folder that holds versions, the link to the one in force, and the data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.versions, self.current = folder / "versions", folder / "current"
        self.journal, self.launcher = folder / "upgrading.json", folder / "qzbrain"
        self.trusted, self.log, self.copies = folder / "trusted-key", folder / "install.log", folder / "before-upgrade"

    def version(self) -> str:
        """The name of the version in force; '' for none."""
        try:
            name = self.current.readlink().name
        except OSError:
            return ""
        return name if is_complete(self.versions / name) else ""

    def environment(self) -> dict[str, str]:
        """For commands of a version: data and configuration lie here, unless the caller's environment says otherwise."""
        return {"CURRENT_DIR": str(self.folder), **os.environ}

    def status(self, name: str) -> Status:
        """What this version sees. Raises Conflict with its own words when it does not accept the settings."""
        command = [str(self._python(name)), "-P", "-m", "qzbrain.ops.bundle.status"]
        with run_child(command, self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.versions / name) as process:
            out, err = process.communicate()
        if process.returncode:
            said = err.decode("utf-8", "replace").strip()
            raise Conflict(
                "settings_refused",
                zh=f"新版本不接受现有配置：\n{said}",
                en="The new version does not accept the configuration (see above). Correct it and run this again; what was in force still is.",
            )
        return Status(**json.loads(out))

    def recover(self) -> None:
        """Undo what an upgrade that was interrupted has done to the data."""
        if not self.journal.exists():
            return
        say("上次升级被中断，正在恢复 …", "the last upgrade was interrupted; putting things back …")
        journal = Journal(**json.loads(self.journal.read_text(encoding="utf-8")))
        if self.version() != journal.new:
            self._undo(journal)
        self.journal.unlink()

    def switch(self, name: str) -> None:
        """Put a version in force that comes up on the data; when it does not, everything is as before. Raises Conflict, OSError."""
        before = self.status(name)
        if before.running:
            raise Conflict(
                "already_running",
                zh=f"新版本已备好，但 qzbrain 正在运行（{before.running}）。请先停止它（Ctrl-C 或 systemctl stop），再运行一次同样的命令：只需几秒。",
                en=f"The new version is prepared, and a brain is running ({before.running}). Stop it (Ctrl-C, or systemctl stop), then run the same command "
                "again: it takes seconds.",
            )
        journal = self._begun(name, before)
        try:
            self._try_out(name, before)
            self._link(name, self.current)
        except BaseException:
            self._undo(journal)
            self.journal.unlink()
            raise
        self.journal.unlink()
        self._write_launcher()
        self._clear_away(keep={name, journal.old}, copy=journal.copy)

    def _begun(self, name: str, before: Status) -> Journal:
        """The journal, on the disk; after the copy that it names."""
        database, copy = Path(before.database), ""
        if before.database and database.exists():
            copy = str(self.copies / f"{self.version() or 'first'}.sqlite")
            require_room(self.folder, database.stat().st_size)
            say("正在复制数据库，以便退回 …", "copying the database, to be able to go back …")
            self.copies.mkdir(mode=0o700, exist_ok=True)
            _copy_database(database, Path(copy))
        elif not before.database:
            say("数据库在 MySQL 上，不由本程序复制：请确认已有备份。", "the database is on MySQL and is not copied here: see that there is a backup.")
        new_data = "" if Path(before.data).exists() else before.data
        journal = Journal(self.version(), name, before.database, copy, new_data)
        _write(self.journal, json.dumps(asdict(journal)))
        return journal

    def _undo(self, journal: Journal) -> None:
        """The database as it was, where the new version has changed its schema or made it; the same again when this is interrupted."""
        if journal.copy and Path(journal.copy).exists():
            if journal.restoring or _revision(Path(journal.database)) != _revision(Path(journal.copy)):
                _write(self.journal, json.dumps(asdict(replace(journal, restoring=True))))
                _remove_log(journal.database)
                Path(journal.copy).replace(journal.database)
            else:
                Path(journal.copy).unlink()
        elif journal.database and not journal.copy:
            _remove_log(journal.database)
            Path(journal.database).unlink(missing_ok=True)
        if journal.data:
            shutil.rmtree(journal.data, ignore_errors=True)

    def _try_out(self, name: str, before: Status) -> None:
        """Start the version on the real data, on a port that nobody knows, until it says that it can answer; then stop it. Raises Conflict."""
        say("正在试启动新版本 …", "starting the new version for a trial …")
        environment = {**self.environment(), "QZBRAIN_HOST": "127.0.0.1", "QZBRAIN_PORT": str(_free_port())}
        environment |= {"QZBRAIN_ACCOUNTS": "on"} if before.accounts else {}
        handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        folder, ready = self.versions / name, False
        with os.fdopen(handle, "wb") as log:
            process = run_child([str(self._python(name)), str(folder / "main.py")], environment, stdout=log, stderr=log, cwd=folder)
            try:
                ready = self._comes_up(process)
            finally:
                _end(process)
        if not ready:
            last = "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TOLD_LINES:])
            raise Conflict(
                "does_not_come_up",
                zh=f"新版本无法启动，已退回原状（日志：{self.log}）：\n{last}",
                en=f"The new version does not come up; everything is as it was before. Its last words are above, all of them in {self.log}.",
            )
        self.log.unlink()

    def _comes_up(self, process: subprocess.Popen[bytes]) -> bool:
        end = time.monotonic() + _READY_S
        while time.monotonic() < end and process.poll() is None:
            if b"qzbrain is ready" in self.log.read_bytes():
                return True
            time.sleep(_POLL_S)
        return False

    def _python(self, name: str) -> Path:
        return self.versions / name / FOLDERS[CORE] / "bin" / "python"

    def _link(self, name: str, link: Path) -> None:
        new = link.with_name(f".{link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(Path("versions") / name)
        new.replace(link)
        _sync_folder(self.folder)

    def _write_launcher(self) -> None:
        """`qzbrain` beside the versions: the one in force, on this folder's data."""
        here = str(self.folder).replace("'", "'\\''")
        text = (
            "#!/bin/sh\n# Made by install.sh: qzbrain in the version that is in force, with data and configuration of this folder.\n"
            f"here='{here}'\n"
            'if [ -e "$here/upgrading.json" ]; then\n'
            "    echo 'qzbrain: 升级未完成；请再运行一次 install.sh --upgrade。 · an upgrade was interrupted; run install.sh --upgrade again.' >&2\n"
            "    exit 1\nfi\n"
            'CURRENT_DIR="${CURRENT_DIR:-$here}"\nexport CURRENT_DIR\n'
            'exec "$here/current/.venv/bin/qzbrain" "$@"\n'
        )
        _write(self.launcher, text, mode=0o755)

    def _clear_away(self, *, keep: set[str], copy: str) -> None:
        """Versions and copies of databases older than the one before this."""
        for one in self.versions.iterdir():
            if one.name not in keep:
                shutil.rmtree(one, ignore_errors=True)
        if self.copies.is_dir():
            for one in self.copies.iterdir():
                if str(one) != copy:
                    one.unlink(missing_ok=True)


def _copy_database(source: Path, target: Path) -> None:
    """SQLite's own online copy: with what still stands in the write-ahead log."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(part)) as written:
        read.backup(written)
    part.chmod(0o600)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)


def _remove_log(database: str) -> None:
    for ending in ("-wal", "-shm"):
        Path(database + ending).unlink(missing_ok=True)


def _revision(database: Path) -> str:
    """The schema's revision; 'none' where it cannot be told."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return "none"
    return str(row[0]) if row else "none"


def _write(path: Path, text: str, *, mode: int = 0o600) -> None:
    new = path.with_name(f".{path.name}.new")
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.chmod(mode)
    new.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
