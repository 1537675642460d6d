"""Shapes of extraction by a language model, and of suggestions for merges."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from qzbrain.web.graph_shapes import EntityReply
from qzbrain.web.schemas import KnowledgeBasePath, Strict


class ExtractBody(Strict):
    """What to read, and with which model."""

    model: str | None = Field(None, max_length=64, description="A language model's name; `auto` by default: the first one that is there.")
    document_ids: list[str] | None = Field(None, min_length=1, max_length=10_000, description="These documents alone; by default all that are ready.")
    dry_run: bool = Field(False, description="Only tell what it will cost.")


class CostReply(BaseModel):
    """What an extraction will cost. Tokens and seconds are those of the calls that are not kept already (`calls` less `cached_calls`)."""

    model: str
    documents: int
    chunks: int
    calls: int
    cached_calls: int
    prompt_tokens: int
    completion_tokens: int
    estimate_s: float
    basis: Literal["measured", "assumed"] = Field(description="Where the estimate comes from: calls of this model, or an assumption.")


class SuggestionsQuery(Strict):
    """Which suggestions."""

    status: Literal["open", "accepted", "dismissed"] = "open"
    limit: int = Field(100, ge=1, le=1000)


class SuggestionPath(KnowledgeBasePath):
    """`{kb}` and `{suggestion_id}`."""

    suggestion_id: str


class SuggestionReply(BaseModel):
    """Entities that may be one. `keep` is null and `merge` empty where a decided one's entities are gone."""

    id: str
    keep: EntityReply | None
    merge: list[EntityReply]
    reason: str
    reason_code: Literal["alias", "same_name", "marks", "company", "form", "region", "outside", "inside"]
    score: float
    status: Literal["open", "accepted", "dismissed"]
    alias: str | None = Field(description="For the reason `alias`: the alias that named the other entity.")
    merge_id: str | None = Field(description="Of the merge that accepting it made.")
    author: str | None = Field(description="Who decided.")


class SuggestionsReply(BaseModel):
    """Suggestions, best first; `total`: with those beyond `limit`."""

    data: list[SuggestionReply]
    total: int
