"""How much each user's own uploads may take: his bound, or the setting's, over the documents that he added."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select, update

from qzbrain.auth.access import LOCAL_USER
from qzbrain.domain import AddedDocument, Caller
from qzbrain.errors import PayloadTooLarge
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import documents, users


class StorageShares:
    """Asked before and after an upload. Without accounts there are no bounds, and no owners."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._db, self._general_mb = database, settings.storage_per_user_mb

    def used_bytes(self, user_id: str) -> int:
        """What a user's documents take."""
        return int(self._db.rows(select(func.coalesce(func.sum(documents.c.size_bytes), 0)).where(documents.c.owner == user_id))[0][0])

    def bound_mb(self, user_id: str) -> int:
        """At most so much; 0 for no bound."""
        rows = self._db.rows(select(users.c.storage_mb).where(users.c.id == user_id))
        return (rows[0][0] if rows else 0) or self._general_mb

    def require(self, caller: Caller, size_bytes: int) -> None:
        """Return when there is room for an upload of this size. Raises PayloadTooLarge (`storage_exceeded`)."""
        bound_mb = 0 if caller.id == LOCAL_USER else self.bound_mb(caller.id)
        if not bound_mb:
            return
        used = self.used_bytes(caller.id)
        if used + size_bytes > bound_mb << 20:
            taken, more = f"{used / (1 << 20):.1f}", f"{size_bytes / (1 << 20):.1f}"
            raise PayloadTooLarge(
                "storage_exceeded",
                zh=f"您上传的文档已占 {taken} MiB，再加 {more} MiB 会超过您的上限 {bound_mb} MiB。请删除不再需要的文档，或请管理员调高上限。",
                en=f"Your documents take {taken} MiB; {more} MiB more would be over your bound of {bound_mb} MiB. "
                "Delete some that are not needed, or ask an administrator for more.",
            )

    def take(self, caller: Caller, added: Sequence[AddedDocument]) -> None:
        """Count what was added as the caller's; what was there already stays whose it was."""
        ids = [one.id for one in added if one.id and not one.duplicate]
        if ids and caller.id != LOCAL_USER:
            with self._db.write() as connection:
                connection.execute(update(documents).where(documents.c.id.in_(ids), documents.c.owner == "").values(owner=caller.id))
