"""Vectors of chunks, the truth of the semantic index, and the spaces that they live in."""

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, LargeBinary, String, Table

from qzbrain.storage.tables.base import Id, LongText, Name, Time, metadata

vector_spaces = Table(
    "vector_spaces",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kb_id", Id, nullable=False),
    Column("status", String(16), nullable=False),  # building | active | retired | failed
    Column("embedder", Name, nullable=False),
    Column("width", Integer, nullable=False),
    Column("manifest", JSON, nullable=False),  # how texts became vectors and how the vectors count in a search: retrieval/spaces.py
    # every chunk of the knowledge base with an id up to this one has its vector, or is gone; chunk ids only grow
    Column("embedded_upto", BigInteger().with_variant(Integer, "sqlite"), nullable=False, default=0),
    Column("reason_code", String(64)),
    Column("reason_zh", LongText),
    Column("reason_en", LongText),
    Column("created_at", Time, nullable=False),
    Column("activated_at", Time),
    Index("ix_vector_spaces_kb_id_status", "kb_id", "status"),
)

vectors = Table(
    "vectors",
    metadata,
    Column("space_id", Id, primary_key=True),
    Column("chunk_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("document_id", Id, nullable=False),
    Column("vector", LargeBinary(65535), nullable=False),  # little-endian float16, `width` of them, unit length
    Index("ix_vectors_document_id", "document_id"),
    sqlite_with_rowid=False,
)
