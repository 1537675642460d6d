"""Knowledge bases, documents, their parsed text, their chunks."""

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from qzbrain.storage.tables.base import ExactText, Id, LongText, Name, Time, metadata

knowledge_bases = Table(
    "knowledge_bases",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("title", Name, nullable=False, default=""),
    Column("description", LongText, nullable=False, default=""),
    Column("chunk_chars", Integer, nullable=False),
    Column("overlap_chars", Integer, nullable=False),
    Column("without_evidence", String(16), nullable=False, default="refuse"),
    Column("manifest", JSON, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("level", Integer, nullable=False, default=1, server_default="1"),  # index into domain.LEVELS: who is not cleared for it may not enter
)

documents = Table(
    "documents",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kb_id", Id, ForeignKey("knowledge_bases.id"), nullable=False),
    Column("identity", ExactText(300), nullable=False),  # 'sha:<hex>' for a file or text, 'ext:<external_id>' where one is given
    Column("external_id", String(255), nullable=False, default=""),
    Column("name", Name, nullable=False),
    Column("title", Name, nullable=False, default=""),
    Column("status", String(16), nullable=False),  # pending | running | ready | failed
    Column("stage", String(16), nullable=False, default=""),  # parse | chunk | index | ''
    Column("progress_done", Integer, nullable=False, default=0),
    Column("progress_total", Integer, nullable=False, default=0),
    Column("progress_unit", String(16), nullable=False, default=""),  # pages | rows | chunks | ''
    Column("reason_code", String(64)),
    Column("reason_zh", LongText),
    Column("reason_en", LongText),
    Column("pages", Integer),
    Column("chunks", Integer, nullable=False, default=0),
    Column("chars", Integer, nullable=False, default=0),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("mime_type", String(127), nullable=False, default=""),
    Column("stored", Integer, nullable=False, default=1),  # 1: the original is a file of the content store; 0: only its text is kept
    Column("created_at", Time, nullable=False),
    Column("ready_at", Time),
    Column("progress_rate", Float, nullable=False, default=0.0, server_default="0"),  # units a second
    Column("kind", String(16), nullable=False, default="file", server_default="file"),  # file | entry, facts: what a search finds of an entry, of a graph
    Column("graph_rules", Integer, nullable=False, default=0, server_default="0"),  # the rules by which its facts were found; 0: they were not looked for
    Column("level", Integer, nullable=False, default=1, server_default="1"),  # index into domain.LEVELS
    Column("owner", Id, nullable=False, default="", server_default=""),  # the user who added it, whose storage it takes; '' for nobody
    UniqueConstraint("kb_id", "identity"),
    Index("ix_documents_kb_id_level", "kb_id", "level"),  # the highest of a knowledge base, for every search
    Index("ix_documents_kb_id_kind_status_chunks", "kb_id", "kind", "status", "chunks"),  # counts and sums of a knowledge base without touching its rows
    Index("ix_documents_sha256", "sha256"),
    Index("ix_documents_owner_size_bytes", "owner", "size_bytes"),
)

document_texts = Table(
    "document_texts",
    metadata,
    Column("document_id", Id, ForeignKey("documents.id"), primary_key=True),
    Column("text", LongText, nullable=False),
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("document_id", Id, ForeignKey("documents.id"), nullable=False),
    Column("kb_id", Id, nullable=False),  # of facts the knowledge base's second shelf: retrieval/shelves.py
    Column("ordinal", Integer, nullable=False),
    Column("text", LongText, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("page", Integer),
    Column("heading_path", LongText, nullable=False),  # JSON array of strings
    Column("reference", String(32), nullable=False, default=""),  # article key: '12', '12-1', else ''
    Column("disabled", Integer, nullable=False, default=0, server_default="0"),  # 1: kept and shown, found by no search
    Index("ix_chunks_document_id_ordinal", "document_id", "ordinal"),
    Index("ix_chunks_kb_id_reference", "kb_id", "reference", "document_id", "ordinal"),  # covers the look-up of articles
    Index("ix_chunks_kb_id_id", "kb_id", "id"),  # the next chunks without a vector
    sqlite_autoincrement=True,
)

document_edits = Table(
    "document_edits",
    metadata,
    Column("document_id", Id, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # from 1, in the order in which they were made
    Column("kind", String(16), nullable=False),  # text | disable | enable
    Column("ordinal", Integer, nullable=False),  # of the chunk, when it was made
    Column("start", Integer, nullable=False),  # offsets into the text as the edits before left it
    Column("end", Integer, nullable=False),
    Column("before", LongText, nullable=False, default=""),
    Column("after", LongText, nullable=False, default=""),
    Column("author", Name, nullable=False, default=""),
    Column("note", LongText, nullable=False, default=""),
    Column("applies", Integer, nullable=False, default=1),  # 0: the text was read anew and no longer holds what it changed
    Column("created_at", Time, nullable=False),
)

watched_folders = Table(
    "watched_folders",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kb_id", Id, nullable=False),
    Column("path", LongText, nullable=False),
    Column("path_key", String(64), nullable=False),  # SHA-256 of the path
    Column("active", Integer, nullable=False, default=1),
    Column("every_s", Integer, nullable=False),
    Column("options", JSON),  # recursive, exclude
    Column("last_scan_at", Time),
    Column("result", JSON),  # of the last scan: counts, errors
    Column("created_at", Time, nullable=False),
    UniqueConstraint("kb_id", "path_key"),
)

watched_files = Table(
    "watched_files",
    metadata,
    Column("folder_id", Id, primary_key=True),
    Column("path_key", String(64), primary_key=True),  # SHA-256 of the path inside the folder
    Column("path", LongText, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("changed_ns", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("document_id", Id, nullable=False, default=""),
    Column("owned", Integer, nullable=False, default=1),  # 0: the document was there without the folder, and stays when the file goes
    Column("replaces", Id, nullable=False, default=""),  # the document of the former content, until this one is ready
    Index("ix_watched_files_document_id", "document_id"),
)
