"""The repository that the settings name, and the backup that is made before a database is migrated."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import inspect

from qzbrain.errors import BrainError, SettingsInvalid
from qzbrain.settings import Settings
from qzbrain.storage import migrate
from qzbrain.storage.backups.repository import Repository, require_key
from qzbrain.storage.backups.rows import counted
from qzbrain.storage.backups.sealing import secret_of
from qzbrain.storage.backups.taking import Beside, take
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore

TELLING = ("knowledge_bases", "conversations", "users")
"""A brain that has rows in none of these has nothing that would be missed."""
_USER_INFO = re.compile(r"//[^/@\s]*@")


def repository_of(settings: Settings, folder: Path | None = None, key_file: Path | None = None, *, make: bool = False) -> Repository:
    """The folder of backups that is given or else that of the settings; `make`: to write into, so with its key. See `Repository.open`."""
    key = key_file or settings.backup_key_path
    found = Repository.open((folder or settings.backup_folder).absolute(), secret_of(key) if key else None, make=make)
    if make:
        require_key(found)
    return found


def shown(settings: Settings) -> dict[str, str]:
    """The settings without what must not be known: passwords, keys, models' tables, users in addresses."""
    named = ((name, getattr(settings, name)) for name, one in Settings.model_fields.items() if one.repr and name != "models")
    return {name: _USER_INFO.sub("//", str(value)) for name, value in named}


def secrets_beside(settings: Settings) -> dict[str, Path]:
    """Files of secrets that the brain made for itself, by their names in the data folder."""
    return {str(path.relative_to(settings.data)): path for path in sorted((settings.data / "secrets").glob("*")) if path.is_file()}


def has_data(database: Database) -> bool:
    """Whether there is something that would be missed."""
    with database.read() as connection:
        there = set(inspect(connection).get_table_names())
        return any(counted(connection, [name for name in TELLING if name in there]).values())


def upgrade(settings: Settings, database: Database, files: FileStore, beside: Callable[[], Beside]) -> bool:
    """Migrate; a database that has data is backed up first. True when something changed.

    Raises SettingsInvalid for a newer database, for one in which a restore or an upgrade broke off, and where the backup cannot be made.
    """
    migrate.require_whole(database)

    @contextmanager
    def backed_up(revision: str) -> Iterator[str | None]:
        if settings.backup_before_upgrade == "off" or not has_data(database):
            yield None
            return
        try:
            repository = repository_of(settings, make=True)
        except BrainError as exc:
            raise _not_backed_up(exc) from exc
        with repository.locked(wait=True):
            if migrate.current_revision(database) != revision:  # another process has done both while this one waited
                yield None
                return
            migrate.require_whole(database)  # or it has broken off
            yield _back_up(settings, database, files, repository, beside())

    return migrate.upgrade(database, around=backed_up)


def _back_up(settings: Settings, database: Database, files: FileStore, repository: Repository, beside: Beside) -> str:
    try:
        made = take(database, files, repository, f"before-{migrate.HEAD}", beside, lambda _stage, _done, _total: None)
        repository.prune(settings.backup_keep, ("before-upgrade",))
    except BrainError as exc:
        raise _not_backed_up(exc) from exc
    sys.stderr.write(
        f"qzbrain: 数据库将从版本 {made.revision} 升级到 {migrate.HEAD}，已先备份：{made.id}（回退：qzbrain db downgrade） · "
        f"the database goes from revision {made.revision} to {migrate.HEAD}; backed up first as {made.id} (back again: qzbrain db downgrade)\n"
    )
    return made.id


def _not_backed_up(exc: BrainError) -> SettingsInvalid:
    return SettingsInvalid(
        "not_backed_up",
        zh=f"升级数据库前无法备份：{exc.zh} 没有改动任何内容。改正后重试；若已另有备份，可设置 BACKUP_BEFORE_UPGRADE=off。",
        en=f"The database cannot be backed up before it is upgraded: {exc.en} Nothing was changed. Correct that; where you have a backup of your own, "
        "set BACKUP_BEFORE_UPGRADE=off.",
    )
