"""Shapes of requests and replies about curated entries. The rest is in `schemas.py` and `replies.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from qzbrain.web.schemas import KnowledgeBasePath, ListQuery, MessagePath, Strict

Text = Annotated[str, Field(max_length=100_000)]
Questions = Annotated[list[Text], Field(max_length=1000)]
Moment = Annotated[str, Field(max_length=64)]
Flag = Literal["0", "1", "true", "false"]
TRUE = ("1", "true")


class EntryPath(KnowledgeBasePath):
    """`{kb}` and `{entry_id}`."""

    entry_id: str


class EntryCreate(Strict):
    """A curated entry. `question` '' for a text that answers no single question."""

    question: Text = ""
    answer: Text = Field(description="Markdown.")
    variants: Questions = Field(default=[], description="Other ways to ask.")
    negatives: Questions = Field(default=[], description="Questions that this does not answer.")
    source: Text = ""
    valid_from: Moment | None = Field(None, description="A day or a time; a day begins at its first moment, in the server's time zone.")
    valid_until: Moment | None = Field(None, description="A day or a time; a day ends with its last moment.")
    level: Moment | None = Field(None, description="public, internal, confidential, secret or top_secret.")
    approve: bool = Field(default=False, description="Put it in force at once.")


class EntryUpdate(Strict):
    """What changes; null takes a date away."""

    question: Text | None = None
    answer: Text | None = None
    variants: Questions | None = None
    negatives: Questions | None = None
    source: Text | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    level: Moment | None = None
    approve: bool = False


class EntryQuery(ListQuery):
    """Which entries."""

    q: str = Field("", max_length=500, description="Only those that hold it in question, answer or source.")
    status: Literal["proposed", "approved", "expired", "upcoming"] | None = Field(None, description="By its dates an entry is also `expired` or `upcoming`.")


class EntryImportQuery(Strict):
    """How a file is taken in."""

    dry_run: Flag = "0"
    approve: Flag = "0"


class EntryExportQuery(Strict):
    """In which form entries are written."""

    format: Literal["xlsx", "csv", "jsonl"] = "xlsx"


class CorrectionPath(MessagePath):
    """`{conversation_id}` and `{message_id}`."""


class Correction(Strict):
    """What would have been right."""

    answer: Text
    question: Text | None = Field(None, description="The question as the entry shall hold it; by default that of the turn, made whole.")
    knowledge_base: str | None = Field(None, max_length=200, description="Where the entry goes; by default that of the answer's sources.")
    source: Text = ""
    approve: bool = Field(default=True, description="Put it in force at once.")


class ConflictReply(BaseModel):
    """What an entry contradicts: another entry (`entry_id`, `question`), or a passage (`document_id`, `start`, `end`)."""

    kind: Literal["entry", "document"]
    quote: str
    entry_id: str | None
    question: str | None
    document_id: str | None
    document: str | None
    start: int | None
    end: int | None


class EntryReply(BaseModel):
    """A curated entry, its newest version."""

    id: str
    question: str
    answer: str
    variants: list[str]
    negatives: list[str]
    source: str
    valid_from: str | None
    valid_until: str | None
    level: str
    status: Literal["proposed", "approved"]
    in_force: bool
    author: str
    approver: str
    version: int
    approved_version: int
    document_id: str | None
    origin: dict[str, Any]
    created_at: str
    updated_at: str
    conflicts: list[ConflictReply] = Field(description="When it was written or approved; else empty.")


class EntryVersionReply(BaseModel):
    """A version of an entry."""

    version: int
    question: str
    answer: str
    variants: list[str]
    negatives: list[str]
    source: str
    valid_from: str | None
    valid_until: str | None
    level: str
    author: str
    created_at: str


class EntryVersionsReply(BaseModel):
    """All versions, newest first."""

    data: list[EntryVersionReply]


class RowError(BaseModel):
    """A row that was not taken in, and why."""

    row: int
    message: str


class RowConflict(ConflictReply):
    """What a row contradicts."""

    row: int


class EntriesImported(BaseModel):
    """What came of an import."""

    created: int
    updated: int
    skipped: int
    errors: list[RowError]
    conflicts: list[RowConflict]
    dry_run: bool


class RegressionReply(BaseModel):
    """A question that an entry must go on answering."""

    id: str
    question: str
    entry_id: str
    message_id: str | None
    passed: bool | None
    result: dict[str, Any] | None
    created_at: str
    run_at: str | None


class RegressionsReply(BaseModel):
    """All of a knowledge base, and how many passed their last run."""

    data: list[RegressionReply]
    passed: int
    failed: int
