"""What documents state about themselves, and which names stand in which chunks."""

import sqlalchemy as sa
from alembic import op

from qzbrain.storage.migrations.versions.v0001_initial import TABLE
from qzbrain.storage.migrations.versions.v0005_graph import ID, KEY, NUMBER

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.add_column("documents", sa.Column("graph_rules", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_graph_mentions_kb_id_chunk_id", "graph_mentions", ["kb_id", "chunk_id"], unique=False)
    op.drop_index("ix_graph_mentions_kb_id", table_name="graph_mentions")
    op.create_table(
        "graph_names",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("name_key", KEY, nullable=False),
        sa.Column("linked", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_graph_names")),
        sa.UniqueConstraint("kb_id", "name_key", name=op.f("uq_graph_names_kb_id_name_key")),
        sqlite_autoincrement=True,
        **TABLE,
    )
    op.create_table(
        "graph_links",
        sa.Column("name_id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("chunk_id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name_id", "chunk_id", name=op.f("pk_graph_links")),
        sqlite_with_rowid=False,
        **TABLE,
    )
    op.create_index("ix_graph_links_chunk_id", "graph_links", ["chunk_id"], unique=False)
    op.create_table(
        "graph_linking",
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("graph_version", sa.Integer(), nullable=False),
        sa.Column("upto", NUMBER, nullable=False),
        sa.Column("again", NUMBER, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kb_id", name=op.f("pk_graph_linking")),
        **TABLE,
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("graph_linking", "graph_links", "graph_names"):
        op.drop_table(table)
    op.create_index("ix_graph_mentions_kb_id", "graph_mentions", ["kb_id"], unique=False)
    op.drop_index("ix_graph_mentions_kb_id_chunk_id", table_name="graph_mentions")
    op.drop_column("documents", "graph_rules")
