"""One turn from question to stored answer, as a stream of typed events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qzbrain.auth.access import Access
from qzbrain.chat.plan import Ask
from qzbrain.chat.turns import Turn, Turns
from qzbrain.domain import Caller, StreamEvent
from qzbrain.models.registry import ModelRegistry
from qzbrain.settings import Settings
from qzbrain.storage.database import Database

if TYPE_CHECKING:
    from qzbrain.retrieval.hybrid import Retriever

__all__ = ["Ask", "ChatService"]


class ChatService:
    """Answers questions. `turns`: those on the way in this process."""

    def __init__(self, db: Database, access: Access, retriever: Retriever, models: ModelRegistry, settings: Settings) -> None:
        self.turns = Turns()
        self._db, self._access, self._retriever, self._models, self._settings = db, access, retriever, models, settings

    def begin(self, caller: Caller, ask: Ask) -> Turn:
        """Check the question and store it with a running answer row; returns when both are committed (`origin` api: may overlap).

        Raises InvalidRequest, NotFound (model, knowledge base, conversation), StorageFull.
        """
        raise NotImplementedError

    def answer(self, turn: Turn) -> Iterator[StreamEvent]:
        """Run the turn: Queued*, SourcesFound?, Delta*, then exactly one Done or Failed.

        `turn.cancellation.cancel()` (from anywhere) or closing the iterator stops it; what came is stored as stopped.
        """
        raise NotImplementedError

    def stop(self, caller: Caller, message_id: str) -> bool:
        """Stop a running turn of this caller; False when it is not running here. Raises NotFound for a message that is not the caller's."""
        raise NotImplementedError
