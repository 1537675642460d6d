"""Background work as leased rows, and the outbox that feeds derived indexes."""

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, String, Table

from qzbrain.storage.tables.base import Id, LongText, Time, metadata

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(64), nullable=False, default=""),
    Column("kb_id", Id, nullable=False, default=""),
    Column("payload", JSON, nullable=False),
    Column("status", String(16), nullable=False),  # pending | running | done | failed | cancelled
    Column("stage", String(16), nullable=False, default=""),
    Column("progress_done", Integer, nullable=False, default=0),
    Column("progress_total", Integer, nullable=False, default=0),
    Column("progress_unit", String(16), nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lost", Integer, nullable=False, default=0),  # times that its worker died under it; not the job's fault, so not an attempt
    Column("run_after", Float, nullable=False, default=0.0),
    Column("lease_owner", String(64), nullable=False, default=""),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("reason_code", String(64)),
    Column("reason_zh", LongText),
    Column("reason_en", LongText),
    Column("result", JSON),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("progress_rate", Float, nullable=False, default=0.0, server_default="0"),  # units a second
    Index("ix_jobs_status_kind_id", "status", "kind", "id"),  # places in a line
    Index("ix_jobs_status_run_after", "status", "run_after"),
    Index("ix_jobs_subject", "subject"),
    Index("ix_jobs_kb_id", "kb_id"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("kb_id", Id, nullable=False),
    Column("op", String(16), nullable=False),  # put | delete (a document), drop (the knowledge base)
    Column("document_id", Id, nullable=False, default=""),
    Index("ix_outbox_kb_id_seq", "kb_id", "seq"),
    sqlite_autoincrement=True,
)
