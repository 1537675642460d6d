"""The job `scan`: bring a knowledge base in line with a watched folder. It goes on for as long as the folder is watched, pausing in between.

A file is looked at again when its size or time has changed, and read again when its bytes have. Its new content becomes a document of its
own; the old one goes when the new one is ready, so that something is found all the time. A folder that is away deletes nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import ColumnElement, Row, bindparam, delete, func, insert, select, update

from qzbrain.domain import AddedDocument, Caller, utc_now
from qzbrain.errors import BrainError
from qzbrain.jobs.leases import GiveWay, Kind, Lease, LeaseRunner
from qzbrain.knowledge.documents import Documents
from qzbrain.knowledge.folder_files import FoundFile, Skipped, files_in
from qzbrain.knowledge.removal import remove_documents, submit_purge
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import documents, knowledge_bases, watched_files, watched_folders

_TOGETHER = 32
_MOST_ERRORS = 100
_SETTLED_S = 2.0
_SOON_S = 2.5
_READ_BYTES = 1 << 20
_same_file = (watched_files.c.folder_id == bindparam("folder")) & (watched_files.c.path_key == bindparam("key"))


@dataclass(slots=True)
class _Report:
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    skipped: int = 0
    waiting: int = 0
    error_count: int = 0
    errors: list[dict[str, str]] = field(default_factory=list)

    def error(self, path: str, zh: str, en: str) -> None:
        self.error_count += 1
        if len(self.errors) < _MOST_ERRORS:
            self.errors.append({"path": path, "zh": zh, "en": en})


class FolderScan:
    """Handles jobs whose subject is a watched folder. `clock` gives seconds since 1970."""

    def __init__(
        self,
        database: Database,
        store: Callable[[], Documents],
        caller: Caller,
        runner: LeaseRunner,
        settings: Settings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._db, self._store, self._caller, self._runner = database, store, caller, runner
        self._most_bytes, self._clock = settings.max_upload_mb << 20, clock

    @property
    def kind(self) -> Kind:
        """How the runner does these jobs."""
        return Kind(self.handle)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Look through the folders once. Raises GiveWay until the next time, also of one that is not watched on while something in it is unfinished."""
        for lease in leases:
            rows = self._db.rows(select(watched_folders).where(watched_folders.c.id == lease.job.subject))
            if not rows or not self._db.rows(select(knowledge_bases.c.id).where(knowledge_bases.c.id == rows[0].kb_id)):
                continue
            result = self._scan(rows[0], lease)
            with self._db.write() as connection:
                seen = update(watched_folders).where(watched_folders.c.id == lease.job.subject)
                connection.execute(seen.values(last_scan_at=utc_now(), result=result))
            if result["waiting"] or result["replacing"]:
                raise GiveWay(_SOON_S)
            if rows[0].active:
                raise GiveWay(rows[0].every_s)

    def _scan(self, folder: Row[Any], lease: Lease) -> dict[str, Any]:
        root, before, report, skipped = Path(folder.path), folder.result or {}, _Report(), Skipped()
        options = folder.options or {}
        try:
            device = root.stat().st_dev
            found = list(files_in(root, recursive=options.get("recursive", False), exclude=options.get("exclude", ()), skipped=skipped))
        except OSError as exc:
            return _away(before, os.strerror(exc.errno or 0))
        if not found and before.get("device") not in (None, device) and self._count(folder.id):
            return _away(before, "not mounted")
        report.skipped = skipped.files
        for inside in skipped.unreadable:
            report.error(inside, "无法读取该目录，其中已入库的内容保持不变。", "This folder cannot be read; what is known of it stays.")
        _Run(self._db, self._store(), self._caller, self._runner, folder, root, report, lease, self._most_bytes, self._clock).run(found, skipped)
        coming = select(documents.c.id).where(documents.c.status != "failed")
        replacing = self._count(folder.id, watched_files.c.replaces != "", watched_files.c.document_id.in_(coming))
        shown = {name: getattr(report, name) for name in _Report.__dataclass_fields__}
        return {**shown, "away": False, "device": device, "replacing": replacing}

    def _count(self, folder_id: str, *which: ColumnElement[bool]) -> int:
        return int(self._db.rows(select(func.count()).where(watched_files.c.folder_id == folder_id, *which))[0][0])


