"""Conversations and their messages."""

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, String, Table

from qzbrain.storage.tables.base import Id, LongText, Name, Time, metadata

conversations = Table(
    "conversations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner", Id, nullable=False),
    Column("title", Name, nullable=False, default=""),
    Column("model", Name, nullable=False, default=""),
    Column("knowledge_bases", JSON, nullable=False),  # ids; [] = all that the caller may read
    Column("origin", String(16), nullable=False, default="console"),  # console | api: one made by a single /v1 call is not listed
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Index("ix_conversations_owner_origin_updated_at", "owner", "origin", "updated_at"),
)

conversation_shares = Table(
    "conversation_shares",
    metadata,
    Column("conversation_id", Id, primary_key=True),
    Column("user_id", Id, primary_key=True, default=""),  # '' in a share with a group
    Column("group_id", Id, primary_key=True, default=""),  # '' in a share with a user; auth.standing.EVERYONE: whoever is signed in
    Column("created_at", Time, nullable=False),
    Index("ix_conversation_shares_user_id", "user_id"),
    Index("ix_conversation_shares_group_id", "group_id"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Id, primary_key=True),
    Column("conversation_id", Id, ForeignKey("conversations.id"), nullable=False),
    Column("role", String(16), nullable=False),  # user | assistant
    Column("status", String(16), nullable=False),  # running | complete | stopped | failed
    Column("content", LongText, nullable=False, default=""),
    Column("model", Name, nullable=False, default=""),
    Column("rung", String(16), nullable=False, default=""),
    Column("rung_reason", LongText, nullable=False, default=""),
    Column("confidence", Float),
    Column("details", JSON, nullable=False),  # citations, degraded, usage, timings, error
    Column("rating", String(8), nullable=False, default=""),  # up | down
    Column("comment", LongText, nullable=False, default=""),
    Column("created_at", Time, nullable=False),
    Column("finished_at", Time),
    Column("position", Integer, nullable=False),  # order within the conversation, from 0
    Column("runner", String(64), nullable=False, default="", server_default=""),  # the process that gives this answer, see jobs/owner.py
    Index("ix_messages_conversation_id_position", "conversation_id", "position"),
    Index("ix_messages_status", "status"),
)
