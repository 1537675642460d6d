"""Watched folders: which, how often, with what result. Their files are taken in by the job `scan` (see `folder_scan`)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from qzbrain.auth.access import Access, KbRef
from qzbrain.domain import Caller, WatchedFolder, new_id, utc_now
from qzbrain.errors import InvalidRequest, NotFound, PermissionRefused
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.knowledge.removal import forget_folders
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import jobs, watched_folders

SHORTEST_S, LONGEST_S = 5, 86_400
_MOST_EXCLUDED = 100


class Folders:
    """The watched folders of knowledge bases, as a caller may see and change them."""

    def __init__(self, database: Database, access: Access, runner: LeaseRunner, settings: Settings) -> None:
        self._db, self._access, self._runner, self._settings = database, access, runner, settings

    def watch(
        self,
        caller: Caller,
        kb: str,
        path: str,
        *,
        every_s: int = 60,
        recursive: bool = False,
        exclude: Sequence[str] = (),
        active: bool = True,
        anywhere: bool = False,
        level: int | None = None,
    ) -> WatchedFolder:
        """Watch a folder, or change how; it is looked through at once. `active`: and every `every_s` seconds after. `level`: of what comes from it
        (place in LEVELS), the knowledge base's for None. A folder reads whatever lies on the server, so this is for administrators.

        `anywhere`: also outside WATCH_ROOTS, for who sits at this machine. Raises NotFound, InvalidRequest, PermissionRefused.
        """
        ref = self._ruled(caller, kb)
        self._access.level_given(caller, ref.id, level)
        if not SHORTEST_S <= every_s <= LONGEST_S:
            raise InvalidRequest(zh=f"every_s 须在 {SHORTEST_S} 至 {LONGEST_S} 秒之间。", en=f"every_s is {SHORTEST_S} to {LONGEST_S}.", param="every_s")
        if len(exclude) > _MOST_EXCLUDED:
            raise InvalidRequest(zh=f"exclude 最多 {_MOST_EXCLUDED} 条。", en=f"exclude takes at most {_MOST_EXCLUDED} patterns.", param="exclude")
        root = self._folder(path, anywhere=anywhere)
        key = hashlib.sha256(os.fsencode(root)).hexdigest()
        options = {"recursive": recursive, "exclude": list(exclude), "level": level}
        with self._db.write(durable=True) as connection:
            same = (watched_folders.c.kb_id == ref.id) & (watched_folders.c.path_key == key)
            there = connection.execute(select(watched_folders.c.id).where(same)).first()
            values = {"active": int(active), "every_s": every_s, "options": options}
            folder_id = there.id if there is not None else new_id()
            if there is None:
                row = {"id": folder_id, "kb_id": ref.id, "path": str(root), "path_key": key, "created_at": utc_now(), **values}
                connection.execute(insert(watched_folders).values(row))
            else:
                connection.execute(update(watched_folders).where(watched_folders.c.id == folder_id).values(values))
            submit_scan(connection, self._runner, ref.id, folder_id, now=True)
        return self._one(caller, kb, folder_id)

    def watched(self, caller: Caller, kb: str) -> list[WatchedFolder]:
        """The watched folders of a knowledge base. Raises NotFound, PermissionRefused."""
        ref = self._ruled(caller, kb)
        query = select(watched_folders).where(watched_folders.c.kb_id == ref.id).order_by(watched_folders.c.id)
        return [_shown(row) for row in self._db.rows(query)]

    def unwatch(self, caller: Caller, kb: str, folder: str) -> WatchedFolder:
        """No longer watch a folder, named by its id or path; what came from it stays. Raises NotFound, PermissionRefused."""
        wanted = {folder, str(Path(folder).absolute()) if folder.isprintable() else ""}
        one = next((x for x in self.watched(caller, kb) if x.id in wanted or x.path in wanted), None)
        if one is None:
            raise _no_such_folder()
        with self._db.write(durable=True) as connection:
            connection.execute(delete(jobs).where(jobs.c.subject == one.id, jobs.c.kind == "scan"))
            forget_folders(connection, [one.id])
        return one

    def scan_job(self, folder_id: str) -> str | None:
        """The id of the job that looks through the folder now or next."""
        query = select(jobs.c.id).where(jobs.c.subject == folder_id, jobs.c.kind == "scan").order_by(jobs.c.id.desc()).limit(1)
        rows = self._db.rows(query)
        return rows[0].id if rows else None

    def _ruled(self, caller: Caller, kb: str) -> KbRef:
        """The knowledge base. Raises NotFound, PermissionRefused for who is no administrator."""
        ref = self._access.resolve(caller, [kb])[0]
        self._access.require(caller, "manage")
        self._access.require(caller, "manage", ref.id)
        return ref

    def _one(self, caller: Caller, kb: str, folder_id: str) -> WatchedFolder:
        return next(x for x in self.watched(caller, kb) if x.id == folder_id)

    def _folder(self, path: str, *, anywhere: bool) -> Path:
        """The folder, checked. Who may not name any folder learns nothing of those outside the roots, not even whether they exist."""
        if not path.isprintable() or not path.strip():
            raise InvalidRequest(zh="path 不是有效的目录。", en="path is no folder.", param="path")
        root = Path(path).absolute() if anywhere else Path(os.path.realpath(path))
        roots = [Path(os.path.realpath(x)) for x in self._settings.watch_roots.split(os.pathsep) if x.strip()]
        if not anywhere and not any(root.is_relative_to(x) for x in roots):
            raise PermissionRefused(
                "folder_not_allowed",
                zh="通过网络只能监视 WATCH_ROOTS 中的目录。请在服务器上设置 WATCH_ROOTS，或在服务器上运行 qzbrain kb watch。",
                en="Over the network only folders inside WATCH_ROOTS can be watched. Set WATCH_ROOTS on the server, or run qzbrain kb watch there.",
                param="path",
            )
        if not root.is_dir():
            raise InvalidRequest("no_such_folder", zh="没有这个目录，或它不是目录。", en="There is no such folder, or it is a file.", param="path")
        if self._settings.data.resolve().is_relative_to(root.resolve()):
            zh, en = "该目录包含本程序自己的数据，不能监视。", "This folder holds the brain's own data; it cannot be watched."
            raise InvalidRequest("own_folder", zh=zh, en=en, param="path")
        return root


def submit_scan(connection: Connection, runner: LeaseRunner, kb_id: str, folder_id: str, *, now: bool) -> None:
    """See that the folder is looked through; one job waits or runs for each. `now`: one that waits for its time need not wait longer."""
    query = select(jobs.c.id).where(jobs.c.subject == folder_id, jobs.c.kind == "scan", jobs.c.status.in_(("pending", "running")))
    found = connection.execute(query).first()
    if found is None:
        runner.submit(connection, "scan", subject=folder_id, kb_id=kb_id)
    elif now:
        connection.execute(update(jobs).where(jobs.c.id == found.id, jobs.c.status == "pending").values(run_after=0.0))


def _shown(row: Row[Any]) -> WatchedFolder:
    options = row.options or {}
    return WatchedFolder(
        id=row.id,
        path=row.path,
        active=bool(row.active),
        every_s=row.every_s,
        recursive=bool(options.get("recursive", False)),
        exclude=tuple(options.get("exclude", ())),
        last_scan_at=row.last_scan_at,
        result=row.result,
        created_at=row.created_at,
        level=options.get("level"),
    )


def _no_such_folder() -> NotFound:
    return NotFound("folder_not_found", zh="没有监视这个目录。", en="This folder is not watched.", param="folder")
