"""Facts that a language model extracts: what it said, which documents it has read, and which entities may be one."""

import sqlalchemy as sa
from alembic import op

from qzbrain.storage.migrations.versions.v0001_initial import COUNT, DOUBLE, LONG_TEXT, TABLE
from qzbrain.storage.migrations.versions.v0004_curated import TIME
from qzbrain.storage.migrations.versions.v0005_graph import ID, KEY, NAME, NUMBER

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "graph_extractions",
        sa.Column("key", KEY, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("extractor", KEY, nullable=False),
        sa.Column("reply", LONG_TEXT, nullable=False),
        sa.Column("prompt_tokens", COUNT, nullable=False),
        sa.Column("completion_tokens", COUNT, nullable=False),
        sa.Column("took_ms", COUNT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_graph_extractions")),
        **TABLE,
    )
    op.create_index("ix_graph_extractions_kb_id", "graph_extractions", ["kb_id"], unique=False)
    op.create_index("ix_graph_extractions_document_id", "graph_extractions", ["document_id"], unique=False)
    op.create_index("ix_graph_extractions_extractor_created_at", "graph_extractions", ["extractor", "created_at"], unique=False)
    op.create_table(
        "graph_extracted",
        sa.Column("document_id", ID, nullable=False),
        sa.Column("extractor", KEY, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("signature", KEY, nullable=False),
        sa.Column("upto", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("document_id", "extractor", name=op.f("pk_graph_extracted")),
        **TABLE,
    )
    op.create_index("ix_graph_extracted_kb_id", "graph_extracted", ["kb_id"], unique=False)
    op.create_table(
        "graph_suggestions",
        sa.Column("id", ID, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("pair_key", KEY, nullable=False),
        sa.Column("keep_id", NUMBER, nullable=False),
        sa.Column("other_id", NUMBER, nullable=False),
        sa.Column("alias", NAME, nullable=False),
        sa.Column("alias_mark", KEY, nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("score", DOUBLE, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("merge_id", ID, nullable=False),
        sa.Column("author", NAME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_graph_suggestions")),
        sa.UniqueConstraint("kb_id", "pair_key", name=op.f("uq_graph_suggestions_kb_id_pair_key")),
        **TABLE,
    )
    op.create_index("ix_graph_suggestions_kb_id_status_score", "graph_suggestions", ["kb_id", "status", "score"], unique=False)


def downgrade() -> None:
    """Drop them."""
    for table in ("graph_suggestions", "graph_extracted", "graph_extractions"):
        op.drop_table(table)
