"""The doctor's look at backups: is there one, is it recent, does it lie on another disk, did the last that was to be made fail."""

from __future__ import annotations

import time
from datetime import datetime

from sqlalchemy import Connection, text

from qzbrain.errors import BrainError, NotFound
from qzbrain.ops.finding import Finding
from qzbrain.ops.scheduled import KIND, due_at
from qzbrain.settings import Settings
from qzbrain.storage.backups.repository import Repository

_TITLE = ("备份", "backup")
_LATE_S = 6 * 3600.0
_LAST = text(f"SELECT status, reason_zh, reason_en FROM jobs WHERE kind = '{KIND}' ORDER BY created_at DESC LIMIT 1")  # noqa: S608  our own name


def last_made(settings: Settings) -> float | None:
    """When the newest backup was made, in seconds since 1970; None without one. Raises BrainError where the folder cannot be used."""
    try:
        found = Repository.open(settings.backup_folder).backups()
    except NotFound:
        return None
    return datetime.fromisoformat(found[-1].made_at).timestamp() if found else None


def backup(settings: Settings, connection: Connection) -> Finding:
    """A recent one is there."""
    every = settings.backup_every
    try:
        at = last_made(settings)
    except BrainError as exc:
        return Finding.fail("backup", 5, _TITLE, (exc.zh, exc.en), ("见 docs/backup.md", "see docs/backup.md"))
    make = ("qzbrain backup；定时备份：BACKUP_EVERY=03:30", "qzbrain backup; by itself: BACKUP_EVERY=03:30")
    failed = connection.execute(_LAST).first() if every else None
    if failed is not None and failed.status == "failed":
        shown = (f"上次定时备份失败：{failed.reason_zh}", f"the last one failed: {failed.reason_en}")
        return Finding.fail("backup", 5, _TITLE, shown, ("改正后运行 qzbrain backup", "correct it, then run qzbrain backup"))
    if at is None:
        waits = ("后台处理启动后会生成第一份", "the worker makes the first when it runs")
        none = ("还没有备份", "there is none yet")
        return Finding.warn("backup", 5, _TITLE, none, waits) if every else Finding.skip("backup", 5, _TITLE, none, make)
    when = datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
    if every and due_at(every, at, time.time()) + _LATE_S < time.time():
        late = (f"最近一份是 {when}，早于 BACKUP_EVERY={every}", f"the newest is of {when}, older than BACKUP_EVERY={every} has it")
        return Finding.warn("backup", 5, _TITLE, late, ("确认后台处理正在运行", "see that the worker runs"))
    if _on_one_disk(settings):
        shown = (f"最近一份：{when}；与数据在同一磁盘", f"the newest is of {when}, on the disk of the data")
        return Finding.ok("backup", 5, _TITLE, shown)
    return Finding.ok("backup", 5, _TITLE, (f"最近一份：{when}", f"the newest is of {when}"))


def _on_one_disk(settings: Settings) -> bool:
    return settings.backup_folder.stat().st_dev == settings.data.stat().st_dev
