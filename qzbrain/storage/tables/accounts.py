"""Accounts: users, groups, sessions, keys, rights in knowledge bases, and the audit log.

No secret is kept as it is: passwords as Argon2id, tokens of sessions, keys and links as SHA-256, the secret of one-time codes encrypted.
"""

from sqlalchemy import JSON, BigInteger, Column, Float, Index, Integer, String, Table

from qzbrain.storage.tables.base import Id, LongText, Name, Time, metadata

Number = BigInteger().with_variant(Integer, "sqlite")

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),  # what is typed at sign-in, in lower case
    Column("display_name", Name, nullable=False, default=""),
    Column("password", Name, nullable=False, default=""),  # Argon2id in PHC form; '' for one who signs in elsewhere or has none yet
    Column("role", String(16), nullable=False),  # reader | editor | manager | administrator
    Column("clearance", Integer, nullable=False),  # index into domain.LEVELS
    Column("disabled", Integer, nullable=False, default=0),
    Column("must_change", Integer, nullable=False, default=0),  # 1: nothing but choosing a new password is allowed
    Column("totp", LongText, nullable=False, default=""),  # encrypted; '' without
    Column("totp_last", Number, nullable=False, default=0),  # the last time step that was used: a code counts once
    Column("recovery", JSON, nullable=False),  # SHA-256 of the codes that stand in for a lost device
    Column("external", Name, nullable=False, default=""),  # 'oidc:ISSUER|SUBJECT', 'ldap:DN'; '' for a local one
    Column("storage_mb", Integer, nullable=False, default=0),  # at most so much of his own uploads; 0: the setting's bound
    Column("created_at", Time, nullable=False),
    Column("password_at", Time),
    Column("signed_in_at", Time),
    Index("ix_users_external", "external"),
)

user_groups = Table(
    "user_groups",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("description", LongText, nullable=False, default=""),
    Column("created_at", Time, nullable=False),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", Id, primary_key=True),
    Column("user_id", Id, primary_key=True),
    Index("ix_group_members_user_id", "user_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("token", String(64), nullable=False, unique=True),  # SHA-256 of the cookie's value
    Column("former_token", String(64), nullable=False, default=""),  # that before the last rotation, good for a few seconds more
    Column("user_id", Id, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("rotated_at", Float, nullable=False),
    Column("address", String(64), nullable=False, default=""),
    Column("agent", Name, nullable=False, default=""),
    Index("ix_sessions_user_id", "user_id"),
    Index("ix_sessions_former_token", "former_token"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("name", Name, nullable=False),
    Column("token", String(64), nullable=False, unique=True),  # SHA-256 of the key
    Column("shown", String(16), nullable=False),  # its first characters, to tell keys apart
    Column("at_most", String(8), nullable=False),  # read | write | manage
    Column("knowledge_bases", JSON, nullable=False),  # ids; []: all that its user may
    Column("requests_per_minute", Integer, nullable=False, default=0),  # 0: the setting's bound
    Column("created_at", Time, nullable=False),
    Column("expires_at", Time),
    Column("used_at", Time),
    Index("ix_api_keys_user_id", "user_id"),
)

links = Table(
    "links",
    metadata,
    Column("token", String(64), primary_key=True),  # SHA-256 of what stands in the address
    Column("kind", String(16), nullable=False),  # setup | password
    Column("user_id", Id, nullable=False, default=""),
    Column("expires_at", Float, nullable=False),
    Index("ix_links_user_id", "user_id"),
)

kb_grants = Table(
    "kb_grants",
    metadata,
    Column("kb_id", Id, primary_key=True),
    Column("user_id", Id, primary_key=True, default=""),  # '' in the grant of a group
    Column("group_id", Id, primary_key=True, default=""),  # '' in the grant of a user; access.EVERYONE: whoever is signed in
    Column("granted", String(8), nullable=False),  # read | write | manage
    Index("ix_kb_grants_user_id", "user_id"),
    Index("ix_kb_grants_group_id", "group_id"),
)

login_failures = Table(
    "login_failures",
    metadata,
    Column("subject", String(64), primary_key=True),  # SHA-256 of a name, or of an address
    Column("failures", Integer, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("until", Float, nullable=False),  # refused before
)

access_state = Table(
    "access_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1
    Column("version", Number, nullable=False),  # grows with every change of users, groups, keys, sessions, rights, levels
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=False),  # from 1, without a gap
    Column("at", Time, nullable=False),
    Column("actor_id", Id, nullable=False),
    Column("actor", Name, nullable=False),
    Column("key_id", Id, nullable=False, default=""),
    Column("action", String(64), nullable=False),
    Column("subject", Name, nullable=False, default=""),
    Column("kb_id", Id, nullable=False, default=""),
    Column("level", Integer, nullable=False, default=0),
    Column("address", String(64), nullable=False, default=""),
    Column("request_id", String(64), nullable=False, default=""),
    Column("outcome", String(16), nullable=False),  # done | refused | failed
    Column("details", LongText, nullable=False, default=""),  # canonical JSON: it is part of what is hashed
    Column("hash", String(64), nullable=False),  # SHA-256 over the former row's hash and this row
    Index("ix_audit_log_at", "at"),
    Index("ix_audit_log_actor_id_number", "actor_id", "number"),
    Index("ix_audit_log_action_number", "action", "number"),
)
