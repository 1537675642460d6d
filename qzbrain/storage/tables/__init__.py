"""The schema, one module per subject; `metadata` holds them all. Truth lives here; every index can be rebuilt from it.

Ids are text from `domain.new_id()`, times are `domain.utc_now()` text, leases are seconds since 1970 as floats.
Absent values that take part in a unique key are '' rather than NULL.
"""

from qzbrain.storage.tables.accounts import (
    access_state,
    api_keys,
    audit_log,
    group_members,
    kb_grants,
    links,
    login_failures,
    sessions,
    user_groups,
    users,
)
from qzbrain.storage.tables.base import metadata
from qzbrain.storage.tables.chat import conversation_shares, conversations, messages
from qzbrain.storage.tables.entries import entries, entry_versions, regression_questions
from qzbrain.storage.tables.graph import (
    OF_A_GRAPH,
    graph_aliases,
    graph_changes,
    graph_entities,
    graph_extracted,
    graph_extractions,
    graph_linking,
    graph_links,
    graph_mentions,
    graph_merges,
    graph_mirrors,
    graph_names,
    graph_relations,
    graph_suggestions,
    graph_told,
    graph_triples,
    graph_versions,
)
from qzbrain.storage.tables.jobs import jobs, outbox
from qzbrain.storage.tables.knowledge import chunks, document_edits, document_texts, documents, knowledge_bases, watched_files, watched_folders
from qzbrain.storage.tables.vectors import vector_spaces, vectors

__all__ = [
    "OF_A_GRAPH", "access_state", "api_keys", "audit_log", "chunks", "conversation_shares", "conversations", "document_edits", "document_texts", "documents",
    "entries", "entry_versions", "graph_aliases", "graph_changes", "graph_entities", "graph_extracted", "graph_extractions", "graph_linking", "graph_links",
    "graph_mentions", "graph_merges", "graph_mirrors", "graph_names", "graph_relations", "graph_suggestions", "graph_told", "graph_triples", "graph_versions",
    "group_members", "jobs", "kb_grants", "knowledge_bases", "links", "login_failures", "messages", "metadata", "outbox", "regression_questions", "sessions",
    "user_groups", "users", "vector_spaces", "vectors", "watched_files", "watched_folders",
]  # fmt: skip
