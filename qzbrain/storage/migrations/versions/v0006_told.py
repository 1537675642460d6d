"""Facts of graphs as texts."""

import sqlalchemy as sa
from alembic import op

from qzbrain.storage.migrations.versions.v0001_initial import TABLE

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ID, KEY = sa.String(length=32), sa.String(length=64)


def upgrade() -> None:
    """Make the table and the column."""
    op.add_column("graph_versions", sa.Column("told", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "graph_told",
        sa.Column("entity_id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("mark", KEY, nullable=False),
        sa.PrimaryKeyConstraint("entity_id", name=op.f("pk_graph_told")),
        **TABLE,
    )
    op.create_index("ix_graph_told_kb_id_entity_id", "graph_told", ["kb_id", "entity_id"], unique=False)


def downgrade() -> None:
    """Remove them, and the texts, which the program of before would take for documents."""
    op.execute("DELETE FROM chunks WHERE document_id IN (SELECT id FROM documents WHERE kind = 'facts')")
    op.execute("DELETE FROM document_texts WHERE document_id IN (SELECT id FROM documents WHERE kind = 'facts')")
    op.execute("DELETE FROM documents WHERE kind = 'facts'")
    op.execute("DELETE FROM outbox WHERE kb_id LIKE '%.facts'")
    op.drop_table("graph_told")
    op.drop_column("graph_versions", "told")
