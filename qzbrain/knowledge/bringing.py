"""Who brings documents: the level that these get, and which of those that are there he may know of.

What lies above his clearance is not there for him. So bytes or an `external_id` that such a document has already make a document of its own, under an
identity that stands beside the other one; nothing of the hidden one is told or changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from qzbrain.auth.access import TOP, Access
from qzbrain.domain import Caller, new_id
from qzbrain.storage.tables import documents

_SAME = select(documents.c.id, documents.c.identity, documents.c.status, documents.c.sha256, documents.c.title, documents.c.level)


@dataclass(frozen=True, slots=True)
class Bringer:
    """`level`: place in LEVELS of what is new; `stated`: it was asked for, so what is there already is raised to it; an upload lowers nothing."""

    level: int
    clearance: int = TOP
    stated: bool = False
    lang: str = "zh"

    @classmethod
    def of(cls, access: Access, caller: Caller, kb_id: str, level: int | None) -> Bringer:
        """Of a caller who may write there. `level`: None for the knowledge base's own. Raises PermissionRefused."""
        return cls(access.level_given(caller, kb_id, level), access.clearance(caller), level is not None, caller.lang)

    @classmethod
    def of_job(cls, payload: Mapping[str, Any], kb_level: int) -> Bringer:
        """Of a job that goes on with what somebody brought."""
        level, lang = payload.get("level"), str(payload.get("lang") or "en")
        return cls(kb_level if level is None else int(level), int(payload.get("clearance", TOP)), bool(payload.get("stated")), lang)

    def payload(self) -> dict[str, Any]:
        """For a job's payload."""
        return {"level": self.level, "clearance": self.clearance, "stated": self.stated, "lang": self.lang}

    def raised(self, level: int) -> int:
        """The level that a document of this level has after it was brought again."""
        return max(level, self.level) if self.stated else level

    def there(self, connection: Connection, kb_id: str, identity: str) -> tuple[Row[*tuple[Any, ...]] | None, str]:
        """The document of this identity that the bringer may know of, and the identity that a new one gets where there is none."""
        for one in (identity, f"{identity}#{self.clearance}"):
            row = connection.execute(_SAME.where(documents.c.kb_id == kb_id, documents.c.identity == one)).first()
            if row is None or row.level <= self.clearance:
                return row, one
        return None, f"{identity}#{new_id()}"
