"""EMBEDDING_INDEX, the manual's name of a semantic index: a pack that a brain takes in at its start, once.

The manual's folder (`knowledge_pool/m3elarge-NAME-250-50`) says by its name what is in it; a pack has that name and the ending `.qzkb`.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from qzbrain import logs
from qzbrain.auth.access import Access
from qzbrain.errors import BrainError
from qzbrain.knowledge.packs.format import ENDING
from qzbrain.knowledge.packs.reading import Pack
from qzbrain.knowledge.packs.service import PackService, longest_line
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import jobs, knowledge_bases

log = logs.get(__name__)


def pack_file(settings: Settings) -> Path | None:
    """The pack that the setting names, with or without its ending; None where the setting is empty or there is no such file."""
    given = settings.embedding_index_path
    if given is None:
        return None
    return next((path for path in (given, given.with_name(given.name + ENDING)) if path.is_file()), None)


def pack_name(settings: Settings, path: Path) -> str:
    """The knowledge base that a pack becomes. Raises InvalidRequest for a file that is no pack."""
    with Pack(path, line_bytes=longest_line(settings)) as pack:
        return str(pack.manifest.knowledge_base["name"])


def bring_in(database: Database, access: Access, packs: PackService, settings: Settings) -> str | None:
    """Have the pack taken in, unless its knowledge base is there or an earlier try of it is on record; the job's id, None when nothing is to be done."""
    path = pack_file(settings)
    if path is None:
        if settings.embedding_index_path is not None:
            log.warning("embedding_index_missing", path=str(settings.embedding_index_path))
        return None
    try:
        name = pack_name(settings, path)
        with Pack(path, line_bytes=longest_line(settings)) as pack:
            tried = select(jobs.c.id).where(jobs.c.kind == "import", jobs.c.subject == pack.checksum).limit(1)
        if database.rows(select(knowledge_bases.c.id).where(knowledge_bases.c.name == name)) or database.rows(tried):
            return None
        return packs.submit_import(access.local_caller(), path, file_name=path.name)
    except (BrainError, OSError) as exc:
        log.warning("embedding_index_not_taken_in", path=str(path), reason=exc.en if isinstance(exc, BrainError) else str(exc))
        return None
