"""Packs behind one door: have one written, fetch it, take one in. The work itself is done by jobs (`work`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from qzbrain.auth.access import LOCAL_USER, Access, KbRef
from qzbrain.domain import Caller, JobRecord, new_id
from qzbrain.errors import Conflict, NotFound, PermissionRefused
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.knowledge.bases import erase
from qzbrain.knowledge.names import checked_kb_name
from qzbrain.knowledge.packs.format import ENDING, disagreement
from qzbrain.knowledge.packs.importing import hidden_name, name_taken
from qzbrain.knowledge.packs.levels import highest_level
from qzbrain.knowledge.packs.reading import Pack
from qzbrain.knowledge.packs.writing import Choice, Exported, Progress, write_pack
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.files import ByteSource, FileStore
from qzbrain.storage.tables import jobs, knowledge_bases

_KEPT_S = 7 * 86_400.0


class PackService:
    """What the web and the command line use. Packs that came or go over the network lie in the data folder for a week at most."""

    def __init__(self, database: Database, files: FileStore, access: Access, runner: LeaseRunner, settings: Settings) -> None:
        self._db, self._files, self._access, self._jobs = database, files, access, runner
        self._folder = settings.data / "packs"
        self._line_bytes = longest_line(settings)

    def write(self, caller: Caller, kb: str, target: Path | None, choice: Choice, progress: Progress) -> Exported:
        """Write a pack now. `target`: a file, a folder, or None for the folder one is in. Raises NotFound, PermissionRefused, StorageFull, Conflict."""
        ref, _ = self._whole(caller, kb)
        where: Path | Callable[[str], Path] = target if target is not None and not target.is_dir() else lambda name: (target or Path()) / name
        return write_pack(self._db, self._files, ref.id, where, choice, progress)

    def submit_export(self, caller: Caller, kb: str, choice: Choice) -> str:
        """Have a pack written in the background; returns the job's id. Raises NotFound, PermissionRefused."""
        ref, level = self._whole(caller, kb)
        self._forget_old()
        payload = {"originals": choice.originals, "vectors": choice.vectors, "level": level}
        with self._db.write(durable=True) as connection:
            return self._jobs.submit(connection, "export", kb_id=ref.id, payload=payload)

    def exported(self, caller: Caller, kb: str, job_id: str) -> tuple[Path, str]:
        """The file that such a job wrote, and its name. Raises NotFound, PermissionRefused, Conflict while it is not written."""
        ref, _ = self._whole(caller, kb)
        job = self._jobs.get(job_id if job_id.isprintable() else "")
        if job.kind != "export" or job.kb_id != ref.id:
            raise NotFound("job_not_found", zh="没有这个导出任务。", en="There is no such export.")
        if job.status != "done":
            raise _not_written(job)
        self._require_cleared(caller, int((job.result or {}).get("level", 0)))  # what is in it may be gone, or lower, by now
        path = export_path(self._folder, job.id)
        if not path.exists():
            raise NotFound(
                "pack_gone", zh="导出的知识包已过期并被清理。请重新导出。", en="The pack has been cleared away after a week. Export it again.", param="job_id"
            )
        return path, str((job.result or {}).get("file_name", f"{ref.name}{ENDING}"))

    def receive(self, caller: Caller, stream: ByteSource) -> Path:
        """Keep a pack that comes over the network, for an import. Raises StorageFull, PermissionRefused."""
        self._access.require(caller, "write")
        self._forget_old()
        self._folder.mkdir(parents=True, exist_ok=True)
        store = FileStore(self._folder / "new")
        stored = store.put(stream, limit_bytes=2**62)
        path = self._folder / f"import-{new_id()}{ENDING}"
        store.path(stored.sha256).replace(path)
        return path

    def submit_import(self, caller: Caller, path: Path, *, name: str | None = None, in_place: bool = False, file_name: str = "", received: bool = False) -> str:
        """Have a pack taken in; returns the job's id. One of the same pack that is open is gone on with.

        `file_name`: what the pack is called, where that is not the name at the end of `path`. `received`: it is forgotten afterwards.
        Raises InvalidRequest (`bad_pack` and others), Conflict (`name_taken`, `name_disagrees`), PermissionRefused for a pack with something above the
        caller's clearance, and for a knowledge base that may not be replaced.
        """
        self._access.require(caller, "write")
        try:
            with Pack(path, line_bytes=self._line_bytes) as pack:
                fitting = disagreement(file_name or path.name, pack.manifest)
                if fitting is not None:
                    raise _disagrees(file_name or path.name, fitting)
                wanted = checked_kb_name(name if name is not None else pack.manifest.knowledge_base["name"])
                self._require_cleared(caller, int(pack.manifest.knowledge_base.get("highest", 0)))
                checksum = pack.checksum
            for row in self._db.rows(select(knowledge_bases.c.id).where(knowledge_bases.c.name == wanted)):
                if not in_place or not self._access.allows(caller, "read", row.id):  # a name that is taken is told, as when one is made
                    raise name_taken(wanted)
                self._access.require(caller, "manage", row.id)
            owner = {} if caller.id == LOCAL_USER else {"owner": caller.id}
            payload = {"path": str(path.absolute()), "name": wanted, "in_place": in_place, "received": received, **owner}
            with self._db.write(durable=True) as connection:
                return self._submitted(connection, checksum, payload)
        except BaseException:
            if received:
                path.unlink(missing_ok=True)
            raise

    def drop(self, caller: Caller, path: Path) -> bool:
        """Forget what an import of this pack that did not come to its end has taken in; False when there is nothing. Raises InvalidRequest."""
        self._access.require(caller, "write")
        with Pack(path, line_bytes=self._line_bytes) as pack:
            checksum = pack.checksum
        with self._db.write() as connection:
            for row in connection.execute(_open_imports(checksum)).all():
                self._jobs.cancel_within(connection, row.id)
        found = self._db.rows(select(knowledge_bases.c.id).where(knowledge_bases.c.name == hidden_name(checksum)))
        for row in found:
            erase(self._db, self._jobs, row.id)
        return bool(found)

    def _submitted(self, connection: Connection, checksum: str, payload: dict[str, Any]) -> str:
        for row in connection.execute(_open_imports(checksum)).all():
            if {**row.payload, "path": ""} == {**payload, "path": ""} and Path(row.payload["path"]).exists():
                return str(row.id)
            self._jobs.cancel_within(connection, row.id)
        return self._jobs.submit(connection, "import", subject=checksum, payload=payload)

    def _whole(self, caller: Caller, kb: str) -> tuple[KbRef, int]:
        """A knowledge base that the caller may take away whole, and the highest level in it. Raises NotFound, PermissionRefused."""
        ref = self._access.resolve(caller, [kb])[0]
        self._access.require(caller, "manage", ref.id)
        with self._db.read() as connection:
            level = highest_level(connection, ref.id)
        self._require_cleared(caller, level)
        return ref, level

    def _require_cleared(self, caller: Caller, level: int) -> None:
        if level > self._access.clearance(caller):
            raise PermissionRefused(
                "level_refused",
                zh="该知识包含有密级高于您许可级别的内容，不能导出或导入。请由许可级别足够的人操作。",
                en="The pack holds something above your clearance, so you may neither take it away nor bring it in. Ask somebody who is cleared for it.",
            )

    def _forget_old(self) -> None:
        for path in self._folder.glob(f"*{ENDING}*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _KEPT_S:
                    path.unlink()


def longest_line(settings: Settings) -> int:
    """Bytes of a row at most: a text as long as texts may be, and more for what stands beside it."""
    return 6 * settings.max_text_chars + (1 << 20)


def export_path(folder: Path, job_id: str) -> Path:
    """Where a job leaves the pack that it wrote."""
    return folder / f"export-{job_id}{ENDING}"


def _open_imports(checksum: str) -> Any:
    return select(jobs.c.id, jobs.c.payload).where(jobs.c.kind == "import", jobs.c.subject == checksum, jobs.c.status.in_(("pending", "running")))


def _not_written(job: JobRecord) -> Conflict:
    return Conflict(
        "not_exported",
        zh=f"该导出任务的状态为 {job.status}，还没有可下载的知识包。请查看 GET /api/jobs/{job.id}。",
        en=f"The export is {job.status}, there is no pack to fetch yet. See GET /api/jobs/{job.id}.",
        param="job_id",
    )


def _disagrees(name: str, fitting: str) -> Conflict:
    return Conflict(
        "name_disagrees",
        zh=f"知识包的文件名是 {name}，但其内容应命名为 {fitting}。请确认是否拿错了文件；确认无误后改名再导入。",
        en=f"The pack is called {name}, but by what is in it it would be {fitting}. See whether it is the file you mean; if so rename it, then import it.",
        param="file",
    )
