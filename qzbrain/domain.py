"""Plain values that all layers share. Frozen (but for `Delta`), without behaviour beyond what their fields say; no database, no clock, no settings.

Offsets count Unicode code points (Python `str` indices) in a document's stored text, end exclusive.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

Rung = Literal["model", "entry", "graph", "extractive", "passages", "refused"]
Right = Literal["read", "write", "manage"]
Role = Literal["reader", "editor", "manager", "administrator"]
Level = Literal["public", "internal", "confidential", "secret", "top_secret"]
DocumentStatus = Literal["pending", "running", "ready", "failed"]
JobStatus = Literal["pending", "running", "done", "failed", "cancelled"]
Outcome = Literal["done", "refused", "failed"]
T = TypeVar("T")

LEVELS: tuple[Level, ...] = ("public", "internal", "confidential", "secret", "top_secret")
"""公开 < 内部 < 秘密 < 机密 < 绝密. A row keeps the place in this order."""
ROLES: tuple[Role, ...] = ("reader", "editor", "manager", "administrator")
"""From the least to the most that an account may ever do."""
RIGHTS: tuple[Right, ...] = ("read", "write", "manage")
"""In a knowledge base; each holds those before it."""


_id_lock = threading.Lock()
_last_id_us = 0


def new_id() -> str:
    """22 hexadecimal characters: the time of making in microseconds, each later than the one before, so that ids of one process are in order,
    then 36 random bits.

    Names, not secrets: who may see what an id names is asked in `auth.access`.
    """
    global _last_id_us
    with _id_lock:
        at = _last_id_us = max(time.time_ns() // 1000, _last_id_us + 1)
    return f"{at:013x}{random.getrandbits(36):09x}"


def utc_now() -> str:
    """Now as RFC 3339 in UTC with microseconds: `2026-11-24T03:11:00.123456Z`; sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")[:26] + "Z"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. Without accounts there is one: the local user, with all rights.

    `at_most`, `only_in`: what a key narrows its user's rights to; `only_in` are ids of knowledge bases, None for all. `address`: for the audit log.
    `requests_per_minute`: of the key; 0: the setting's bound.
    """

    id: str
    name: str
    lang: Literal["zh", "en"] = "zh"
    key_id: str = ""
    session_id: str = ""
    at_most: Right = "manage"
    only_in: frozenset[str] | None = None
    address: str = ""
    requests_per_minute: int = 0


@dataclass(frozen=True, slots=True)
class ReadScope:
    """What a caller may read: a filter that retrieval applies before top-k. `kb_ids` is exact; empty means nothing.

    `max_level`: place in LEVELS of the highest that may be seen, by knowledge base; one that is not named holds nothing above it, and needs no filter.
    """

    kb_ids: tuple[str, ...]
    document_ids: tuple[str, ...] | None = None
    max_levels: tuple[tuple[str, int], ...] = ()

    def max_level(self, kb_id: str) -> int | None:
        """The highest level that may be seen in this knowledge base; None: all that is there."""
        return next((level for one, level in self.max_levels if one == kb_id), None)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A piece of a list: `next` is the cursor to pass as `after` for what follows, None at the end."""

    data: tuple[T, ...]
    has_more: bool = False
    next: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentCounts:
    """Documents of a knowledge base by state; `pending` counts running ones too."""

    total: int = 0
    ready: int = 0
    failed: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """One knowledge base with its counts."""

    id: str
    name: str
    title: str
    description: str
    chunk_chars: int
    overlap_chars: int
    without_evidence: Literal["refuse", "model"]
    manifest: dict[str, object]
    created_at: str
    documents: DocumentCounts = DocumentCounts()
    chunks: int = 0
    level: int = 1


@dataclass(frozen=True, slots=True)
class EditCounts:
    """People's edits of a document: those in its text now, and those that no longer fit since it was read anew."""

    applied: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What something waits for, and its place in the line, from 1 (None: it is in no line)."""

    code: str
    zh: str
    en: str
    place: int | None


@dataclass(frozen=True, slots=True)
class Document:
    """One document's row as the API shows it. `reason_*` are set when it failed, and while it waits."""

    id: str
    kb_id: str
    knowledge_base: str
    external_id: str | None
    name: str
    title: str
    status: DocumentStatus
    stage: str
    progress_done: int
    progress_total: int
    progress_unit: str
    reason_code: str | None
    reason_zh: str | None
    reason_en: str | None
    pages: int | None
    chunks: int
    chars: int
    sha256: str
    size_bytes: int
    mime_type: str
    created_at: str
    ready_at: str | None
    entry_id: str | None = None
    """The curated entry whose text this is; None for a file."""
    edits: EditCounts = EditCounts()
    progress_rate: float = 0.0
    waiting: Waiting | None = None
    level: int = 1


