"""Which process gives an answer: with several web processes, one that starts must know whose answers were interrupted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("messages", sa.Column("runner", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("messages", "runner")
