"""Putting a backup into the place of a brain: an empty one, or one that is backed up first.

SQLite: the new brain is built beside the old one, indexes included, and takes its place in one step (`storage/backups/placing.py`).
MySQL: its tables are emptied and filled in the database itself, which is marked as not whole meanwhile; a restore that broke off is run again.
Originals go into the content store before anything counts: what the old brain does not name there does it no harm.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import DatabaseError

from qzbrain.auth.audit_head import HeadFile
from qzbrain.brain import Brain, beside_backup, build, database_of
from qzbrain.errors import Conflict, IndexUnavailable
from qzbrain.jobs.lock import WorkerLock
from qzbrain.ops.copying import no_brain, require_no_session
from qzbrain.ops.renewing import Former, build_indexes, drop_indexes, renew_indexes
from qzbrain.ops.start import prepare_folders
from qzbrain.retrieval.backends import chosen
from qzbrain.settings import Settings
from qzbrain.storage import migrate
from qzbrain.storage.backups import REINDEX, placing
from qzbrain.storage.backups.checking import require_whole
from qzbrain.storage.backups.of_settings import has_data, repository_of
from qzbrain.storage.backups.repository import Backup, Repository, damaged, to_disk
from qzbrain.storage.backups.rows import BadRows, Progress, load
from qzbrain.storage.backups.sealing import PIECE
from qzbrain.storage.backups.taking import take
from qzbrain.storage.counters import COUNTED, go_on_after
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import audit_log

_NEVER_BACK = ("sessions", "links", "login_failures")
"""Who was signed in, and links that were sent, do not come back."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done. `saved`: the backup of what was there before; `aside`: where a database lies that could not be read any more.

    `unindexed`: why the indexes are still those of before, and the worker has yet to build them; None where they are as they should be.
    """

    backup: str
    made_at: str
    database: str
    revision: str
    rows: int
    files: int
    missing: int
    saved: str | None
    aside: str | None
    unindexed: str | None
    seconds: float


def restore(settings: Settings, repository: Repository, backup: Backup, *, replace: bool, keep_schema: bool = False, progress: Progress) -> Restored:
    """Put a backup into the place of the brain of these settings. `keep_schema`: with the revision that it has, for an older program.

    Raises Conflict: `newer_backup`, `backup_damaged`, `backup_key_needed`, `already_running`, `not_empty` (without `replace`), StorageFull.
    """
    began = time.monotonic()
    _require_known(backup)
    with repository.locked(alone=False):
        require_whole(repository, backup, progress)
    prepare_folders(settings)
    with no_brain({settings.data}, settings), _no_worker(settings):
        placing.finish(settings.data)
        _require_unused(settings)
        with closing(database_of(settings)) as database:
            require_no_session(database)
            saved, aside = _saved(settings, database, replace=replace, progress=progress)
        with repository.locked(alone=False, wait=True):  # not before: what is there may be saved into the same folder
            backup = repository.find(backup.id)
            files = FileStore(settings.data / "files")
            _require_room(settings, repository, backup)
            count = _place_originals(repository, backup, files, progress)
            into = _into_server if settings.mysql_host else _into_file
            revision = into(settings, repository, backup, keep_schema=keep_schema, progress=progress)
        unindexed = _renewed(settings, keep_schema=keep_schema, progress=progress)
        if saved is not None:
            with (kept := repository_of(settings)).locked(wait=True):
                kept.prune(settings.backup_keep, ("before-restore",))
    seconds = round(time.monotonic() - began, 3)
    rows = sum(backup.rows.values())
    return Restored(backup.id, backup.made_at, database.place, revision, rows, count, backup.missing, saved, aside, unindexed, seconds)


def downgrade_backup(repository: Repository) -> Backup:
    """The newest backup that was made before an upgrade. Raises Conflict (`no_downgrade`)."""
    found = [one for one in repository.backups() if one.reason.startswith("before-") and one.reason[7:].isdigit()]
    if not found:
        raise Conflict(
            "no_downgrade",
            zh=f"{repository.folder} 中没有升级前的自动备份，无法退回旧版本。可用 qzbrain backup list 查看其他备份。",
            en=f"There is no backup from before an upgrade in {repository.folder}, so there is nothing to go back to. qzbrain backup list shows other backups.",
        )
    return found[-1]


# -- before


@contextmanager
def _no_worker(settings: Settings) -> Iterator[None]:
    """None begins on this data folder meanwhile. Raises Conflict."""
    lock = WorkerLock(settings.data)
    if not lock.acquire():
        raise _in_use(settings)
    try:
        yield
    finally:
        lock.release()


def _require_unused(settings: Settings) -> None:
    """No process has the database file open, however it was started: SQLite leaves its write-ahead log for nobody but the last one. Raises Conflict."""
    if settings.mysql_host or not settings.database_path.exists():
        return
    with closing(sqlite3.connect(settings.database_path, timeout=1, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as exc:
            if "locked" in str(exc) or "busy" in str(exc):
                raise _in_use(settings) from exc
        except sqlite3.DatabaseError:
            return  # damaged: that is why somebody restores


def _in_use(settings: Settings) -> Conflict:
    return Conflict(
        "already_running",
        zh=f"数据目录 {settings.data} 正被其他进程使用。请先停止 qzbrain（网页服务、后台处理和正在运行的命令），再恢复。",
        en=f"The data folder {settings.data} is in use. Stop the brain first: its web server, its worker, and commands that run.",
    )


def _require_known(backup: Backup) -> None:
    if backup.revision > migrate.HEAD:
        raise Conflict(
            "newer_backup",
            zh=f"备份 {backup.id} 由更新的程序（{backup.program}，表结构 {backup.revision}）生成，本程序是 {migrate.HEAD}。请先升级 qzbrain，再恢复。",
            en=f"The backup {backup.id} was made by a newer program ({backup.program}, schema {backup.revision}); this one is at {migrate.HEAD}. "
            "Upgrade qzbrain, then restore.",
        )


def _saved(settings: Settings, database: Database, *, replace: bool, progress: Progress) -> tuple[str | None, str | None]:
    """What is there now, backed up; a file that cannot be read any more is copied aside. Raises Conflict (`not_empty`)."""
    if not settings.mysql_host and not settings.database_path.exists():
        return None, None
    try:
        if database.kind == "mysql" and _broken_off(database):
            return None, None  # what was there is in the backup that the interrupted restore made
        if not has_data(database):
            return None, None
    except (DatabaseError, sqlite3.DatabaseError) as exc:
        if not replace:
            raise _not_empty(database) from exc
        return None, _aside(settings)
    if not replace:
        raise _not_empty(database)
    repository = repository_of(settings, make=True)
    try:
        with repository.locked(wait=True):
            made = take(database, FileStore(settings.data / "files"), repository, "before-restore", beside_backup(settings), progress)
    except (DatabaseError, sqlite3.DatabaseError):
        if database.kind == "mysql":
            raise
        return None, _aside(settings)
    return made.id, None


def _broken_off(database: Database) -> bool:
    with database.read() as connection:
        return migrate.interrupted(connection) is not None


def _aside(settings: Settings) -> str:
    folder = settings.data / f"damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder.mkdir()
    for path in settings.data.glob(f"{settings.database_path.name}*"):
        if path.is_file():
            shutil.copy2(path, folder)
    return str(folder)


def _not_empty(database: Database) -> Conflict:
    return Conflict(
        "not_empty",
        zh=f"{database.place} 中已有内容。要用备份取代它，请加 --replace（现有内容会先自动备份）；只想查看备份时，用 --into 恢复到另一个目录。",
        en=f"There is something in {database.place}. To put the backup in its place add --replace (it is backed up first); "
        "to look into a backup restore it elsewhere with --into.",
        param="replace",
    )


def _require_room(settings: Settings, repository: Repository, backup: Backup) -> None:
    """Rows and indexes take some eight times their compressed size; originals their own, unless they can be linked."""
    wanted = 8 * backup.size_bytes + (64 << 20)
    if repository.encrypted or repository.folder.stat().st_dev != settings.data.stat().st_dev:
        wanted += backup.files_bytes
    free = shutil.disk_usage(settings.data).free
    if free < wanted:
        raise Conflict(
            "not_enough_space",
            zh=f"恢复约需 {wanted >> 20} MiB 磁盘空间，数据目录所在磁盘只剩 {free >> 20} MiB。请清理磁盘后重试；现有内容没有改动。",
            en=f"The restore needs some {wanted >> 20} MiB and the disk of the data folder has {free >> 20} MiB left. Free space, then try again; "
            "nothing was changed.",
        )


def _place_originals(repository: Repository, backup: Backup, files: FileStore, progress: Progress) -> int:
    """Bring originals into the content store, those that it has whole excepted; returns how many belong to the backup."""
    wanted = repository.originals(backup)
    for done, one in enumerate(wanted, 1):
        target = files.path(one.sha256)
        if not (target.exists() and _digest(target) == one.sha256):
            target.parent.mkdir(exist_ok=True)
            new = files.root / f".new-restore-{os.getpid()}"
            new.unlink(missing_ok=True)
            if not repository.link(one.sha256, new):
                with repository.original(one.sha256) as source, new.open("xb") as out:
                    shutil.copyfileobj(source, out, PIECE)
            os.utime(new)  # a sweep of strays lets what is young be
            new.replace(target)
        progress("files", done, len(wanted))
    to_disk(files.root)
    return len(wanted)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# -- a file


def _into_file(settings: Settings, repository: Repository, backup: Backup, *, keep_schema: bool, progress: Progress) -> str:
    """Build the new brain beside the old one, then have it take the old one's place."""
    new = placing.begin(settings.data)
    name, index, head = settings.database_path.name, settings.index_path.name, HeadFile.of(settings)
    staged = settings.model_copy(update={"qzbrain_data": new, "redis_host": "", "neo4j_url": "", "es_url_add": "", "ldap_url": "", "oidc_issuer": ""})
    try:
        embedded = chosen(settings) == "embedded"
        former = Former.of(settings)
        with closing(Database(new / name)) as database:
            revision = _fill(database, repository, backup, former, keep_schema=keep_schema, progress=progress)
            _set_head(database, HeadFile.of(staged), backup)
        if not keep_schema:
            _finish_staged(staged, backup, embedded=embedded, progress=progress)
        if not embedded:
            former.note(new)
        _put_secrets(repository, backup, new)
        secrets = [f"secrets/{path.name}" for path in (new / "secrets").glob("*")]
        put = [x for x in (name, index, REINDEX, head.path.name, *secrets) if (new / x).exists()]
        placing.commit(settings.data, remove=[f"{name}-wal", f"{name}-shm", index, head.path.name], put=put)
    except BaseException:
        placing.abandon(settings.data)
        raise
    return revision


