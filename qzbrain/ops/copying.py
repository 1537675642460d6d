"""Moves a brain's database, whole, from one kind to another: all tables as they are at one moment, then compared row by row.

Files and search indexes stay in the data folder: rows keep their numbers, so an index that fits the source fits the copy, and where there is
none the worker builds it from SQL.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Column, ColumnElement, Connection, Table, and_, delete, func, insert, or_, select

from qzbrain.brain import database_of
from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.jobs.lock import worker_is_alive
from qzbrain.ops.start import take_lock
from qzbrain.ops.supervision import run_folder
from qzbrain.settings import Settings
from qzbrain.storage import migrate
from qzbrain.storage.counters import COUNTED, go_on_after, last_number
from qzbrain.storage.database import Database
from qzbrain.storage.tables import access_state, document_texts, metadata

_BATCH_ROWS = 500
_BATCH_CHARS = 2_000_000
_FETCHED = 100
_LEAVING_S = 1.0
"""A server goes on listing a session for a moment after its client has left."""

Progress = Callable[[int, int], None]


class UnknownSide(InvalidRequest):
    """Neither `mysql` nor `sqlite:PATH`."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two databases. `settings` name the server and the data folder; `file`: an SQLite database instead."""

    settings: Settings
    file: Path | None = None

    def open(self) -> Database:
        """The database; of a file that is not there an empty one."""
        return database_of(self.settings) if self.file is None else Database(self.file)

    @property
    def folder(self) -> Path:
        """The data folder of a brain that would use it."""
        return self.settings.data if self.file is None else self.file.parent


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied: rows by table, and each table's checksum, the same on both sides."""

    source: str
    target: str
    rows: int
    tables: Mapping[str, int]
    checksums: Mapping[str, str]
    seconds: float


def side(named: str, settings: Settings) -> Side:
    """`mysql`: the server of the settings; `sqlite:PATH`; `sqlite`: the data folder's own. Raises UnknownSide."""
    kind, _, path = named.partition(":")
    if named == "mysql":
        if not settings.mysql_host:
            raise UnknownSide(
                zh="没有设置 MYSQL_HOST，不知道是哪台 MySQL 服务器。请先设置 MYSQL_HOST 等变量。",
                en="MYSQL_HOST is not set, so it is not known which server is meant. Set MYSQL_HOST and the others first.",
                param="mysql_host",
            )
        return Side(settings)
    if kind != "sqlite" or named.endswith(":"):
        raise UnknownSide(
            zh=f"无法识别“{named}”。请写 mysql 或 sqlite:路径。", en=f'"{named}" is not known. Write mysql or sqlite:PATH.', param="database"
        )
    return Side(settings, Path(path).expanduser().resolve() if path else settings.database_path)


def copy(source: Side, target: Side, *, resume: bool = False, progress: Progress = lambda _done, _total: None) -> Copied:
    """Copy all rows, then compare both sides. `progress` counts rows copied and rows compared.

    Raises Conflict: a brain uses one of them, the target is not empty (without `resume`), the source has another schema or none, or
    they differ in the end. Interrupted, it can be called again with `resume` as long as the source does not change.
    """
    started = time.monotonic()
    if source == target:
        raise Conflict("same_database", zh="来源和目标是同一个数据库。", en="Source and target are the same database.")
    _require_file(source)
    with no_brain({source.folder, target.folder}, source.settings), closing(source.open()) as read, closing(target.open()) as written:
        for database in (read, written):
            require_no_session(database)
        _require_head(read)
        migrate.upgrade(written)
        with read.snapshot() as reading:
            sizes = {str(table.name): _count(reading, table) for table in metadata.sorted_tables}
            steps = _Steps(progress, 2 * sum(sizes.values()))
            _copy_tables(reading, written, steps, resume=resume)
            with written.write() as connection:
                for name in COUNTED:
                    go_on_after(connection, written.kind, name, last_number(reading, read.kind, name))
            checksums = _compared(reading, written, steps)
        return Copied(read.place, written.place, sum(sizes.values()), sizes, checksums, round(time.monotonic() - started, 3))


