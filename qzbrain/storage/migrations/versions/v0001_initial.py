"""The first schema: knowledge bases, documents, chunks, jobs, outbox, conversations, messages."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# On MySQL: identity in bytes and all comparisons by code point; JSON as text, since the server's own JSON sorts keys; a double, since
# its FLOAT rounds a time of today to minutes.
TABLE: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_default_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
LONG_TEXT = sa.Text(length=2147483647).with_variant(mysql.LONGTEXT(), "mysql")
JSON = sa.JSON().with_variant(mysql.LONGTEXT(), "mysql")
DOUBLE = sa.Float().with_variant(mysql.DOUBLE(), "mysql")
COUNT = sa.Integer().with_variant(mysql.BIGINT(), "mysql")
IDENTITY = sa.String(length=300).with_variant(mysql.VARBINARY(1200), "mysql")


def upgrade() -> None:
    """Make all tables."""
    op.create_table('conversations',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('owner', sa.String(length=32), nullable=False),
    sa.Column('title', sa.String(length=255), nullable=False),
    sa.Column('model', sa.String(length=255), nullable=False),
    sa.Column('knowledge_bases', JSON, nullable=False),
    sa.Column('origin', sa.String(length=16), nullable=False),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.Column('updated_at', sa.String(length=32), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_conversations')),
    **TABLE,
    )
    op.create_index('ix_conversations_owner_origin_updated_at', 'conversations', ['owner', 'origin', 'updated_at'], unique=False)
    op.create_table('jobs',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('kind', sa.String(length=32), nullable=False),
    sa.Column('subject', sa.String(length=64), nullable=False),
    sa.Column('kb_id', sa.String(length=32), nullable=False),
    sa.Column('payload', JSON, nullable=False),
    sa.Column('status', sa.String(length=16), nullable=False),
    sa.Column('stage', sa.String(length=16), nullable=False),
    sa.Column('progress_done', COUNT, nullable=False),
    sa.Column('progress_total', COUNT, nullable=False),
    sa.Column('progress_unit', sa.String(length=16), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('lost', sa.Integer(), nullable=False),
    sa.Column('run_after', DOUBLE, nullable=False),
    sa.Column('lease_owner', sa.String(length=64), nullable=False),
    sa.Column('lease_until', DOUBLE, nullable=False),
    sa.Column('reason_code', sa.String(length=64), nullable=True),
    sa.Column('reason_zh', LONG_TEXT, nullable=True),
    sa.Column('reason_en', LONG_TEXT, nullable=True),
    sa.Column('result', JSON, nullable=True),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.Column('updated_at', sa.String(length=32), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_jobs')),
    **TABLE,
    )
    op.create_index('ix_jobs_kb_id', 'jobs', ['kb_id'], unique=False)
    op.create_index('ix_jobs_status_run_after', 'jobs', ['status', 'run_after'], unique=False)
    op.create_index('ix_jobs_subject', 'jobs', ['subject'], unique=False)
    op.create_table('knowledge_bases',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('name', sa.String(length=64), nullable=False),
    sa.Column('title', sa.String(length=255), nullable=False),
    sa.Column('description', LONG_TEXT, nullable=False),
    sa.Column('chunk_chars', sa.Integer(), nullable=False),
    sa.Column('overlap_chars', sa.Integer(), nullable=False),
    sa.Column('without_evidence', sa.String(length=16), nullable=False),
    sa.Column('manifest', JSON, nullable=False),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_knowledge_bases')),
    sa.UniqueConstraint('name', name=op.f('uq_knowledge_bases_name')),
    **TABLE,
    )
    op.create_table('outbox',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('kb_id', sa.String(length=32), nullable=False),
    sa.Column('op', sa.String(length=16), nullable=False),
    sa.Column('document_id', sa.String(length=32), nullable=False),
    sa.PrimaryKeyConstraint('seq', name=op.f('pk_outbox')),
    sqlite_autoincrement=True,
    **TABLE,
    )
    op.create_index('ix_outbox_kb_id_seq', 'outbox', ['kb_id', 'seq'], unique=False)
    op.create_table('documents',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('kb_id', sa.String(length=32), nullable=False),
    sa.Column('identity', IDENTITY, nullable=False),
    sa.Column('external_id', sa.String(length=255), nullable=False),
    sa.Column('name', sa.String(length=255), nullable=False),
    sa.Column('title', sa.String(length=255), nullable=False),
    sa.Column('status', sa.String(length=16), nullable=False),
    sa.Column('stage', sa.String(length=16), nullable=False),
    sa.Column('progress_done', COUNT, nullable=False),
    sa.Column('progress_total', COUNT, nullable=False),
    sa.Column('progress_unit', sa.String(length=16), nullable=False),
    sa.Column('reason_code', sa.String(length=64), nullable=True),
    sa.Column('reason_zh', LONG_TEXT, nullable=True),
    sa.Column('reason_en', LONG_TEXT, nullable=True),
    sa.Column('pages', sa.Integer(), nullable=True),
    sa.Column('chunks', sa.Integer(), nullable=False),
    sa.Column('chars', sa.Integer(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('size_bytes', sa.BigInteger(), nullable=False),
    sa.Column('mime_type', sa.String(length=127), nullable=False),
    sa.Column('stored', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.Column('ready_at', sa.String(length=32), nullable=True),
    sa.ForeignKeyConstraint(['kb_id'], ['knowledge_bases.id'], name=op.f('fk_documents_kb_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_documents')),
    sa.UniqueConstraint('kb_id', 'identity', name=op.f('uq_documents_kb_id_identity')),
    **TABLE,
    )
    op.create_index('ix_documents_kb_id_status_chunks', 'documents', ['kb_id', 'status', 'chunks'], unique=False)
    op.create_index('ix_documents_sha256', 'documents', ['sha256'], unique=False)
    op.create_table('messages',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('conversation_id', sa.String(length=32), nullable=False),
    sa.Column('role', sa.String(length=16), nullable=False),
    sa.Column('status', sa.String(length=16), nullable=False),
    sa.Column('content', LONG_TEXT, nullable=False),
    sa.Column('model', sa.String(length=255), nullable=False),
    sa.Column('rung', sa.String(length=16), nullable=False),
    sa.Column('rung_reason', LONG_TEXT, nullable=False),
    sa.Column('confidence', DOUBLE, nullable=True),
    sa.Column('details', JSON, nullable=False),
    sa.Column('rating', sa.String(length=8), nullable=False),
    sa.Column('comment', LONG_TEXT, nullable=False),
    sa.Column('created_at', sa.String(length=32), nullable=False),
    sa.Column('finished_at', sa.String(length=32), nullable=True),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['conversation_id'], ['conversations.id'], name=op.f('fk_messages_conversation_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_messages')),
    **TABLE,
    )
    op.create_index('ix_messages_conversation_id_position', 'messages', ['conversation_id', 'position'], unique=False)
    op.create_index('ix_messages_status', 'messages', ['status'], unique=False)
    op.create_table('chunks',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('document_id', sa.String(length=32), nullable=False),
    sa.Column('kb_id', sa.String(length=32), nullable=False),
    sa.Column('ordinal', sa.Integer(), nullable=False),
    sa.Column('text', LONG_TEXT, nullable=False),
    sa.Column('start', sa.Integer(), nullable=False),
    sa.Column('end', sa.Integer(), nullable=False),
    sa.Column('page', sa.Integer(), nullable=True),
    sa.Column('heading_path', LONG_TEXT, nullable=False),
    sa.Column('reference', sa.String(length=32), nullable=False),
    sa.ForeignKeyConstraint(['document_id'], ['documents.id'], name=op.f('fk_chunks_document_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_chunks')),
    sqlite_autoincrement=True,
    **TABLE,
    )
    op.create_index('ix_chunks_document_id_ordinal', 'chunks', ['document_id', 'ordinal'], unique=False)
    op.create_index('ix_chunks_kb_id_reference', 'chunks', ['kb_id', 'reference', 'document_id', 'ordinal'], unique=False)
    op.create_table('document_texts',
    sa.Column('document_id', sa.String(length=32), nullable=False),
    sa.Column('text', LONG_TEXT, nullable=False),
    sa.ForeignKeyConstraint(['document_id'], ['documents.id'], name=op.f('fk_document_texts_document_id')),
    sa.PrimaryKeyConstraint('document_id', name=op.f('pk_document_texts')),
    **TABLE,
    )


def downgrade() -> None:
    """Drop all tables."""
    op.drop_table('document_texts')
    op.drop_index('ix_chunks_kb_id_reference', table_name='chunks')
    op.drop_index('ix_chunks_document_id_ordinal', table_name='chunks')
    op.drop_table('chunks')
    op.drop_index('ix_messages_status', table_name='messages')
    op.drop_index('ix_messages_conversation_id_position', table_name='messages')
    op.drop_table('messages')
    op.drop_index('ix_documents_sha256', table_name='documents')
    op.drop_index('ix_documents_kb_id_status_chunks', table_name='documents')
    op.drop_table('documents')
    op.drop_index('ix_outbox_kb_id_seq', table_name='outbox')
    op.drop_table('outbox')
    op.drop_table('knowledge_bases')
    op.drop_index('ix_jobs_subject', table_name='jobs')
    op.drop_index('ix_jobs_status_run_after', table_name='jobs')
    op.drop_index('ix_jobs_kb_id', table_name='jobs')
    op.drop_table('jobs')
    op.drop_index('ix_conversations_owner_origin_updated_at', table_name='conversations')
    op.drop_table('conversations')
