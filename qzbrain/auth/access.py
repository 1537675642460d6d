"""The only permission check. Every service method takes the caller first and passes here before it reads or writes.

Until accounts exist there is one caller, the local user, with all rights. What may not be read answers as if it were not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import bindparam, or_, select

from qzbrain.domain import Caller, ReadScope, Right
from qzbrain.errors import Lang, NotFound, PermissionRefused
from qzbrain.storage.database import Database
from qzbrain.storage.tables import knowledge_bases

LOCAL_USER = "local"
_RIGHTS: dict[str, frozenset[Right]] = {LOCAL_USER: frozenset({"read", "write", "manage"})}
HIDDEN = "import:"
"""Begins the name of a knowledge base that is not whole yet, or about to go: nobody may read it. No name that can be given has a colon."""
VISIBLE = knowledge_bases.c.name.notlike(f"{HIDDEN}%")
_BASES = select(knowledge_bases.c.id, knowledge_bases.c.name, knowledge_bases.c.title, knowledge_bases.c.without_evidence).where(VISIBLE)
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
        self._all, self._by_key = database.prepared(_ALL), database.prepared(_ONE)

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
            return [ref for ref in (KbRef(*row) for row in self._all()) if self.allows(caller, "read", ref.id)]
        found: dict[str, KbRef] = {}
        for key in names_or_ids:
            ref = self._one(caller, key)
            if ref is None:
                raise unknown_knowledge_base(key)
            found[ref.id] = ref
        return list(found.values())

    def scope(self, caller: Caller, kb_ids: Sequence[str] | None = None, document_ids: Sequence[str] | None = None) -> ReadScope:
        """What the caller may read, narrowed to these ids when they are given. Retrieval filters by it before top-k.

        An id that is gone or may not be read (any more) is left out.
        """
        readable = self.resolve(caller) if kb_ids is None else [ref for ref in (self._one(caller, one) for one in kb_ids) if ref is not None]
        return ReadScope(kb_ids=tuple(x.id for x in readable), document_ids=None if document_ids is None else tuple(document_ids))

    def _one(self, caller: Caller, key: str) -> KbRef | None:
        if not key.isprintable():  # no such name can exist, and the driver takes no lone surrogates
            return None
        found = [KbRef(*row) for row in self._by_key(key=key)]
        matches = [ref for ref in found if key in (ref.id, ref.name)]  # MySQL does not count blanks at the end
        matches.sort(key=lambda ref: ref.id != key)  # an id wins over a knowledge base that took it as its name
        return matches[0] if matches and self.allows(caller, "read", matches[0].id) else None


def unknown_knowledge_base(key: str) -> NotFound:
    """The error for a knowledge base that is not there, or of which the caller may not know."""
    shown = key[:80] if key.isprintable() else ""
    return NotFound(
        "knowledge_base_not_found",
        zh=f"没有名为“{shown}”的知识库。请用 qzbrain kb list 或 GET /api/knowledge-bases 查看现有的知识库。",
        en=f'There is no knowledge base "{shown}". See those that exist with: qzbrain kb list, or GET /api/knowledge-bases.',
        param="knowledge_bases",
    )