class _Run:
    """One look through one folder."""

    def __init__(
        self,
        database: Database,
        store: Documents,
        caller: Caller,
        runner: LeaseRunner,
        folder: Row[Any],
        root: Path,
        report: _Report,
        lease: Lease,
        most_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        self._db, self._store, self._caller, self._runner = database, store, caller, runner
        self._folder, self._root, self._report, self._lease = folder, root, report, lease
        self._most_bytes, self._now = most_bytes, clock()

    def run(self, found: Sequence[FoundFile], skipped: Skipped) -> None:
        mine = select(watched_files).where(watched_files.c.folder_id == self._folder.id)
        self._drop_replaced(self._db.rows(mine.where(watched_files.c.replaces != "")))
        known = {row.path: row for row in self._db.rows(mine)}
        for start in range(0, len(found), _TOGETHER):
            self._take_in([one for one in found[start : start + _TOGETHER] if self._is_new(one, known.get(one.path))], known)
            self._lease.progress("scan", min(start + _TOGETHER, len(found)), len(found), "files")
        there = {one.path for one in found}
        kept = tuple(f"{inside}/" for inside in skipped.unreadable)
        self._remove([row for path, row in known.items() if path not in there and not path.startswith(kept)])

    def _is_new(self, one: FoundFile, row: Row[Any] | None) -> bool:
        if row is not None and (row.size_bytes, row.changed_ns) == (one.size_bytes, one.changed_ns):
            self._report.unchanged += 1
            return False
        if abs(self._now - one.changed_ns / 1e9) < _SETTLED_S:  # a clock of another host may be a little ahead
            self._report.waiting += 1  # somebody may be writing it
            return False
        if one.size_bytes > self._most_bytes:
            self._report.error(one.path, "文件超过 MAX_UPLOAD_MB。", "The file is over MAX_UPLOAD_MB.")
            return False
        return True

    def _take_in(self, files: Sequence[FoundFile], known: dict[str, Row[Any]]) -> None:
        with ExitStack() as stack:
            opened = [(one, stream) for one in files if (stream := self._opened(one, stack)) is not None]
            fresh = list[tuple[FoundFile, BinaryIO]]()
            for one, stream in opened:
                row = known.get(one.path)
                if row is not None and _sha256(stream) == row.sha256:
                    self._note(one, row.sha256, row.document_id, row.owned, row.replaces)
                    self._report.unchanged += 1
                else:
                    fresh.append((one, stream))
            for (one, stream), added in zip(fresh, self._added(fresh), strict=True):
                if added is None:
                    continue
                if os.fstat(stream.fileno()).st_mtime_ns != one.changed_ns:
                    self._report.waiting += 1  # written meanwhile: its new time makes the next look take it again
                self._settle(one, added, known.get(one.path))

    def _opened(self, one: FoundFile, stack: ExitStack) -> BinaryIO | None:
        try:
            descriptor = os.open(self._root / one.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            stream = stack.enter_context(os.fdopen(descriptor, "rb"))
            if not self._is_inside(descriptor):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            return stream
        except OSError as exc:
            self._report.error(one.path, f"无法读取：{os.strerror(exc.errno or 0)}。", f"It cannot be read: {os.strerror(exc.errno or 0)}.")
            return None

    def _is_inside(self, descriptor: int) -> bool:
        """Whether what was opened lies in the folder: one inside it may have become a link since we looked."""
        shown = Path(f"/proc/self/fd/{descriptor}")
        return not shown.exists() or shown.readlink().is_relative_to(self._root.resolve())

    def _added(self, fresh: Sequence[tuple[FoundFile, BinaryIO]]) -> list[AddedDocument | None]:
        """All in one transaction; where that is refused, one by one, so that the one at fault is named."""
        if not fresh:
            return []
        for _, stream in fresh:
            stream.seek(0)
        try:
            given = [(one.path.rpartition("/")[2], stream) for one, stream in fresh]
            level = (self._folder.options or {}).get("level")
            return list(self._store.add_files(self._caller, self._folder.kb_id, given, level=level, from_folder=True))
        except (BrainError, OSError) as exc:
            if len(fresh) > 1:
                return [added for pair in fresh for added in self._added([pair])]
            if isinstance(exc, BrainError) and exc.status >= 500:
                raise
            said = (exc.zh, exc.en) if isinstance(exc, BrainError) else (f"无法读取：{exc}", f"It cannot be read: {exc}")
            self._report.error(fresh[0][0].path, *said)
            return [None]

    def _settle(self, one: FoundFile, added: AddedDocument, row: Row[Any] | None) -> None:
        document_id = added.id or ""
        owned = int(not added.duplicate or self._is_owned(document_id))
        if row is not None and row.replaces and row.replaces == document_id:  # back to what it was
            self._report.changed += 1
            self._note(one, added.sha256, document_id, row.owned, "")
            self._delete([row.document_id])
            return
        if row is None:
            self._report.added += 1
            self._note(one, added.sha256, document_id, owned, "")
            return
        self._report.changed += 1
        replaces = row.replaces
        if row.document_id and row.document_id != document_id and row.owned:
            if not replaces and self._status(row.document_id) == "ready":
                replaces = row.document_id
            else:
                self._delete([row.document_id], but=one.path)
        self._note(one, added.sha256, document_id, owned, replaces)

    def _is_owned(self, document_id: str) -> bool:
        mine = select(watched_files.c.folder_id).where(watched_files.c.document_id == document_id, watched_files.c.owned == 1).limit(1)
        return bool(self._db.rows(mine))

    def _status(self, document_id: str) -> str:
        rows = self._db.rows(select(documents.c.status).where(documents.c.id == document_id))
        return rows[0].status if rows else ""

    def _drop_replaced(self, rows: Iterable[Row[Any]]) -> None:
        """Old documents whose successors are ready."""
        for row in rows:
            status = self._status(row.document_id)
            if status == "failed":
                self._report.error(row.path, "新内容无法读取，仍使用之前的内容。", "Its new content cannot be read; that before is still in use.")
            if status in ("ready", ""):
                self._delete([row.replaces], but=row.path)
                with self._db.write() as connection:
                    gone = update(watched_files).where(watched_files.c.folder_id == row.folder_id, watched_files.c.path_key == row.path_key)
                    connection.execute(gone.values(replaces=""))

    def _remove(self, gone: Sequence[Row[Any]]) -> None:
        for some in _by(gone, _TOGETHER):
            with self._db.write() as connection:
                keys = [row.path_key for row in some]
                connection.execute(delete(watched_files).where(watched_files.c.folder_id == self._folder.id, watched_files.c.path_key.in_(keys)))
            self._delete([x for row in some for x in (row.document_id if row.owned else "", row.replaces) if x])
            self._report.removed += len(some)
            self._lease.heartbeat()

    def _delete(self, document_ids: Sequence[str], *, but: str = "") -> None:
        """Documents that no other watched file has; `but`: the file that gives this one up."""
        with self._db.write(durable=True) as connection:
            other = ~((watched_files.c.folder_id == self._folder.id) & (watched_files.c.path == but))
            used = select(watched_files.c.document_id).where(watched_files.c.document_id.in_(document_ids), other)
            doomed = sorted(set(document_ids) - set(connection.execute(used).scalars()))
            there = connection.execute(select(documents.c.id).where(documents.c.id.in_(doomed))).scalars().all()
            remove_documents(connection, self._folder.kb_id, there)
            if there:
                submit_purge(connection, self._runner, self._folder.kb_id)

    def _note(self, one: FoundFile, sha256: str, document_id: str, owned: int, replaces: str) -> None:
        key = hashlib.sha256(one.path.encode()).hexdigest()
        values = {"size_bytes": one.size_bytes, "changed_ns": one.changed_ns, "sha256": sha256}
        values |= {"document_id": document_id, "owned": owned, "replaces": replaces}
        with self._db.write() as connection:
            where = {"folder": self._folder.id, "key": key}
            if not connection.execute(update(watched_files).where(_same_file).values(values), where).rowcount:
                connection.execute(insert(watched_files).values(folder_id=self._folder.id, path_key=key, path=one.path, **values))


def _away(before: dict[str, Any], why: str) -> dict[str, Any]:
    report = _Report()
    report.error("", f"目录暂时不可用（{why}）；没有删除任何文档。", f"The folder is away ({why}); nothing was removed.")
    shown = {name: getattr(report, name) for name in _Report.__dataclass_fields__}
    return {**shown, "away": True, "device": before.get("device"), "replacing": before.get("replacing", 0)}


def _sha256(stream: BinaryIO) -> str:
    made = hashlib.sha256()
    while piece := stream.read(_READ_BYTES):
        made.update(piece)
    return made.hexdigest()


def _by(rows: Sequence[Row[Any]], size: int) -> Iterator[list[Row[Any]]]:
    rest = iter(rows)
    while some := list(islice(rest, size)):
        yield some
