"""Which graphs are copied to a Neo4j server, and what their copies do not have yet."""

import sqlalchemy as sa
from alembic import op

from qzbrain.storage.migrations.versions.v0001_initial import LONG_TEXT, TABLE
from qzbrain.storage.migrations.versions.v0005_graph import ID

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "graph_mirrors",
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kb_id", name=op.f("pk_graph_mirrors")),
        **TABLE,
    )
    op.create_table(
        "graph_changes",
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mark", ID, nullable=False),
        sa.Column("touched", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("kb_id", "version", name=op.f("pk_graph_changes")),
        **TABLE,
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("graph_changes", "graph_mirrors"):
        op.drop_table(table)
