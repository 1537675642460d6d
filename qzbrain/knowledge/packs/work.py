"""The jobs `export` and `import`. Both may be killed at any point and run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from qzbrain import logs
from qzbrain.auth.access import HIDDEN
from qzbrain.auth.grants import grant_to_maker
from qzbrain.errors import BrainError
from qzbrain.jobs.base import Job
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner
from qzbrain.knowledge.bases import erase
from qzbrain.knowledge.packs.importing import Imported, Importer, name_taken, show
from qzbrain.knowledge.packs.reading import Pack
from qzbrain.knowledge.packs.service import export_path, longest_line
from qzbrain.knowledge.packs.writing import Choice, Progress, write_pack
from qzbrain.models.base import Embedder
from qzbrain.retrieval.feeder import Feeder
from qzbrain.retrieval.vector_feeder import VectorFeeder
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import knowledge_bases

log = logs.get(__name__)


class PackWork:
    """Does both. `follow`: called in the transaction in which a knowledge base appears: what comes after is submitted there."""

    def __init__(
        self,
        database: Database,
        files: FileStore,
        runner: LeaseRunner,
        settings: Settings,
        *,
        feeder: Callable[[], Feeder],
        vector_feeder: Callable[[], VectorFeeder],
        embedder: Callable[[], Embedder | None],
        follow: Callable[[Connection, str], None],
        bring_graph: Callable[[str, Progress], object],
    ) -> None:
        """`bring_graph`: brings into a graph what its documents say about themselves and is not there, and finds its names in their chunks."""
        self._db, self._files, self._runner, self._settings = database, files, runner, settings
        self._feeder, self._vector_feeder, self._embedder, self._follow = feeder, vector_feeder, embedder, follow
        self._bring_graph = bring_graph

    @property
    def export_kind(self) -> Kind:
        """How the runner does `export` jobs."""
        return Kind(self.export)

    @property
    def import_kind(self) -> Kind:
        """How the runner does `import` jobs."""
        return Kind(self.take_in, failed=_forget_file)

    def export(self, leases: Sequence[Lease]) -> None:
        """Write packs into the data folder."""
        folder = self._settings.data / "packs"
        folder.mkdir(parents=True, exist_ok=True)
        for lease in leases:
            choice = Choice(bool(lease.job.payload["originals"]), bool(lease.job.payload["vectors"]))
            names: list[str] = []

            def target(name: str, lease: Lease = lease, names: list[str] = names) -> Path:
                names.append(name)
                return export_path(folder, lease.job.id)

            made = write_pack(self._db, self._files, lease.job.kb_id, target, choice, lease.progress)
            shown = {name: getattr(made, name) for name in ("checksum", "size_bytes", "counts", "left_out", "level")}
            result = {"file_name": names[0], **shown}
            with self._db.write() as connection:
                lease.complete(connection, result)

    def take_in(self, leases: Sequence[Lease]) -> None:
        """Take packs in; each knowledge base appears with its indexes built."""
        self._erase_replaced()
        for lease in leases:
            with Pack(Path(lease.job.payload["path"]), line_bytes=longest_line(self._settings)) as pack:
                made = Importer(self._db, self._files, pack, lease.progress).run(self._embedder())
            self._feeder().rebuild(made.kb_id, lambda done, total, lease=lease: lease.progress("index", done, total, "documents"))  # type: ignore[misc]
            self._bring_graph(made.kb_id, lease.progress)
            if made.space is not None:
                self._vector_feeder().bring(made.space)
            self._show(lease, made)
            self._erase_replaced()
            if lease.job.payload["received"]:
                Path(lease.job.payload["path"]).unlink(missing_ok=True)

    def _show(self, lease: Lease, made: Imported) -> None:
        name = str(lease.job.payload["name"])
        result = {"knowledge_base": name, "id": made.kb_id, "checksum": made.checksum, "skipped": list(made.skipped), "vectors": None}
        if made.space is not None:
            result["vectors"] = "taken_over" if made.refusal is None else made.refusal.code
        try:
            with self._db.write(durable=True) as connection:
                if not self._runner.still_held(connection, [lease]):
                    return
                replaced = show(connection, made, name, in_place=bool(lease.job.payload["in_place"]))
                if replaced is None:
                    grant_to_maker(connection, made.kb_id, str(lease.job.payload.get("owner") or ""))
                self._follow(connection, made.kb_id)
                lease.complete(connection, result)
        except IntegrityError as exc:
            raise name_taken(name) from exc
        log.info("pack_imported", kb_id=made.kb_id, checksum=made.checksum)

    def _erase_replaced(self) -> None:
        """Knowledge bases in whose place others came: by pieces, after those have appeared."""
        for row in self._db.rows(select(knowledge_bases.c.id).where(knowledge_bases.c.name.like(f"{HIDDEN}old-%"))):
            erase(self._db, self._runner, row.id)


def _forget_file(_connection: Connection, job: Job, _error: BrainError) -> None:
    """A pack that came over the network is sent again; what of it was taken in is gone on from then."""
    if job.payload["received"]:
        Path(job.payload["path"]).unlink(missing_ok=True)
