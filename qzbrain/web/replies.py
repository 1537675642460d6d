"""Shapes of replies, for /openapi.json only: the views build them as plain dicts (`render.py`), and a test compares the two."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from qzbrain.domain import Level


class ErrorDetail(BaseModel):
    """What happened, why, and what to do; in Chinese or English by Accept-Language."""

    message: str
    type: str
    code: str
    param: str | None


class ErrorReply(BaseModel):
    """Every error."""

    error: ErrorDetail


class Counts(BaseModel):
    """Documents by state; pending counts running ones too."""

    total: int
    ready: int
    failed: int
    pending: int


class KnowledgeBaseReply(BaseModel):
    """A knowledge base."""

    id: str
    name: str
    title: str
    description: str
    chunk_chars: int
    overlap_chars: int
    without_evidence: Literal["refuse", "model"]
    documents: Counts
    chunks: int
    level: Level = Field(description="Who is not cleared for it may not enter.")
    manifest: dict[str, Any]
    created_at: str


class KnowledgeBaseChanged(KnowledgeBaseReply):
    """A knowledge base after a change."""

    job_id: str | None = Field(description="The job that cuts its documents anew, when the size of chunks has changed.")


class Reason(BaseModel):
    """Why something failed."""

    code: str
    message: str


class Progress(BaseModel):
    """How far a job is. `rate`: units a second; `eta_s`: seconds left at that rate, null while it is not known."""

    done: int
    total: int
    unit: str
    rate: float
    eta_s: int | None


class Waiting(BaseModel):
    """What something waits for, and its place in the line of its kind, from 1."""

    code: str
    message: str
    position: int | None


class AddedReply(BaseModel):
    """A file or text that was taken in; `id` is null for a corpus or an archive, whose `job_id` tells the rest."""

    id: str | None
    name: str
    status: Literal["pending", "running", "ready", "failed"]
    sha256: str
    size_bytes: int
    duplicate: bool
    job_id: str | None
    level: Level


class AddedList(BaseModel):
    """What an upload took in, in its order."""

    data: list[AddedReply]


class EditCountsReply(BaseModel):
    """People's edits: those in the text now, and those that no longer fit since it was read anew."""

    applied: int
    lost: int


class DocumentReply(BaseModel):
    """A document."""

    id: str
    external_id: str | None
    knowledge_base: str
    name: str
    title: str
    status: Literal["pending", "running", "ready", "failed"]
    stage: str
    progress: Progress
    waiting_for: Waiting | None
    reason: Reason | None
    pages: int | None
    chunks: int
    chars: int
    sha256: str
    size_bytes: int
    mime_type: str
    created_at: str
    ready_at: str | None
    edits: EditCountsReply
    entry_id: str | None = Field(description="The curated entry whose text this is; null for a file.")
    level: Level


class ContentReply(BaseModel):
    """A document's stored text."""

    text: str


class ChunkReply(BaseModel):
    """A chunk: `text == content.text[start:end]`."""

    id: int
    ordinal: int
    text: str
    start: int
    end: int
    page: int | None
    heading_path: list[str]
    enabled: bool = Field(description="False: kept and shown, found by no search.")


class SpanReply(BaseModel):
    """A chunk that is not stored."""

    start: int
    end: int
    text: str


class CutReply(BaseModel):
    """How a document is cut; the first chunks only."""

    count: int
    mean_chars: float
    chunks: list[SpanReply]


class ChunkPreviewReply(BaseModel):
    """A document's chunks now, and as they would be."""

    now: CutReply
    then: CutReply


class ChangeReply(BaseModel):
    """A stretch that both texts have, or that one has instead of the other's."""

    op: Literal["equal", "delete", "insert"]
    text: str


class EditReply(BaseModel):
    """An edit of a document: `before` stood at `[start, end)` of the text as it was then."""

    number: int
    kind: Literal["text", "disable", "enable"]
    ordinal: int
    start: int
    end: int
    before: str
    after: str
    diff: list[ChangeReply]
    author: str
    note: str
    applies: bool = Field(description="False: the document was read anew and no longer holds what this changed.")
    created_at: str


class EditList(BaseModel):
    """Edits, the newest first."""

    data: list[EditReply]


class SourceReply(BaseModel):
    """One retriever's view of a hit."""

    rank: int
    score: float


class HitReply(BaseModel):
    """A passage found."""

    rank: int
    chunk_id: int
    document_id: str
    external_id: str | None
    document: str
    title: str
    kind: Literal["file", "entry", "facts"]
    level: Level
    knowledge_base: str
    heading_path: list[str]
    text: str
    start: int
    end: int
    page: int | None
    score: float
    confidence: float
    sources: dict[str, SourceReply]


class DegradedReply(BaseModel):
    """A part that was configured and did not take part."""

    part: str
    reason: str


class SearchReply(BaseModel):
    """Hits, best first."""

    hits: list[HitReply]
    confidence: float
    answerable: bool
    degraded: list[DegradedReply]
    took_ms: float


class CitedFactReply(BaseModel):
    """A triple of a knowledge graph."""

    knowledge_base: str
    head_id: str
    head: str
    relation: str
    tail_id: str
    tail: str
    source: str = Field(description="What the imported file named as its source.")


class CitationReply(BaseModel):
    """A source of an answer: `quote == content.text[start:end]`, but for an imported fact that stands in no document: `document_id` is empty then."""

    index: int
    document_id: str
    external_id: str | None
    document: str
    title: str
    heading_path: list[str]
    page: int | None
    start: int
    end: int
    quote: str
    url: str
    cited: bool
    supported: bool | None
    facts: list[CitedFactReply] = Field(description="What the knowledge graph says by this source; empty for a passage that a search found.")
    level: Level | None = Field(description="As it was when the answer was given; null for a hidden one.")
    hidden: bool = Field(description="Its document is gone, or this reader may not see it (any more); all but index, cited and supported is empty.")