class _Steps:
    """Rows done with, both ways."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, rows: int) -> None:
        self._done += rows
        self._progress(self._done, self._total)


@contextmanager
def no_brain(folders: Collection[Path], settings: Settings) -> Iterator[None]:
    """No brain runs on these data folders, and none starts meanwhile. Raises Conflict."""
    locks: list[int] = []
    try:
        for folder in folders:
            of_folder = settings.model_copy(update={"qzbrain_data": folder})
            if run_folder(of_folder).is_dir():
                locks.append(take_lock(of_folder))
            if worker_is_alive(folder):
                raise Conflict(
                    "already_running",
                    zh=f"数据目录 {folder} 上有后台处理进程在运行。请先停止 qzbrain。",
                    en=f"A worker runs on the data folder {folder}. Stop the brain first.",
                )
        yield
    finally:
        for lock in locks:
            os.close(lock)


def _require_file(source: Side) -> None:
    if source.file is not None and not source.file.is_file():
        raise Conflict(
            "no_database",
            zh=f"没有这个数据库文件：{source.file}。请检查路径。",
            en=f"There is no such database file: {source.file}. Check the path.",
        )


def require_no_session(database: Database) -> None:
    """Nobody else is connected, as far as this user may see: at least its own sessions, which are those of brains. Raises Conflict."""
    if database.kind != "mysql":
        return
    until = time.monotonic() + _LEAVING_S
    while (others := _sessions(database)) and time.monotonic() < until:
        time.sleep(0.05)
    if others:
        raise Conflict(
            "already_running",
            zh=f"还有 {others} 个连接正在使用数据库 {database.place}。请先停止所有使用它的 qzbrain。",
            en=f"{others} other connections use the database {database.place}. Stop every brain on it first.",
        )


def _sessions(database: Database) -> int:
    with database.read() as connection:
        me, here = connection.exec_driver_sql("SELECT CONNECTION_ID(), DATABASE()").one()
        return sum(row.db == here and row.Id != me for row in connection.exec_driver_sql("SHOW PROCESSLIST"))


def _require_head(source: Database) -> None:
    revision = migrate.current_revision(source)
    if revision != migrate.HEAD:
        raise Conflict(
            "other_schema",
            zh=f"来源 {source.place} 的表结构版本是 {revision or '无'}，需要 {migrate.HEAD}。请检查路径，或先运行 qzbrain db upgrade。",
            en=f"The source {source.place} is at schema revision {revision or 'none'}; {migrate.HEAD} is needed. Check the path, or run qzbrain db upgrade.",
        )


def _count(connection: Connection, table: Table[Any]) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar() or 0)


def _copy_tables(reading: Connection, target: Database, steps: _Steps, *, resume: bool) -> None:
    with target.read() as connection:
        there = {table.name: _count(connection, table) for table in metadata.sorted_tables}
    filled = sorted(name for name, rows in there.items() if rows and name != access_state.name)  # its one row is there from the start
    if filled and not resume:
        raise Conflict(
            "target_not_empty",
            zh=f"目标 {target.place} 不是空的（{', '.join(filled)}）。请换一个空数据库；若是继续上次中断的复制，请加 --resume。",
            en=f"The target {target.place} is not empty ({', '.join(filled)}). Take an empty database; to go on with an interrupted copy add --resume.",
        )
    with target.write() as connection:
        connection.execute(delete(access_state))
    there[access_state.name] = 0
    for table in metadata.sorted_tables:
        steps.add(there[table.name])
        _copy_table(reading, target, table, steps)


def _copy_table(reading: Connection, target: Database, table: Table[Any], steps: _Steps) -> None:
    keys = list(table.primary_key)
    with target.read() as connection:
        last = connection.execute(select(*keys).order_by(*[key.desc() for key in keys]).limit(1)).first()
    wanted = select(table).order_by(*keys)
    batch: list[dict[str, Any]] = []
    chars = 0
    for row in _streamed(reading, wanted if last is None else wanted.where(_behind(keys, last)), table):
        batch.append(dict(row._mapping))
        chars += sum(len(x) for x in row if isinstance(x, str | bytes))
        if len(batch) >= _BATCH_ROWS or chars >= _BATCH_CHARS:
            _insert(target, table, batch, steps)
            batch, chars = [], 0
    _insert(target, table, batch, steps)


def _behind(keys: Sequence[Column[Any]], last: Sequence[Any]) -> ColumnElement[bool]:
    """Rows after `last` in the order of these columns; written out, because servers use no index for a comparison of tuples."""
    equal = [key == value for key, value in zip(keys, last, strict=True)]
    return or_(*[and_(*equal[:position], key > last[position]) for position, key in enumerate(keys)])


def _streamed(connection: Connection, wanted: Any, table: Table[Any]) -> Iterator[Any]:
    """Row by row, so that no more than a batch is in memory; texts may be of tens of megabytes each."""
    fetched = 1 if table is document_texts else _FETCHED
    return iter(connection.execution_options(yield_per=fetched).execute(wanted))


def _insert(target: Database, table: Table[Any], batch: Sequence[dict[str, Any]], steps: _Steps) -> None:
    if batch:
        with target.write() as connection:
            connection.execute(insert(table), batch)
        steps.add(len(batch))


def _compared(reading: Connection, target: Database, steps: _Steps) -> dict[str, str]:
    """The checksum of each table. Raises Conflict when the sides differ."""
    found: dict[str, str] = {}
    with target.snapshot() as copied:
        for table in metadata.sorted_tables:
            found[str(table.name)] = _checksum(reading, table, steps)
            if _checksum(copied, table, None) != found[str(table.name)]:
                raise Conflict(
                    "copy_differs",
                    zh=f"核对失败：表 {table.name} 的内容与来源不一致。请清空目标数据库后重新复制。",
                    en=f"The check failed: the table {table.name} is not what the source holds. Empty the target and copy again.",
                )
    return found


def _checksum(connection: Connection, table: Table[Any], steps: _Steps | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for row in _streamed(connection, select(table).order_by(*table.primary_key), table):
        digest.update(orjson.dumps(tuple(row), default=bytes.hex, option=orjson.OPT_SORT_KEYS))
        if steps is not None:
            steps.add(1)
    return digest.hexdigest()
