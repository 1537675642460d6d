"""The only permission check. Every service method takes the caller first and passes here before it reads or writes.

Without accounts there is one caller, the local user, with all rights; so has who works on the server itself, at the command line.
Otherwise a right in a knowledge base is the least of four: what the account's role allows at all, what was granted to the user, to a group of his
or to everyone, what his key allows, and whether he is cleared for the knowledge base's level. Documents and entries have levels of their own.
What may not be read answers as if it were not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, bindparam, func, or_, select

from qzbrain.auth.standing import Standing, Standings, access_changed
from qzbrain.domain import LEVELS, RIGHTS, ROLES, Caller, ReadScope, Right, Role
from qzbrain.errors import Lang, NotFound, PermissionRefused
from qzbrain.storage.database import Database, after_commit
from qzbrain.storage.tables import documents, knowledge_bases

LOCAL_USER = "local"
ANONYMOUS = "anonymous"
HIDDEN = "import:"
"""Begins the name of a knowledge base that is not whole yet, or about to go: nobody may read it. No name that can be given has a colon."""
VISIBLE = knowledge_bases.c.name.notlike(f"{HIDDEN}%")
TOP = len(LEVELS) - 1
_BY_ROLE: dict[Role, frozenset[Right]] = {
    "reader": frozenset({"read"}),
    "editor": frozenset({"read", "write"}),
    "manager": frozenset(RIGHTS),
    "administrator": frozenset(RIGHTS),
}
_WHOLE: dict[Right, Role] = {"read": "reader", "write": "manager", "manage": "administrator"}
"""The least role for the brain as a whole: seeing it, making knowledge bases, ruling over accounts and models."""
_BASES = select(knowledge_bases.c.id, knowledge_bases.c.name, knowledge_bases.c.title, knowledge_bases.c.without_evidence).where(VISIBLE)
_ALL = _BASES.order_by(knowledge_bases.c.name)
_ONE = _BASES.where(or_(knowledge_bases.c.id == bindparam("key"), knowledge_bases.c.name == bindparam("key")))
_HIGHEST = select(func.max(documents.c.level)).where(documents.c.kb_id == bindparam("kb"))


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
        self._all, self._by_key, self._highest = database.prepared(_ALL), database.prepared(_ONE), database.prepared(_HIGHEST)
        self.standings = Standings(database)

    def local_caller(self, lang: Lang = "zh", address: str = "") -> Caller:
        """The one user of a brain without accounts, and whoever works at the server's own command line."""
        return Caller(id=LOCAL_USER, name=LOCAL_USER, lang=lang, address=address)

    def standing(self, caller: Caller) -> Standing:
        """Role, clearance and grants of the caller now."""
        return _ALL_RIGHTS if caller.id == LOCAL_USER else self.standings.of(caller.id)

    def clearance(self, caller: Caller) -> int:
        """Place in LEVELS of the highest that the caller may see; -1 for nobody."""
        standing = self.standing(caller)
        return standing.clearance if standing.active else -1

    def changed(self, connection: Connection) -> None:
        """As `access_changed`; in this process the change holds from the commit on."""
        access_changed(connection)
        after_commit(connection, self.standings.forget)

    def allows(self, caller: Caller, right: Right, kb_id: str = "") -> bool:
        """Whether the caller has this right."""
        if caller.id == LOCAL_USER:
            return True
        level = self.standings.level(kb_id) if kb_id else 0  # asked first: one that is new brings the grants made with it
        standing = self.standings.of(caller.id)
        if not standing.active or RIGHTS.index(right) > RIGHTS.index(caller.at_most):
            return False
        if not kb_id:
            return ROLES.index(standing.role) >= ROLES.index(_WHOLE[right]) and (caller.only_in is None or right == "read")
        if caller.only_in is not None and kb_id not in caller.only_in:
            return False
        if right not in _BY_ROLE[standing.role] or level > standing.clearance:
            return False
        granted = standing.granted.get(kb_id)
        return standing.role == "administrator" or (granted is not None and RIGHTS.index(right) <= RIGHTS.index(granted))

    def sees(self, caller: Caller, kb_id: str, level: int) -> bool:
        """Whether the caller may read what has this level (place in LEVELS) in this knowledge base."""
        return level <= self.clearance(caller) and self.allows(caller, "read", kb_id)

    def require(self, caller: Caller, right: Right, kb_id: str = "", *, level: int = 0) -> None:
        """Return when the caller has this right, and is cleared for `level`. Raises NotFound when even reading is not allowed, else PermissionRefused."""
        if self.allows(caller, right, kb_id) and level <= self.clearance(caller):
            return
        if kb_id and not self.sees(caller, kb_id, level):
            raise unknown_knowledge_base(kb_id)
        raise PermissionRefused(
            zh="您没有执行此操作的权限。请联系知识库的管理者。",
            en="You may not do this. Ask whoever manages the knowledge base.",
        )

    def require_level(self, caller: Caller, level: int) -> None:
        """Return when the caller may give something this level: nobody may write what he could not read. Raises PermissionRefused."""
        if level > self.clearance(caller):
            raise PermissionRefused(
                "level_refused",
                zh="该密级高于您的许可级别，不能使用。请选择不高于自己许可级别的密级。",
                en="This level is above your clearance. Choose one that you are cleared for.",
                param="level",
            )

    def level_given(self, caller: Caller, kb_id: str, level: int | None) -> int:
        """The level of something new in a knowledge base: `level`, or the knowledge base's own for None. Raises PermissionRefused."""
        if level is None:
            return min(self.standings.level(kb_id), TOP)
        self.require_level(caller, level)
        return level

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
        levels = self._levels(caller, [ref.id for ref in readable])
        return ReadScope(tuple(x.id for x in readable), None if document_ids is None else tuple(document_ids), levels)

    def ceiling(self, caller: Caller, kb_id: str) -> int | None:
        """As `ReadScope.max_level` of one knowledge base: None when the caller is cleared for all that is in it."""
        return next((level for _, level in self._levels(caller, [kb_id])), None)

    def _levels(self, caller: Caller, kb_ids: Sequence[str]) -> tuple[tuple[str, int], ...]:
        clearance = self.clearance(caller)
        if clearance >= TOP:
            return ()
        return tuple((kb_id, clearance) for kb_id in kb_ids if (self._highest(kb=kb_id)[0][0] or 0) > clearance)

    def _one(self, caller: Caller, key: str) -> KbRef | None:
        if not key.isprintable():  # no such name can exist, and the driver takes no lone surrogates
            return None
        found = [KbRef(*row) for row in self._by_key(key=key)]
        matches = [ref for ref in found if key in (ref.id, ref.name)]  # MySQL does not count blanks at the end
        matches.sort(key=lambda ref: ref.id != key)  # an id wins over a knowledge base that took it as its name
        return matches[0] if matches and self.allows(caller, "read", matches[0].id) else None


_ALL_RIGHTS = Standing("administrator", TOP, active=True)


def unknown_knowledge_base(key: str) -> NotFound:
    """The error for a knowledge base that is not there, or of which the caller may not know."""
    shown = key[:80] if key.isprintable() else ""
    return NotFound(
        "knowledge_base_not_found",
        zh=f"没有名为“{shown}”的知识库。请用 qzbrain kb list 或 GET /api/knowledge-bases 查看现有的知识库。",
        en=f'There is no knowledge base "{shown}". See those that exist with: qzbrain kb list, or GET /api/knowledge-bases.',
        param="knowledge_bases",
    )
