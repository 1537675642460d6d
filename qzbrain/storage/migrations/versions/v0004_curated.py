"""Curated entries, edits of chunks, watched folders."""

import sqlalchemy as sa
from alembic import op

from qzbrain.storage.migrations.versions.v0001_initial import COUNT, JSON, LONG_TEXT, TABLE

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ID, TIME, NAME = sa.String(length=32), sa.String(length=32), sa.String(length=255)
BYTES = sa.BigInteger()


def upgrade() -> None:
    """Add the columns, make the tables."""
    op.add_column("documents", sa.Column("kind", sa.String(length=16), nullable=False, server_default="file"))
    op.create_index("ix_documents_kb_id_kind_status_chunks", "documents", ["kb_id", "kind", "status", "chunks"], unique=False)
    op.drop_index("ix_documents_kb_id_status_chunks", table_name="documents")
    op.add_column("documents", sa.Column("progress_rate", sa.Float(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("progress_rate", sa.Float(), nullable=False, server_default="0"))
    op.create_index("ix_jobs_status_kind_id", "jobs", ["status", "kind", "id"], unique=False)
    op.add_column("chunks", sa.Column("disabled", sa.Integer(), nullable=False, server_default="0"))
    _edits()
    _folders()
    _entries()


def _edits() -> None:
    op.create_table(
        "document_edits",
        sa.Column("document_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("start", COUNT, nullable=False),
        sa.Column("end", COUNT, nullable=False),
        sa.Column("before", LONG_TEXT, nullable=False),
        sa.Column("after", LONG_TEXT, nullable=False),
        sa.Column("author", NAME, nullable=False),
        sa.Column("note", LONG_TEXT, nullable=False),
        sa.Column("applies", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("document_id", "number", name=op.f("pk_document_edits")),
        **TABLE,
    )


def _folders() -> None:
    op.create_table(
        "watched_folders",
        sa.Column("id", ID, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("path", LONG_TEXT, nullable=False),
        sa.Column("path_key", sa.String(length=64), nullable=False),
        sa.Column("active", sa.Integer(), nullable=False),
        sa.Column("every_s", sa.Integer(), nullable=False),
        sa.Column("options", JSON, nullable=True),
        sa.Column("last_scan_at", TIME, nullable=True),
        sa.Column("result", JSON, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watched_folders")),
        sa.UniqueConstraint("kb_id", "path_key", name=op.f("uq_watched_folders_kb_id_path_key")),
        **TABLE,
    )
    op.create_table(
        "watched_files",
        sa.Column("folder_id", ID, nullable=False),
        sa.Column("path_key", sa.String(length=64), nullable=False),
        sa.Column("path", LONG_TEXT, nullable=False),
        sa.Column("size_bytes", BYTES, nullable=False),
        sa.Column("changed_ns", BYTES, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("owned", sa.Integer(), nullable=False),
        sa.Column("replaces", ID, nullable=False),
        sa.PrimaryKeyConstraint("folder_id", "path_key", name=op.f("pk_watched_files")),
        **TABLE,
    )
    op.create_index("ix_watched_files_document_id", "watched_files", ["document_id"], unique=False)


def _entries() -> None:
    op.create_table(
        "entries",
        sa.Column("id", ID, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("question", LONG_TEXT, nullable=False),
        sa.Column("question_key", sa.String(length=64), nullable=False),
        sa.Column("answer", LONG_TEXT, nullable=False),
        sa.Column("variants", JSON, nullable=False),
        sa.Column("negatives", JSON, nullable=False),
        sa.Column("source", LONG_TEXT, nullable=False),
        sa.Column("author", NAME, nullable=False),
        sa.Column("approver", NAME, nullable=False),
        sa.Column("valid_from", TIME, nullable=True),
        sa.Column("valid_until", TIME, nullable=True),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("approved_version", sa.Integer(), nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("origin", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entries")),
        **TABLE,
    )
    op.create_index("ix_entries_kb_id_question_key", "entries", ["kb_id", "question_key"], unique=False)
    op.create_index("ix_entries_kb_id_status", "entries", ["kb_id", "status"], unique=False)
    op.create_index("ix_entries_document_id", "entries", ["document_id"], unique=False)
    op.create_table(
        "entry_versions",
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", JSON, nullable=False),
        sa.Column("author", NAME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("entry_id", "version", name=op.f("pk_entry_versions")),
        **TABLE,
    )
    op.create_table(
        "regression_questions",
        sa.Column("id", ID, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("question", LONG_TEXT, nullable=False),
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("passed", sa.Integer(), nullable=True),
        sa.Column("result", JSON, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("run_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_regression_questions")),
        **TABLE,
    )
    op.create_index("ix_regression_questions_kb_id", "regression_questions", ["kb_id"], unique=False)
    op.create_index("ix_regression_questions_entry_id", "regression_questions", ["entry_id"], unique=False)


def downgrade() -> None:
    """Drop them; what the new columns said is lost."""
    for table in ("regression_questions", "entry_versions", "entries", "watched_files", "watched_folders", "document_edits"):
        op.drop_table(table)
    op.drop_column("chunks", "disabled")
    op.create_index("ix_documents_kb_id_status_chunks", "documents", ["kb_id", "status", "chunks"], unique=False)
    op.drop_index("ix_documents_kb_id_kind_status_chunks", table_name="documents")
    op.drop_index("ix_jobs_status_kind_id", table_name="jobs")
    op.drop_column("jobs", "progress_rate")
    op.drop_column("documents", "progress_rate")
    op.drop_column("documents", "kind")
