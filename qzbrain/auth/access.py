"""The only permission check. Every service method takes the caller first and passes here before it reads or writes.

Until accounts exist there is one caller, the local user, with all rights. What may not be read answers as if it were not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Row, bindparam, or_, select

from qzbrain.domain import Caller, ReadScope, Right
from qzbrain.errors import Lang, NotFound, PermissionRefused
from qzbrain.storage.database import Database
from qzbrain.storage.tables import knowledge_bases

LOCAL_USER = "local"
_RIGHTS: dict[str, frozenset[Right]] = {LOCAL_USER: frozenset({"read", "write", "manage"})}
_BASES = select(knowledge_bases.c.id, knowledge_bases.c.name, knowledge_bases.c.title, knowledge_bases.c.without_evidence)
_ALL = _BASES.order_by(knowledge_bases.c.name)
_ONE = _BASES.where(or_(knowledge_bases.c.id == bindparam("key"), knowledge_bases.c.name == bindparam("key")))


@dataclass(frozen=True, slots=True)
class KbRef:
    """A knowledge base that a caller may read, as much of it as answering needs."""

    id: str
    name: str
    title: str
    without_evidence: Literal["refuse", "model"]


class Access:
    """Who may do what. `kb_id` "" stands for the brain as a whole (making a knowledge base, seeing jobs)."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def local_caller(self, lang: Lang = "zh") -> Caller:
        """The one user of a brain without accounts."""
        return Caller(id=LOCAL_USER, name=LOCAL_USER, lang=lang)

    def allows(self, caller: Caller, right: Right, kb_id: str = "") -> bool:
        """Whether the caller has this right."""
        return right in _RIGHTS.get(caller.id, frozenset())

    def require(self, caller: Caller, right: Right, kb_id: str = "") -> None:
        """Return when the caller has this right. Raises NotFound when even reading is not allowed, else PermissionRefused."""
        if self.allows(caller, right, kb_id):
            return
        if not self.allows(caller, "read", kb_id):
            raise unknown_knowledge_base(kb_id)
        raise PermissionRefused(
            zh="您没有执行此操作的权限。请联系知识库的管理者。",
            en="You may not do this. Ask whoever manages the knowledge base.",
        )

    def resolve(self, caller: Caller, names_or_ids: Sequence[str] | None = None) -> list[KbRef]:
        """The knowledge bases named (each once, in the order given), or all that the caller may read, by name, for None.

        Raises NotFound (`knowledge_base_not_found`) for one that is unknown or may not be read.
        """
        if names_or_ids is None:
            return [_reference(row) for row in self._db.rows(_ALL) if self.allows(caller, "read", row.id)]
        found = {ref.id: ref for ref in (self._one(caller, key) for key in names_or_ids)}
        return list(found.values())

    def scope(self, caller: Caller, kb_ids: Sequence[str] | None = None, document_ids: Sequence[str] | None = None) -> ReadScope:
        """What the caller may read, narrowed to these ids when they are given. Retrieval filters by it before top-k."""
        readable = self.resolve(caller) if kb_ids is None else [x for x in self.resolve(caller) if x.id in kb_ids]
        return ReadScope(kb_ids=tuple(x.id for x in readable), document_ids=None if document_ids is None else tuple(document_ids))

    def _one(self, caller: Caller, key: str) -> KbRef:
        if not key.isprintable():  # no such name can exist, and the driver takes no lone surrogates
            raise unknown_knowledge_base("")
        matches = [_reference(row) for row in self._db.rows(_ONE, {"key": key})]
        matches.sort(key=lambda ref: ref.id != key)  # an id wins over a knowledge base that took it as its name
        if not matches or not self.allows(caller, "read", matches[0].id):
            raise unknown_knowledge_base(key)
        return matches[0]


def _reference(row: Row[Any]) -> KbRef:
    return KbRef(id=row.id, name=row.name, title=row.title, without_evidence=row.without_evidence)


def unknown_knowledge_base(key: str) -> NotFound:
    """The error for a knowledge base that is not there, or of which the caller may not know."""
    shown = key[:80]
    return NotFound(
        "knowledge_base_not_found",
        zh=f"没有名为“{shown}”的知识库。请用 qzbrain kb list 或 GET /api/knowledge-bases 查看现有的知识库。",
        en=f'There is no knowledge base "{shown}". See those that exist with: qzbrain kb list, or GET /api/knowledge-bases.',
        param="knowledge_bases",
    )