class UsageReply(BaseModel):
    """Tokens, as the engine counted them."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerReply(BaseModel):
    """An answer, the same on every interface."""

    message_id: str
    conversation_id: str
    model: str
    answer: str
    rung: Literal["model", "entry", "graph", "extractive", "passages", "refused"]
    rung_reason: str
    confidence: float | None
    citations: list[CitationReply]
    degraded: list[DegradedReply]
    usage: UsageReply
    timings: dict[str, float]
    stopped: bool
    finish_reason: str
    level: Level = Field(description="The highest of what it stands on.")
    withheld: bool = Field(description="This reader may not see it (any more); `answer` says so.")


class CompletionReply(BaseModel):
    """OpenAI's chat completion, with the answer's own fields beside it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: UsageReply
    citations: list[CitationReply]
    rung: str
    rung_reason: str
    confidence: float | None
    degraded: list[DegradedReply]
    timings: dict[str, float]
    conversation_id: str
    message_id: str
    level: Level
    withheld: bool


class ConversationReply(BaseModel):
    """A conversation."""

    id: str
    title: str
    model: str
    knowledge_bases: list[str]
    created_at: str
    updated_at: str
    mine: bool = Field(description="False for another's that is shared with the caller: it can be read, and nothing else.")


class ShareSubject(BaseModel):
    """A user or a group."""

    id: str
    name: str


class SharesReply(BaseModel):
    """Who may read a conversation beside its owner."""

    users: list[ShareSubject]
    groups: list[ShareSubject]


class JobReply(BaseModel):
    """A job."""

    id: str
    kind: str
    subject: str
    status: Literal["pending", "running", "done", "failed", "cancelled"]
    stage: str
    progress: Progress
    waiting_for: Waiting | None
    attempts: int
    reason: Reason | None
    result: dict[str, Any] | None
    created_at: str
    updated_at: str


class ModelReply(BaseModel):
    """A model of the configuration, or the built-in embedder."""

    name: str
    engine: str
    kind: Literal["chat", "embedding", "rerank"]
    status: Literal["ready", "starting", "stopped", "failed", "draining"]
    reason: str
    devices: str
    context: int = Field(description="Tokens of one request, prompt and answer together; 0 for the built-in answerer.")
    local: bool = Field(description="Its engine runs on this machine and can be started, stopped and swapped.")
    on_demand: bool
    asleep: bool = Field(description="The first use starts its engine.")
    answered_by: str | None = Field(description="The model that took its place in a swap and answers for it.")
    expected_s: float = Field(description="About how long until a starting engine is ready; 0 when nobody knows.")
    restarts: int = Field(description="How often its engine came back by itself since it was asked to start.")
    slots: int
    in_use: int
    queued: int


class ProbeReply(BaseModel):
    """What came of one real call to a model."""

    name: str
    ok: bool
    took_ms: float
    reason: str


class ModelList(BaseModel):
    """The models by name, as OpenAI lists them."""

    object: Literal["list"]
    data: list[dict[str, Any]]


class StoppedReply(BaseModel):
    """How many running answers were stopped."""

    stopped: int


class ReadyReply(BaseModel):
    """Whether the first question can be answered, and each check."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, Any]


class DoctorReply(BaseModel):
    """Checks of the installation; `system`: versions, processes, disk and queue."""

    checks: list[dict[str, Any]]
    system: dict[str, Any]


class MessageReply(BaseModel):
    """A stored message; an assistant's carries its answer's fields."""

    id: str
    role: Literal["user", "assistant"]
    status: Literal["running", "complete", "stopped", "failed"]
    content: str
    created_at: str


def page_of(model: type[BaseModel]) -> type[BaseModel]:
    """`{"data", "has_more", "next"}` over `model`."""
    return create_model(model.__name__.replace("Reply", "") + "Page", data=(list[model], ...), has_more=(bool, ...), next=(str | None, ...))  # type: ignore[valid-type]


class JobStarted(BaseModel):
    """Work that goes on in the background: `GET /api/jobs`."""

    job_id: str


class ScanError(BaseModel):
    """A file that was not taken in, and why."""

    path: str
    message: str


class ScanReply(BaseModel):
    """The last look at a folder. `waiting`: files still being written; `away`: the folder could not be read, and nothing was removed."""

    added: int
    changed: int
    removed: int
    unchanged: int
    skipped: int
    waiting: int
    away: bool
    error_count: int
    errors: list[ScanError]


class FolderReply(BaseModel):
    """A watched folder."""

    id: str
    path: str
    active: bool
    every_s: int
    recursive: bool
    exclude: list[str]
    last_scan_at: str | None
    result: ScanReply | None
    created_at: str
    level: Level | None = Field(description="Of what comes from it; null: the knowledge base's.")


class FolderList(BaseModel):
    """The watched folders of a knowledge base."""

    data: list[FolderReply]


class RetriedReply(BaseModel):
    """How many documents are read again."""

    retried: int


class OneEmbedding(BaseModel):
    """One vector of unit length: numbers, or little-endian float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(BaseModel):
    """Tokens, by estimate: they are not the same for every engine."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsReply(BaseModel):
    """OpenAI's reply."""

    object: Literal["list"]
    model: str
    data: list[OneEmbedding]
    usage: EmbeddingsUsage


class RankedDocument(BaseModel):
    """One text's place: `index` into the request's documents."""

    index: int
    relevance_score: float
    document: dict[str, str] | None = None


class RerankReply(BaseModel):
    """Best first; scores 0..1."""

    model: str
    results: list[RankedDocument]
    usage: dict[str, int]