def _finish_staged(staged: Settings, backup: Backup, *, embedded: bool, progress: Progress) -> None:
    """What is done with the whole of a brain before it counts: its indexes, and a line in its audit log."""
    with closing(build(staged)) as brain:
        if embedded:
            build_indexes(brain, progress)
        _note(brain, backup)


# -- a server


def _into_server(settings: Settings, repository: Repository, backup: Backup, *, keep_schema: bool, progress: Progress) -> str:
    """Empty and fill the database's own tables, marked meanwhile."""
    former = Former.of(settings)
    with closing(database_of(settings)) as database, migrate.restoring(database, backup.id):
        former.note(settings.data)
        migrate.clear(database)
        revision = _fill(database, repository, backup, former, keep_schema=keep_schema, progress=progress)
        shutil.rmtree(settings.index_path, ignore_errors=True)
        HeadFile.of(settings).path.unlink(missing_ok=True)
        _set_head(database, HeadFile.of(settings), backup)
        _put_secrets(repository, backup, settings.data)
    if not keep_schema:
        with closing(build(settings)) as brain:
            _note(brain, backup)
    return revision


# -- both


def _fill(database: Database, repository: Repository, backup: Backup, former: Former, *, keep_schema: bool, progress: Progress) -> str:
    """Make the tables of the backup's revision, fill them, and bring them to this program's; returns the revision in the end."""
    migrate.upgrade(database, to=backup.revision)
    try:
        with repository.reading(backup, "database") as lines:
            load(database, lines, backup.rows, progress)
    except BadRows as exc:
        raise damaged(f"{backup.id}/database ({exc})") from exc
    with database.write() as connection:
        there = set(inspect(connection).get_table_names())
        for name in _NEVER_BACK:
            if name in there:
                connection.exec_driver_sql(f"DELETE FROM {name}")  # noqa: S608  our own names
        for name in COUNTED:
            go_on_after(connection, database.kind, name, max(backup.numbers.get(name, 0), former.numbers.get(name, 0)))
    if not keep_schema:
        migrate.upgrade(database)
    former.leave_copies(database)
    return migrate.current_revision(database) or backup.revision


