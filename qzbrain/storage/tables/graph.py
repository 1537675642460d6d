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
    Column("told", Integer, nullable=False, default=0, server_default="0"),  # the version whose facts are there as texts, see `graph_told`
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
    Column("cues", JSON, nullable=False),  # {"forward": […], "backward": […]}: words set for it, that ask for its tail and for its head
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
    Index("ix_graph_mentions_kb_id_chunk_id", "kb_id", "chunk_id"),
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

graph_told = Table(
    "graph_told",
    metadata,
    Column("entity_id", Number, primary_key=True, autoincrement=False),  # a head whose facts are told as a text
    Column("kb_id", Id, nullable=False),
    Column("document_id", Id, nullable=False),  # of the kind `facts`
    Column("mark", String(64), nullable=False),  # of what was told: another one means that its facts have changed
    Index("ix_graph_told_kb_id_entity_id", "kb_id", "entity_id"),
)

graph_extractions = Table(
    "graph_extractions",
    metadata,
    Column("key", String(64), primary_key=True),  # hash of prompt, schema, model and the chunks' texts: what was asked once is not asked again
    Column("kb_id", Id, nullable=False),
    Column("document_id", Id, nullable=False),  # the reply quotes this document, and goes with it
    Column("extractor", String(64), nullable=False),
    Column("reply", LongText, nullable=False),
    Column("prompt_tokens", Integer, nullable=False, default=0),
    Column("completion_tokens", Integer, nullable=False, default=0),
    Column("took_ms", Integer, nullable=False, default=0),
    Column("created_at", Time, nullable=False),
    Index("ix_graph_extractions_kb_id", "kb_id"),
    Index("ix_graph_extractions_document_id", "document_id"),
    Index("ix_graph_extractions_extractor_created_at", "extractor", "created_at"),
)

graph_extracted = Table(
    "graph_extracted",
    metadata,
    Column("document_id", Id, primary_key=True),
    Column("extractor", String(64), primary_key=True),
    Column("kb_id", Id, nullable=False),
    Column("signature", String(64), nullable=False),  # of the chunks from which this extractor's facts in the graph come
    Column("upto", Number, nullable=False),  # the last of them: a chunk with a higher id is new
    Index("ix_graph_extracted_kb_id", "kb_id"),
)

graph_suggestions = Table(
    "graph_suggestions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kb_id", Id, nullable=False),
    Column("pair_key", String(64), nullable=False),  # of both names and types, so that a decision outlives the entities' ids
    Column("keep_id", Number, nullable=False),
    Column("other_id", Number, nullable=False),  # the entity that would be merged into it
    Column("alias", Name, nullable=False, default=""),  # the alias that named the other entity, for the reason `alias`
    Column("alias_mark", String(64), nullable=False, default=""),  # of this alias and the name that bears it
    Column("reason", String(32), nullable=False),
    Column("score", Float, nullable=False),
    Column("status", String(16), nullable=False),  # open | accepted | dismissed
    Column("merge_id", Id, nullable=False, default=""),  # the merge that accepting it made
    Column("author", Name, nullable=False, default=""),
    Column("created_at", Time, nullable=False),
    Column("decided_at", Time),
    UniqueConstraint("kb_id", "pair_key"),
    Index("ix_graph_suggestions_kb_id_status_score", "kb_id", "status", "score"),
)

graph_names = Table(
    "graph_names",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("kb_id", Id, nullable=False),
    Column("name_key", String(64), nullable=False),
    Column("linked", Integer, nullable=False, default=0),  # 0: not yet looked for in the chunks that were there before it
    UniqueConstraint("kb_id", "name_key"),
    sqlite_autoincrement=True,
)
"""Names of entities that are looked for in chunks. By name, not by entity: a merge and its undoing change nothing here."""

graph_links = Table(
    "graph_links",
    metadata,
    Column("name_id", Number, primary_key=True, autoincrement=False),
    Column("chunk_id", Number, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Index("ix_graph_links_chunk_id", "chunk_id"),
    sqlite_with_rowid=False,
)
"""How often a chunk has a name in it. For ranking alone: that two names stand together says nothing about what they have to do with each other."""

graph_linking = Table(
    "graph_linking",
    metadata,
    Column("kb_id", Id, primary_key=True),
    Column("graph_version", Integer, nullable=False, default=0),  # whose names `graph_names` has
    Column("upto", Number, nullable=False, default=0),  # the last chunk in which all names with `linked` 1 were looked for
    Column("again", Number, nullable=False, default=0),  # the last chunk in which the others were
    Column("version", Integer, nullable=False, default=0),  # grows with every change of links
)

graph_mirrors = Table(
    "graph_mirrors",
    metadata,
    Column("kb_id", Id, primary_key=True),  # has, or is to get, a copy of its graph on a Neo4j server
    Column("version", Integer, nullable=False, default=-1),  # of the graph, as that copy is known to have; the copy itself says what it really has
)

graph_changes = Table(
    "graph_changes",
    metadata,
    Column("kb_id", Id, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),  # of the graph with this change
    Column("mark", String(32), nullable=False),  # never twice: a version that was counted again, after a restored backup, has another one
    Column("touched", LongText, nullable=False),  # JSON: which entities, triples and relations may have changed, not how
)
"""Changes of graphs in `graph_mirrors` which their copies may not have yet, and the last one that they have."""

OF_A_GRAPH = (
    graph_changes, graph_suggestions, graph_extracted, graph_extractions, graph_names, graph_linking,
    graph_mentions, graph_triples, graph_aliases, graph_entities, graph_relations, graph_merges,
)  # fmt: skip
"""What a knowledge base's graph is kept in, but for its version."""