@dataclass(frozen=True, slots=True)
class WatchedFolder:
    """A folder that a knowledge base follows. `result`: of the last scan: counts, `errors`, `away`.

    `level`: of what comes from it; None: the knowledge base's.
    """

    id: str
    path: str
    active: bool
    every_s: int
    recursive: bool
    exclude: tuple[str, ...]
    last_scan_at: str | None
    result: dict[str, Any] | None
    created_at: str
    level: int | None = None


@dataclass(frozen=True, slots=True)
class AddedDocument:
    """What an upload gives back once it is durable. `id` is None for a corpus or an archive, which is no document: follow `job_id`.

    `duplicate`: the same bytes were there already, and `id` is the first one's. `job_id` is None when nothing is left to do.
    """

    id: str | None
    name: str
    status: DocumentStatus
    sha256: str
    size_bytes: int
    duplicate: bool
    job_id: str | None
    level: int = 1


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job's row as the API shows it. `subject`: the id of the document it works on, or ''. `reason_*` are set when it failed, and while it waits."""

    id: str
    kind: str
    subject: str
    kb_id: str
    status: JobStatus
    stage: str
    progress_done: int
    progress_total: int
    progress_unit: str
    attempts: int
    reason_code: str | None
    reason_zh: str | None
    reason_en: str | None
    result: dict[str, Any] | None
    created_at: str
    updated_at: str
    progress_rate: float = 0.0
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of parsed text with what the parser knows of it; blocks are in order and do not overlap.

    `heading_level`: 1..6 for a heading (its text is the heading's), else 0. `kind`: text, table_row, qa (a question and its answer), list_item, code.
    """

    start: int
    end: int
    page: int | None = None
    heading_level: int = 0
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a parser gives: the stored text (decoded, no BOM, newlines `\\n`, otherwise as in the file) and its blocks."""

    text: str
    blocks: tuple[Block, ...]
    title: str
    mime_type: str
    pages: int | None = None
    ocr_pages: int = 0


@dataclass(frozen=True, slots=True)
class ChunkDraft:
    """A chunk before it has an id: `text == document_text[start:end]`. `reference`: the article's key (`12`, `12-1`), else ''.

    `disabled`: no search shall find it.
    """

    ordinal: int
    start: int
    end: int
    text: str
    page: int | None
    heading_path: tuple[str, ...]
    reference: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stored chunk: `text == document_text[start:end]`, in the order of `ordinal`. One that is not `enabled` is found by no search."""

    id: int
    ordinal: int
    text: str
    start: int
    end: int
    page: int | None
    heading_path: tuple[str, ...]
    reference: str
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class CutPreview:
    """How a document is cut: how many chunks, their mean length in characters, and the first of them as (start, end, text)."""

    count: int
    mean_chars: float
    chunks: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True, slots=True)
class ChunkPreview:
    """A document's chunks now, and as they would be."""

    now: CutPreview
    then: CutPreview


@dataclass(frozen=True, slots=True)
class ChunkEdit:
    """One edit of a document. `start`, `end`: where `before` stood. `applies`: it is in the text as it is now."""

    number: int
    kind: Literal["text", "disable", "enable"]
    ordinal: int
    start: int
    end: int
    before: str
    after: str
    author: str
    note: str
    applies: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class SourceScore:
    """One retriever's view of a hit: rank from 1, and its raw score."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage found. `confidence` in 0..1: how much of the question's terms, by weight, it covers and, where it has a vector, how near it is in meaning."""

    chunk_id: int
    document_id: str
    external_id: str | None
    document: str
    title: str
    kb_id: str
    knowledge_base: str
    heading_path: tuple[str, ...]
    ordinal: int
    text: str
    start: int
    end: int
    page: int | None
    score: float
    confidence: float
    sources: dict[str, SourceScore] = field(default_factory=dict)
    kind: str = "file"
    level: int = 1


LEXICAL_PART = "lexical"
SEMANTIC_PART = "semantic"
RERANK_PART = "rerank"
GRAPH_PART = "graph"


@dataclass(frozen=True, slots=True)
class Degraded:
    """A part that was configured and did not take part, with the reason."""

    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first; `confidence` is the best hit's; `answerable` compares it with the documented threshold."""

    hits: tuple[Hit, ...]
    confidence: float
    answerable: bool
    degraded: tuple[Degraded, ...]
    took_ms: float
    vector: Any = field(default=None, repr=False, compare=False)
    """The question's, (width,) float32 of unit length, where it was searched by meaning."""
    stages: dict[str, float] = field(default_factory=dict, compare=False)
    """What it took the time for, milliseconds (qzbrain/stages.py); some of it goes on side by side."""

    @property
    def incomplete(self) -> bool:
        """Whether some of the knowledge could not be searched: finding nothing says nothing then."""
        return any(one.part == LEXICAL_PART for one in self.degraded)


@dataclass(frozen=True, slots=True)
class CitedFact:
    """A triple of a knowledge graph that a citation stands for. `source`: what the imported file named as its source, '' where a document says it."""

    knowledge_base: str
    head_id: str
    head: str
    relation: str
    tail_id: str
    tail: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Citation:
    """A source of an answer: `quote == document_text[start:end]`; `cited`: `[index]` stands in the answer.

    `facts`: the triples that it is the source of, where the graph named it. An imported one that is not told as a text (yet) has no document: `document_id` ''.
    `kb_id`, `level`: whose and of which level it was when the answer was given. `hidden`: this reader may not see it (any more); nothing but its index is told.
    """

    index: int
    document_id: str
    external_id: str | None
    document: str
    title: str
    heading_path: tuple[str, ...]
    page: int | None
    start: int
    end: int
    quote: str
    url: str
    cited: bool
    supported: bool | None
    facts: tuple[CitedFact, ...] = ()
    kb_id: str = ""
    level: int = 1
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation; `knowledge_bases` are ids, empty for all that its owner may read. `messages` counts them. `mine`: the reader is its owner."""

    id: str
    title: str
    model: str
    knowledge_bases: tuple[str, ...]
    origin: str
    created_at: str
    updated_at: str
    messages: int = 0
    mine: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the engine counted them; 0 when no engine took part."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer object, the same on every interface (shared field names; see docs/api.md)."""

    message_id: str
    conversation_id: str
    model: str
    answer: str
    rung: Rung
    rung_reason: str
    confidence: float | None
    citations: tuple[Citation, ...]
    degraded: tuple[Degraded, ...]
    usage: Usage
    timings: dict[str, float]
    stopped: bool = False
    finish_reason: str = "stop"
    unsupported: tuple[tuple[int, int], ...] = ()
    """Spans of sentences in `answer` whose citation does not bear them out."""
    level: int = 0
    """The highest of what it cites, or was told of earlier answers."""
    withheld: bool = False
    """This reader may not see it (any more); `answer` says so."""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message of a conversation. `status`: running, complete, stopped, failed. `answer` is set for the assistant's, `error` when it failed."""

    id: str
    conversation_id: str
    role: Literal["user", "assistant"]
    status: str
    content: str
    created_at: str
    finished_at: str | None
    rating: str
    comment: str
    answer: Answer | None = None
    error: dict[str, object] | None = None


# -- events of one turn, in the order in which a caller sees them


@dataclass(frozen=True, slots=True)
class Queued:
    """Waiting for a slot: `position` from 1; `eta_s` is an estimate or None."""

    position: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class SourcesFound:
    """The passages that the answer may use, before its text."""

    citations: tuple[Citation, ...]


@dataclass(slots=True)
class Delta:
    """More text of the answer; `seq` from 0 without a gap; all deltas joined are the answer. Not frozen: there are thousands a second."""

    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a turn, also of a stopped one."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Failed:
    """The end of a turn without an answer: `code` and the sentence for the reader."""

    code: str
    zh: str
    en: str
    status: int
    type: str
    retry_after_s: int | None = None


StreamEvent = Queued | SourcesFound | Delta | Done | Failed
