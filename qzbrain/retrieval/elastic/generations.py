"""Which physical index holds a knowledge base: generations side by side, and an alias on the one in use.

    PREFIX-<kb id>-<schema>              alias that searches and writers use; <schema> is the hash of tokeniser and fields
    PREFIX-<kb id>-<schema>-building     alias of a generation that is being built: its writer uses that one
    PREFIX-<kb id>-<schema>-<id>         a generation

Another schema is another alias, so it does not count. What a killed rebuild left behind is removed by the next one. Writers name an alias
and forbid the server to make an index of that name: a writer that was overtaken cannot bring a removed index back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from qzbrain.domain import new_id
from qzbrain.retrieval.elastic.connection import WRITE_TIMEOUT_S, Server

BUILDING = "building"


@dataclass(frozen=True, slots=True)
class Generation:
    """A physical index, and the watermark that it was built with."""

    name: str
    watermark: int


class Generations:
    """The generations of one knowledge base, or of one space of vectors (`key`: its id). `schema`: twelve hexadecimal digits."""

    def __init__(self, server: Server, prefix: str, key: str, schema: str) -> None:
        self._server = server
        self._base = f"{prefix}-{key}"
        self.alias = f"{self._base}-{schema}"
        self.building = f"{self.alias}-{BUILDING}"

    def current(self) -> Generation | None:
        """The generation in use, None when there is none of this schema."""
        reply = self._server.request("GET", f"/{self.alias}/_mapping", params={"filter_path": "*.mappings._meta"}, expected=(404,))
        if not reply.found or not reply.body:
            return None
        name = max(reply.body)
        return Generation(name, int(reply.body[name]["mappings"]["_meta"]["watermark"]))

    def new(self, body: dict[str, Any]) -> str:
        """An empty index that nobody searches yet; `mappings._meta.watermark` of its body is what it is built with."""
        name = f"{self.alias}-{new_id()}"
        self._server.request("PUT", f"/{name}", {**body, "aliases": {self.building: {}}}, timeout_s=WRITE_TIMEOUT_S)
        return name

    def use(self, name: str) -> None:
        """Move the alias to a finished generation, at once for everybody, and remove all others."""
        actions: list[dict[str, dict[str, object]]] = [
            {"remove": {"index": f"{self.alias}-*", "alias": self.alias, "must_exist": False}},
            {"remove": {"index": name, "alias": self.building, "must_exist": False}},
            {"add": {"index": name, "alias": self.alias}},
        ]
        self._server.request("POST", "/_aliases", {"actions": actions}, timeout_s=WRITE_TIMEOUT_S)
        self.sweep(name)

    def sweep(self, kept: str) -> None:
        """Remove every generation but this one, those of other schemas included."""
        for name in self.all():
            if name != kept:
                self.remove(name)

    def remove(self, name: str) -> None:
        """Remove a generation; one that is gone is no error."""
        self._server.request("DELETE", f"/{name}", expected=(404,), timeout_s=WRITE_TIMEOUT_S)

    def all(self) -> list[str]:
        """Every generation that is there, of every schema."""
        reply = self._server.request("GET", f"/{self._base}-*/_alias", params={"expand_wildcards": "all"}, expected=(404,))
        mine = re.compile(re.escape(self._base) + "-[0-9a-f]{12}-[0-9a-f]{22}")
        return sorted(name for name in reply.body if mine.fullmatch(name)) if reply.found else []
