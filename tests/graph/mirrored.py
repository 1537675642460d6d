"""A store whose copy on a real Neo4j is brought after SQL before every reading, and which tells when SQL had to answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qzbrain.graph.mirror.feeding import Mirror
from qzbrain.graph.mirror.link import Link
from qzbrain.graph.mirror.store import MirroredGraph
from qzbrain.settings import Settings
from qzbrain.storage.database import Database


class Following(MirroredGraph):
    """As `MirroredGraph`, always up to date."""

    def _either(self, kb_id: str, ask: Callable[..., Any], otherwise: Callable[..., Any]) -> Any:
        self._catch_up(kb_id)
        return super()._either(kb_id, ask, otherwise)

    def every_triple(self, kb_id: str) -> Any:
        self._catch_up(kb_id)
        return super().every_triple(kb_id)

    def _catch_up(self, kb_id: str) -> None:
        if kb_id in self.mirror.due():
            self.mirror.catch_up(kb_id)


def link_of(settings: dict[str, object], **more: float) -> Link:
    """The way to a server, with what a brain is configured by."""
    return Link(Settings(**settings), **more)  # type: ignore[arg-type]


def following(database: Database, settings: dict[str, object]) -> Following:
    """A store on a server."""
    return Following(database, Mirror(database, link_of(settings, read_s=60)))  # a machine may be busy: what is asked here is who answers
