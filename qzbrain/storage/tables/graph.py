"""The knowledge graph: entities, their other names, relations, triples, and where each triple is said.

A triple is there as long as one mention says it, an entity as long as a triple or an alias names it; so the deletion of a document is exact.
"""

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, String, Table, UniqueConstraint

from qzbrain.storage.tables.base import Id, LongText, Name, Time, metadata

Number = BigInteger().with_variant(Integer, "sqlite")

graph_versions = Table(
    "graph_versions",
    metadata,
    Column("kb_id", Id, primary_key=True),
    Column("version", Integer, nullable=False, default=0),  # grows with every change: who holds the graph in memory reads it anew
    Column("removals", Integer, nullable=False, default=0),  # grows with every change that takes away or moves; with none, what is new is read alone
)

graph_entities = Table(
    "graph_entities",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("kb_id", Id, nullable=False),
    Column("name_key", String(64), nullable=False),  # the name as it is compared, or for a long one the beginning and a hash
    Column("type", String(64), nullable=False, default=""),
    Column("name", LongText, nullable=False),
    UniqueConstraint("kb_id", "name_key", "type"),
    sqlite_autoincrement=True,
)

graph_aliases = Table(
    "graph_aliases",
    metadata,
    Column("entity_id", Number, primary_key=True, autoincrement=False),
    Column("alias_key", String(64), primary_key=True),
    Column("document_id", Id, primary_key=True, default=""),  # '' for one that was imported or comes from a merge
    Column("kb_id", Id, nullable=False),
    Column("alias", Name, nullable=False),
    Index("ix_graph_aliases_kb_id_alias_key", "kb_id", "alias_key"),
    Index("ix_graph_aliases_document_id", "document_id"),
)

graph_relations = Table(
    "graph_relations",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("kb_id", Id, nullable=False),
    Column("name_key", String(64), nullable=False),
    Column("name", Name, nullable=False),
    Column("cues", JSON, nullable=False),  # {"forward": […], "inverse": […]}: other words for it, seen from its head and from its tail
    UniqueConstraint("kb_id", "name_key"),
    sqlite_autoincrement=True,
)

graph_triples = Table(
    "graph_triples",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("kb_id", Id, nullable=False),
    Column("head_id", Number, nullable=False),
    Column("relation_id", Number, nullable=False),
    Column("tail_id", Number, nullable=False),
    UniqueConstraint("head_id", "relation_id", "tail_id"),
    Index("ix_graph_triples_kb_id_id", "kb_id", "id"),
    Index("ix_graph_triples_tail_id", "tail_id"),
    Index("ix_graph_triples_relation_id", "relation_id"),
    sqlite_autoincrement=True,
)

graph_mentions = Table(
    "graph_mentions",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("triple_id", Number, nullable=False),
    Column("mark", String(64), nullable=False),  # what makes it one: extractor, document and place, or an import's source
    Column("kb_id", Id, nullable=False),
    Column("document_id", Id, nullable=False, default=""),  # '' for what was imported
    Column("chunk_id", Number, nullable=False, default=0),
    Column("start", Integer, nullable=False, default=0),
    Column("end", Integer, nullable=False, default=0),
    Column("quote", LongText, nullable=False, default=""),
    Column("source", LongText, nullable=False, default=""),
    Column("extractor", String(64), nullable=False),  # import | structure | definition | reference | llm:NAME
    Column("confidence", Float, nullable=False, default=1.0),
    UniqueConstraint("triple_id", "mark"),
    Index("ix_graph_mentions_document_id", "document_id"),
    Index("ix_graph_mentions_kb_id", "kb_id"),
    sqlite_autoincrement=True,
)

graph_merges = Table(
    "graph_merges",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kb_id", Id, nullable=False),
    Column("keep_id", Number, nullable=False),
    Column("content", JSON, nullable=False),  # what was merged, enough to undo it
    Column("author", Name, nullable=False, default=""),
    Column("created_at", Time, nullable=False),
    Column("undone_at", Time),
    Index("ix_graph_merges_kb_id", "kb_id"),
)

OF_A_GRAPH = (graph_mentions, graph_triples, graph_aliases, graph_entities, graph_relations, graph_merges)
"""What a knowledge base's graph is kept in, but for its version."""
