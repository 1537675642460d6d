"""The knowledge graph."""

import sqlalchemy as sa
from alembic import op

from qzbrain.storage.migrations.versions.v0001_initial import COUNT, DOUBLE, JSON, LONG_TEXT, TABLE

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ID, KEY, NAME = sa.String(length=32), sa.String(length=64), sa.String(length=255)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "graph_versions",
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kb_id", name=op.f("pk_graph_versions")),
        **TABLE,
    )
    op.create_table(
        "graph_entities",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("name_key", KEY, nullable=False),
        sa.Column("type", KEY, nullable=False),
        sa.Column("name", LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_graph_entities")),
        sa.UniqueConstraint("kb_id", "name_key", "type", name=op.f("uq_graph_entities_kb_id_name_key_type")),
        sqlite_autoincrement=True,
        **TABLE,
    )
    op.create_table(
        "graph_aliases",
        sa.Column("entity_id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("alias_key", KEY, nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("alias", NAME, nullable=False),
        sa.PrimaryKeyConstraint("entity_id", "alias_key", "document_id", name=op.f("pk_graph_aliases")),
        **TABLE,
    )
    op.create_index("ix_graph_aliases_kb_id_alias_key", "graph_aliases", ["kb_id", "alias_key"], unique=False)
    op.create_index("ix_graph_aliases_document_id", "graph_aliases", ["document_id"], unique=False)
    op.create_table(
        "graph_relations",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("name_key", KEY, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("cues", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_graph_relations")),
        sa.UniqueConstraint("kb_id", "name_key", name=op.f("uq_graph_relations_kb_id_name_key")),
        sqlite_autoincrement=True,
        **TABLE,
    )
    _triples()


def _triples() -> None:
    op.create_table(
        "graph_triples",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("head_id", NUMBER, nullable=False),
        sa.Column("relation_id", NUMBER, nullable=False),
        sa.Column("tail_id", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_graph_triples")),
        sa.UniqueConstraint("head_id", "relation_id", "tail_id", name=op.f("uq_graph_triples_head_id_relation_id_tail_id")),
        sqlite_autoincrement=True,
        **TABLE,
    )
    op.create_index("ix_graph_triples_kb_id_id", "graph_triples", ["kb_id", "id"], unique=False)
    op.create_index("ix_graph_triples_tail_id", "graph_triples", ["tail_id"], unique=False)
    op.create_index("ix_graph_triples_relation_id", "graph_triples", ["relation_id"], unique=False)
    op.create_table(
        "graph_mentions",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("triple_id", NUMBER, nullable=False),
        sa.Column("mark", KEY, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("document_id", ID, nullable=False),
        sa.Column("chunk_id", NUMBER, nullable=False),
        sa.Column("start", COUNT, nullable=False),
        sa.Column("end", COUNT, nullable=False),
        sa.Column("quote", LONG_TEXT, nullable=False),
        sa.Column("source", LONG_TEXT, nullable=False),
        sa.Column("extractor", KEY, nullable=False),
        sa.Column("confidence", DOUBLE, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_graph_mentions")),
        sa.UniqueConstraint("triple_id", "mark", name=op.f("uq_graph_mentions_triple_id_mark")),
        sqlite_autoincrement=True,
        **TABLE,
    )
    op.create_index("ix_graph_mentions_document_id", "graph_mentions", ["document_id"], unique=False)
    op.create_index("ix_graph_mentions_kb_id", "graph_mentions", ["kb_id"], unique=False)
    op.create_table(
        "graph_merges",
        sa.Column("id", ID, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("keep_id", NUMBER, nullable=False),
        sa.Column("content", JSON, nullable=False),
        sa.Column("author", NAME, nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("undone_at", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_graph_merges")),
        **TABLE,
    )
    op.create_index("ix_graph_merges_kb_id", "graph_merges", ["kb_id"], unique=False)


def downgrade() -> None:
    """Drop them."""
    for table in ("graph_merges", "graph_mentions", "graph_triples", "graph_relations", "graph_aliases", "graph_entities", "graph_versions"):
        op.drop_table(table)
