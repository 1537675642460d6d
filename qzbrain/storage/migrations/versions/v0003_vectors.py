"""Vectors of chunks and the spaces that they live in."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from qzbrain.storage.migrations.versions.v0001_initial import JSON, LONG_TEXT, TABLE

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and the index by which chunks without a vector are found."""
    op.create_table(
        "vector_spaces",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kb_id", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("embedder", sa.String(length=255), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("manifest", JSON, nullable=False),
        sa.Column("embedded_upto", ID, nullable=False),
        sa.Column("reason_code", sa.String(length=64), nullable=True),
        sa.Column("reason_zh", LONG_TEXT, nullable=True),
        sa.Column("reason_en", LONG_TEXT, nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("activated_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vector_spaces")),
        **TABLE,
    )
    op.create_index("ix_vector_spaces_kb_id_status", "vector_spaces", ["kb_id", "status"], unique=False)
    op.create_table(
        "vectors",
        sa.Column("space_id", sa.String(length=32), nullable=False),
        sa.Column("chunk_id", ID, autoincrement=False, nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.Column("vector", sa.LargeBinary(length=65535).with_variant(mysql.BLOB(), "mysql"), nullable=False),
        sa.PrimaryKeyConstraint("space_id", "chunk_id", name=op.f("pk_vectors")),
        sqlite_with_rowid=False,
        **TABLE,
    )
    op.create_index("ix_vectors_document_id", "vectors", ["document_id"], unique=False)
    op.create_index("ix_chunks_kb_id_id", "chunks", ["kb_id", "id"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_chunks_kb_id_id", table_name="chunks")
    op.drop_table("vectors")
    op.drop_table("vector_spaces")
