"""Accounts: users, groups, sessions, keys, rights, levels, the audit log."""

from contextlib import suppress

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.exc import DBAPIError

from qzbrain.storage.migrations.versions.v0001_initial import DOUBLE, JSON, LONG_TEXT, TABLE

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
ID, TIME, NAME, HASH = sa.String(length=32), sa.String(length=32), sa.String(length=255), sa.String(length=64)


def upgrade() -> None:
    """Make tables and columns; what is there already is internal."""
    op.create_table(
        "users",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("display_name", NAME, nullable=False),
        sa.Column("password", NAME, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("clearance", sa.Integer(), nullable=False),
        sa.Column("disabled", sa.Integer(), nullable=False),
        sa.Column("must_change", sa.Integer(), nullable=False),
        sa.Column("totp", LONG_TEXT, nullable=False),
        sa.Column("totp_last", NUMBER, nullable=False),
        sa.Column("recovery", JSON, nullable=False),
        sa.Column("external", NAME, nullable=False),
        sa.Column("storage_mb", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("password_at", TIME, nullable=True),
        sa.Column("signed_in_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
        **TABLE,
    )
    op.create_index("ix_users_external", "users", ["external"], unique=False)
    op.create_table(
        "user_groups",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("description", LONG_TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_groups")),
        sa.UniqueConstraint("name", name=op.f("uq_user_groups_name")),
        **TABLE,
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_group_members")),
        **TABLE,
    )
    op.create_index("ix_group_members_user_id", "group_members", ["user_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("id", ID, nullable=False),
        sa.Column("token", HASH, nullable=False),
        sa.Column("former_token", HASH, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("created_at", DOUBLE, nullable=False),
        sa.Column("seen_at", DOUBLE, nullable=False),
        sa.Column("rotated_at", DOUBLE, nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("agent", NAME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("token", name=op.f("uq_sessions_token")),
        **TABLE,
    )
    op.create_index("ix_sessions_former_token", "sessions", ["former_token"], unique=False)
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("token", HASH, nullable=False),
        sa.Column("shown", sa.String(length=16), nullable=False),
        sa.Column("at_most", sa.String(length=8), nullable=False),
        sa.Column("knowledge_bases", JSON, nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("used_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("token", name=op.f("uq_api_keys_token")),
        **TABLE,
    )
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"], unique=False)
    op.create_table(
        "links",
        sa.Column("token", HASH, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("expires_at", DOUBLE, nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_links")),
        **TABLE,
    )
    op.create_index("ix_links_user_id", "links", ["user_id"], unique=False)
    op.create_table(
        "kb_grants",
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("granted", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("kb_id", "user_id", "group_id", name=op.f("pk_kb_grants")),
        **TABLE,
    )
    op.create_index("ix_kb_grants_group_id", "kb_grants", ["group_id"], unique=False)
    op.create_index("ix_kb_grants_user_id", "kb_grants", ["user_id"], unique=False)
    op.create_table(
        "conversation_shares",
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("group_id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "user_id", "group_id", name=op.f("pk_conversation_shares")),
        **TABLE,
    )
    op.create_index("ix_conversation_shares_group_id", "conversation_shares", ["group_id"], unique=False)
    op.create_index("ix_conversation_shares_user_id", "conversation_shares", ["user_id"], unique=False)
    op.create_table(
        "login_failures",
        sa.Column("subject", HASH, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", DOUBLE, nullable=False),
        sa.Column("until", DOUBLE, nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_login_failures")),
        **TABLE,
    )
    op.create_table(
        "access_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_state")),
        **TABLE,
    )
    op.create_table(
        "audit_log",
        sa.Column("number", NUMBER, autoincrement=False, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor_id", ID, nullable=False),
        sa.Column("actor", NAME, nullable=False),
        sa.Column("key_id", ID, nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", NAME, nullable=False),
        sa.Column("kb_id", ID, nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("details", LONG_TEXT, nullable=False),
        sa.Column("hash", HASH, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_log")),
        **TABLE,
    )
    op.create_index("ix_audit_log_action_number", "audit_log", ["action", "number"], unique=False)
    op.create_index("ix_audit_log_actor_id_number", "audit_log", ["actor_id", "number"], unique=False)
    op.create_index("ix_audit_log_at", "audit_log", ["at"], unique=False)
    op.execute("INSERT INTO access_state (id, version) VALUES (1, 1)")
    for table in ("knowledge_bases", "documents"):
        op.add_column(table, sa.Column("level", sa.Integer(), server_default="1", nullable=False))
    op.create_index("ix_documents_kb_id_level", "documents", ["kb_id", "level"], unique=False)
    op.add_column("documents", sa.Column("owner", ID, server_default="", nullable=False))
    op.create_index("ix_documents_owner_size_bytes", "documents", ["owner", "size_bytes"], unique=False)
    _only_ever_add_to_the_audit_log()


def _only_ever_add_to_the_audit_log() -> None:
    """Have the database refuse to change or delete its rows. A MySQL server may not let this user make triggers: the chain shows it all the same."""
    if op.get_context().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_log_no_{change.lower()} BEFORE {change} ON audit_log BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END"
            )
    elif not context.is_offline_mode():
        with suppress(DBAPIError):
            for change in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER audit_log_no_{change.lower()} BEFORE {change} ON audit_log FOR EACH ROW "
                    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the audit log is only added to'"
                )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_documents_owner_size_bytes", "documents")
    op.drop_column("documents", "owner")
    op.drop_index("ix_documents_kb_id_level", "documents")
    for table in ("documents", "knowledge_bases"):
        op.drop_column(table, "level")
    for table in (
        "audit_log",
        "access_state",
        "login_failures",
        "conversation_shares",
        "kb_grants",
        "links",
        "api_keys",
        "sessions",
        "group_members",
        "user_groups",
        "users",
    ):
        op.drop_table(table)
