"""Shapes of requests, as the API takes them; /openapi.json is made from these. Replies are in `replies.py`.

Unknown fields are refused under /api, with their name, and ignored under /v1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(max_length=200)]
LevelName = Annotated[
    str, Field(max_length=20, description="public, internal, confidential, secret, top_secret, or 公开, 内部, 秘密, 机密, 绝密; not above your clearance.")
]
Names = Annotated[list[Name], Field(max_length=100)]


class Strict(BaseModel):
    """A body of /api: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class KnowledgeBasePath(BaseModel):
    """`{kb}`: id or name."""

    kb: str = Field(description="Id or name of the knowledge base.")


class DocumentPath(BaseModel):
    """`{document_id}`."""

    document_id: str


class ChunkPath(DocumentPath):
    """`{document_id}` and `{chunk_id}`."""

    chunk_id: int = Field(ge=0, le=2**63 - 1)


class EditPath(DocumentPath):
    """`{document_id}` and `{number}`."""

    number: int = Field(ge=0, le=2**31 - 1)


class ConversationPath(BaseModel):
    """`{conversation_id}`."""

    conversation_id: str


class MessagePath(ConversationPath):
    """`{conversation_id}` and `{message_id}`."""

    message_id: str


class JobPath(BaseModel):
    """`{job_id}`."""

    job_id: str


class ModelPath(BaseModel):
    """`{model}`."""

    model: str


class SwapBody(Strict):
    """Which models another one takes the place of."""

    replace: Names | None = Field(None, description="Names; by default the models of its kind that run on the same devices.")


class ConsolePath(BaseModel):
    """`{path}`: a file of the console."""

    path: str


class ListQuery(Strict):
    """Where in a list to read."""

    limit: int = Field(50, ge=1, le=500, description="Most items of one page.")
    after: str | None = Field(None, max_length=200, description="`next` of the page before.")


class StatusQuery(ListQuery):
    """A list by state."""

    status: str | None = Field(None, max_length=20, description="Only items in this state.")


class ConversationQuery(ListQuery):
    """Conversations by title."""

    q: str = Field("", max_length=200, description="Only titles that hold this.")
    shared: Literal["0", "1", "true", "false"] = Field("0", description="`1`: others' conversations that are shared with you, instead of your own.")


class KnowledgeBaseCreate(Strict):
    """A knowledge base to make."""

    name: str = Field(description="1-64 letters of any script, digits, `-`, `_`, `.`.")
    title: str = Field("", max_length=200)
    description: str = Field("", max_length=10_000)
    chunk_chars: int = Field(250, description="Characters of a chunk.")
    overlap_chars: int = Field(50, description="Characters that two chunks share.")
    without_evidence: Literal["refuse", "model"] = Field("refuse", description="What happens to a question without evidence.")
    level: LevelName | None = Field(None, description="By default internal.")


class ReembedBody(Strict):
    """How to make the vectors of a knowledge base anew."""

    embedder: Name | None = Field(None, description="The model that is meant; refused when it is not the one in use.")
    force: bool = Field(False, description="Use the new vectors even when they find less.")


class ExportBody(Strict):
    """What goes into a pack."""

    originals: bool = Field(True, description="The original files too.")
    vectors: bool = Field(True, description="The vectors too; without them the importing brain makes its own.")


class ExportPath(KnowledgeBasePath):
    """`{kb}` and `{job_id}`."""

    job_id: str


class ImportQuery(Strict):
    """How a pack is taken in."""

    name: Name | None = Field(None, description="Its name here; by default that in the pack.")
    replace: bool = Field(False, description="Put it in the place of the knowledge base of that name.")


class RetryBody(Strict):
    """Which failed documents to read again."""

    code: str | None = Field(None, max_length=64, description="Only those that failed with this code.")


class WatchBody(Strict):
    """A folder of the server to watch."""

    path: str = Field(max_length=4000, description="The folder; inside one of WATCH_ROOTS.")
    every_s: int = Field(60, description="Seconds from one look to the next.")
    recursive: bool = Field(False, description="The folders inside too.")
    exclude: Names = Field(default_factory=list, description="Patterns of names or paths to leave out, such as `*.log`.")
    level: LevelName | None = Field(None, description="Of what comes from it; by default the knowledge base's.")


class FolderPath(KnowledgeBasePath):
    """`{kb}` and `{folder_id}`."""

    folder_id: str


class KnowledgeBaseUpdate(Strict):
    """What to change of a knowledge base."""

    name: str | None = None
    title: str | None = Field(None, max_length=200)
    description: str | None = Field(None, max_length=10_000)
    without_evidence: Literal["refuse", "model"] | None = None
    chunk_chars: int | None = Field(None, description="Characters of a chunk; all documents are cut anew in the background.")
    overlap_chars: int | None = Field(None, description="Characters that two chunks share.")


class ChunkPreviewBody(Strict):
    """Chunk sizes to try."""

    chunk_chars: int = Field(description="Characters of a chunk, 50-8000.")
    overlap_chars: int = Field(description="Characters that two chunks share, up to half of a chunk.")


