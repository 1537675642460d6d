"""The job `archive`: every file of an archive becomes a document of its own, read by an `ingest` job of its own as if it had been uploaded.

Run again after a crash, it finds the files that it had taken (their identity is their content) and goes on with the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from qzbrain.auth.access import TOP
from qzbrain.errors import BrainError, NotFound, ParseFailed, PayloadTooLarge
from qzbrain.jobs.leases import Kind, Lease
from qzbrain.knowledge.archives import LIMITS, BadMember, members
from qzbrain.knowledge.bringing import Bringer
from qzbrain.knowledge.documents import Documents, Kept
from qzbrain.knowledge.names import LONGEST_NAME, display_name
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.removal import forget_file
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import knowledge_bases

_BATCH = 50
_DEPTH = 3
_MOST_SHOWN = 1000


class ArchiveIngest:
    """Handles jobs whose subject is the address of a stored archive."""

    def __init__(self, database: Database, files: FileStore, documents: Documents) -> None:
        self._db, self._files, self._documents = database, files, documents

    @property
    def kind(self) -> Kind:
        """How the runner does these jobs."""
        return Kind(self.handle)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Take each archive apart, and drop it: what it held is documents now. Raises ParseFailed when nothing in it could be taken."""
        for lease in leases:
            result = _Taking(lease, self._files, self._db, self._documents).take()
            with self._db.write() as connection:
                lease.complete(connection, result)
            forget_file(self._db, self._files, lease.job.subject)


class _Taking:
    """One archive on its way."""

    def __init__(self, lease: Lease, files: FileStore, database: Database, documents: Documents) -> None:
        self._lease, self._files, self._db, self._documents = lease, files, database, documents
        self._zh = lease.job.payload.get("lang") == "zh"
        self._errors: list[dict[str, Any]] = []
        self._names: dict[str, int] = {}
        self._ids: dict[str, str] = {}
        self._row = self._bytes = 0
        rows = database.rows(select(knowledge_bases.c.level).where(knowledge_bases.c.id == lease.job.kb_id))
        self._bringer = Bringer.of_job(lease.job.payload, rows[0].level if rows else TOP)

    def take(self) -> dict[str, Any]:
        """The job's result: how many documents, their names, and the members that are none, each with its place and its reason."""
        name = str(self._lease.job.payload.get("name") or "archive")
        batch: list[Kept] = []
        failure: ParseFailed | None = None
        try:
            for kept in self._kept(self._files.path(self._lease.job.subject), name, 1):
                batch.append(kept)
                if len(batch) == _BATCH:
                    self._register(batch)
                    batch = []
        except ParseFailed as exc:  # the rest of it cannot be read
            failure = exc
            self._fault(name, exc)
        self._register(batch)
        if not self._ids and failure is not None:
            raise failure
        if not self._ids and not self._errors:
            raise refusals.empty()
        shown = list(self._ids.values())[:_MOST_SHOWN]
        return {"documents": len(self._ids), "names": shown, "errors": self._errors[:_MOST_SHOWN], "error_count": len(self._errors)}

    def _kept(self, path: Path, name: str, depth: int) -> Iterator[Kept]:
        """The documents of an archive and of those in it, their bytes stored. Raises ParseFailed when all of them hold too much."""
        for member in members(path, name):
            self._row += 1
            self._lease.progress("read", self._row, 0, "files")
            if isinstance(member, BadMember):
                self._fault(member.name, member)
                continue
            try:
                kept = self._documents.keep(member.name, member.stream)
            except (ParseFailed, PayloadTooLarge) as exc:
                self._fault(member.name, exc)
                continue
            self._bytes += kept.size_bytes
            if self._row > LIMITS.max_zip_members or self._bytes > LIMITS.max_unzipped_bytes:
                raise refusals.bomb()
            kept = replace(kept, name=self._free_name(name, member.name))
            if kept.archive:
                yield from self._nested(kept, depth)
            else:
                yield kept

    def _nested(self, kept: Kept, depth: int) -> Iterator[Kept]:
        if depth >= _DEPTH:
            zh, en = f"压缩包嵌套超过 {_DEPTH} 层，请先解压", f"archives in archives, more than {_DEPTH} deep: unpack it first"
            self._fault(kept.name, BadMember(kept.name, zh, en))
        else:
            try:
                yield from self._kept(self._files.path(kept.sha256), kept.name, depth + 1)
            except ParseFailed as exc:
                if exc.code == "bomb":
                    raise
                self._fault(kept.name, exc)
        forget_file(self._db, self._files, kept.sha256)

    def _register(self, batch: Sequence[Kept]) -> None:
        if not batch:
            return
        try:
            added = self._documents.register(self._lease.job.kb_id, batch, self._bringer)
        except NotFound:
            return  # the knowledge base was deleted meanwhile
        for kept, one in zip(batch, added, strict=True):
            self._ids.setdefault(one.id or one.sha256, kept.name)

    def _free_name(self, archive: str, member: str) -> str:
        """`archive.zip/folder/name`, shown names only; one that was there already gets a number."""
        parts = [display_name(part, default="_") for part in member.replace("\\", "/").split("/") if part not in ("", ".")]
        full = "/".join([archive, *parts])
        if len(full) > LONGEST_NAME:
            full = full[: LONGEST_NAME // 2 - 1] + "…" + full[-(LONGEST_NAME // 2) :]
        times = self._names[full] = self._names.get(full, 0) + 1
        stem, dot, ending = full.rpartition(".")
        return full if times == 1 else f"{(stem or full)[: LONGEST_NAME - 20]} ({times}){dot}{ending[:10] if stem else ''}"

    def _fault(self, name: str, fault: BadMember | BrainError) -> None:
        shown = display_name(name.replace("\\", "/").replace("/", "∕"), default="_").replace("∕", "/")
        message = fault.zh if self._zh else fault.en
        self._errors.append({"row": self._row, "name": shown, "message": f"{shown}：{message}" if self._zh else f"{shown}: {message}"})