def _set_head(database: Database, head: HeadFile, backup: Backup) -> None:
    """What the audit log's head file held when the backup was made, so that a log which was cut off before stays known as such."""
    if backup.audit is not None:
        head.accept(int(backup.audit["number"]), str(backup.audit["hash"]))
        return
    with database.read() as connection:
        last = _last_event(connection)
    if last is not None:
        head.accept(*last)


def _last_event(connection: Connection) -> tuple[int, str] | None:
    if not inspect(connection).has_table(audit_log.name):
        return None
    row = connection.execute(select(audit_log.c.number, audit_log.c.hash).order_by(audit_log.c.number.desc()).limit(1)).first()
    return (row.number, row.hash) if row else None


def _renewed(settings: Settings, *, keep_schema: bool, progress: Progress) -> str | None:
    """Build the indexes that did not come with the rows. Why that has to wait, where their server is away."""
    if not (settings.data / REINDEX).exists():
        return None
    try:
        if keep_schema:
            drop_indexes(settings)
        else:
            with closing(build(settings)) as brain:
                renew_indexes(brain, progress)
    except IndexUnavailable as exc:
        return exc.code
    return None


def _note(brain: Brain, backup: Backup) -> None:
    if brain.audit.active:
        details = {"uid": os.getuid(), "made_at": backup.made_at}
        brain.audit.record(None, brain.access.local_caller("en"), "backup.restore", backup.id, details=details)
        brain.audit.flush()


def _put_secrets(repository: Repository, backup: Backup, data: Path) -> None:
    if "secrets" not in backup.parts:
        return
    with repository.reading(backup, "secrets") as stream:
        told: dict[str, Any] = orjson.loads(stream.read())
    for name, content in told.items():
        path = data / "secrets" / Path(name).name
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.write_bytes(bytes.fromhex(content))
        path.chmod(0o600)


def elsewhere(settings: Settings, folder: Path) -> Settings:
    """The settings of a brain with a data folder of its own, and an SQLite database in it."""
    apart = {"mysql_host": "", "redis_host": "", "es_url_add": "", "neo4j_url": ""}
    return settings.model_copy(update={"qzbrain_data": folder.absolute(), "backup_dir": str(settings.backup_folder), **apart})