class ChunkUpdate(Strict):
    """What to change of a chunk."""

    text: str | None = Field(None, max_length=20_000, description="What shall stand in the document instead of the chunk's text.")
    enabled: bool | None = Field(None, description="False: no search finds it.")
    note: str = Field("", max_length=2000, description="Why; kept with the edit.")
    if_text: str | None = Field(None, max_length=1_000_000, description="The text that the caller saw; refused when it is another by now.")


class TextDocument(Strict):
    """One text as a document."""

    name: str = Field(min_length=1, max_length=500)
    text: str
    title: str = Field("", max_length=500)
    external_id: str | None = None
    level: LevelName | None = Field(None, description="By default the knowledge base's.")


class DocumentUpdate(Strict):
    """What to change of a document."""

    level: LevelName


class SearchBody(Strict):
    """A search."""

    query: str = Field(min_length=1, max_length=20_000)
    knowledge_bases: Names | None = Field(None, description="Names or ids; all that the caller may read when left out.")
    top_k: int = Field(10, ge=1, le=100)
    mode: Literal["auto", "lexical", "semantic", "hybrid"] = "auto"
    document_ids: list[Name] | None = Field(None, max_length=1000)
    min_confidence: float | None = Field(None, ge=0, le=1)


class ConversationCreate(Strict):
    """A conversation to make."""

    title: str = Field("", max_length=200)
    knowledge_bases: Names | None = None
    model: Name = ""


class ConversationUpdate(Strict):
    """What to change of a conversation."""

    title: str | None = Field(None, max_length=200)
    knowledge_bases: Names | None = None
    model: Name | None = None


class ShareBody(Strict):
    """Who may read a conversation; those who are not named may no longer."""

    users: Names = Field(default_factory=list, description="Names or ids.")
    groups: Names = Field(default_factory=list, description="Names or ids; `everyone`: whoever is signed in.")


class MessageCreate(Strict):
    """A question within a conversation."""

    content: str
    model: Name | None = None
    knowledge_bases: Names | None = None
    options: dict[str, Any] = Field(default_factory=dict, description="max_tokens, temperature, top_p, stop, seed, user.")


class Feedback(Strict):
    """What the reader thinks of an answer."""

    rating: Literal["up", "down"]
    comment: str = Field("", max_length=10_000)


class ContentPart(BaseModel):
    """A part of a message's content; only text is understood."""

    type: str
    text: str = ""


class ChatMessageBody(BaseModel):
    """A message as OpenAI's clients send it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None


class StreamOptions(BaseModel):
    """What a stream carries besides the text."""

    include_usage: bool = False


class ChatCompletionBody(BaseModel):
    """OpenAI's chat completion request. Other fields are ignored, sampling options go through to the engine."""

    model_config = ConfigDict(extra="allow")

    model: str = Field("auto", max_length=1000, description="`auto`, a name, `NAME@KB[,KB]` or `NAME@none`; see GET /v1/models.")
    messages: list[ChatMessageBody] = Field(min_length=1, max_length=2000)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    conversation_id: str | None = Field(None, max_length=64, description="Continue a stored conversation; the messages sent before are then not the history.")
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    user: str | None = Field(None, max_length=200)


class SocketOptions(BaseModel):
    """Sampling options of a Socket.IO `chat`; what is not known is ignored."""

    model_config = ConfigDict(extra="allow")

    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    user: str | None = Field(None, max_length=200)


class SocketChat(BaseModel):
    """Socket.IO `chat`."""

    message: str
    conversation_id: str | None = Field(None, max_length=64)
    model: str | None = Field(None, max_length=1000)
    knowledge_bases: Names | None = None
    options: SocketOptions | None = None


class SocketStop(BaseModel):
    """Socket.IO `chat:stop`."""

    message_id: str = Field(max_length=64)


class SocketResume(SocketStop):
    """Socket.IO `chat:resume`."""

    after_seq: int = Field(-1, ge=-1)


class EmbeddingsBody(BaseModel):
    """OpenAI's request for vectors. Other fields are ignored."""

    input: str | list[Any] = Field(description="A text, or a list of texts.")
    model: Name = Field("auto", description="An embedding model's name, or `auto`: the one that retrieval uses.")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, description="Only the model's own width.")
    input_type: Literal["query", "passage"] = Field("passage", description="Which of the model's prefixes stands before each text.")


class RerankBody(BaseModel):
    """Jina's and Cohere's request for a reranking. Other fields are ignored."""

    query: str = Field(min_length=1, max_length=20_000)
    documents: list[str | dict[str, Any]] = Field(min_length=1, max_length=1000, description='Texts, or objects with "text".')
    model: Name = Field("auto", description="A reranker's name, or `auto`: the one that retrieval uses.")
    top_n: int | None = Field(None, ge=1, le=1000, description="So many of the best; all by default.")
    return_documents: bool = False
