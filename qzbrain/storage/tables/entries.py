"""Curated entries, their versions, and the questions that a correction must keep answering."""

from sqlalchemy import JSON, Column, Index, Integer, String, Table

from qzbrain.storage.tables.base import Id, LongText, Name, Time, metadata

entries = Table(
    "entries",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kb_id", Id, nullable=False),
    Column("status", String(16), nullable=False),  # proposed | approved
    Column("question", LongText, nullable=False, default=""),  # '' for a text that answers no single question
    Column("question_key", String(64), nullable=False),  # SHA-256 of the question as a search sees it
    Column("answer", LongText, nullable=False),  # Markdown
    Column("variants", JSON, nullable=False),  # other ways to ask
    Column("negatives", JSON, nullable=False),  # questions that this does not answer
    Column("source", LongText, nullable=False, default=""),
    Column("author", Name, nullable=False, default=""),
    Column("approver", Name, nullable=False, default=""),
    Column("valid_from", Time),
    Column("valid_until", Time),
    Column("level", String(16), nullable=False, default="internal"),  # public | internal | confidential | secret | top_secret
    Column("version", Integer, nullable=False, default=1),
    Column("approved_version", Integer, nullable=False, default=0),  # the one in force, 0 for none; a newer one may wait for approval
    Column("document_id", Id, nullable=False, default=""),  # what a search finds of it: a document of the kind `entry`
    Column("origin", JSON, nullable=False),  # where it came from: an import's file and row, or the message that it corrects
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Index("ix_entries_kb_id_question_key", "kb_id", "question_key"),
    Index("ix_entries_kb_id_status", "kb_id", "status"),
    Index("ix_entries_document_id", "document_id"),
)

entry_versions = Table(
    "entry_versions",
    metadata,
    Column("entry_id", Id, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("content", JSON, nullable=False),  # the fields of that version
    Column("author", Name, nullable=False, default=""),
    Column("created_at", Time, nullable=False),
)

regression_questions = Table(
    "regression_questions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kb_id", Id, nullable=False),
    Column("question", LongText, nullable=False),
    Column("entry_id", Id, nullable=False),  # the entry that must answer it
    Column("message_id", Id, nullable=False, default=""),  # the answer that was wrong
    Column("passed", Integer),  # of the last run: 1 | 0, NULL before the first
    Column("result", JSON),  # of the last run: rung, entry or document that answered, when
    Column("created_at", Time, nullable=False),
    Column("run_at", Time),
    Index("ix_regression_questions_kb_id", "kb_id"),
    Index("ix_regression_questions_entry_id", "entry_id"),
)
