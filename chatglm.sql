-- qzbrain: 全部数据表，适用于 MySQL 8 及以上、MariaDB 10.6 及以上。 · all tables, for MySQL 8 or later and MariaDB 10.6 or later.
-- 在空数据库中执行：mysql chatglm < chatglm.sql，或在客户端中 source chatglm.sql；与 qzbrain db upgrade 的结果相同。
-- Run it in an empty database; `qzbrain db upgrade` gives the same. Made by `make docs`; do not edit.
SET NAMES utf8mb4;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE conversations (
    id VARCHAR(32) NOT NULL,
    owner VARCHAR(32) NOT NULL,
    title VARCHAR(255) NOT NULL,
    model VARCHAR(255) NOT NULL,
    knowledge_bases LONGTEXT NOT NULL,
    origin VARCHAR(16) NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    updated_at VARCHAR(32) NOT NULL,
    CONSTRAINT pk_conversations PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_conversations_owner_origin_updated_at ON conversations (owner, origin, updated_at);

CREATE TABLE jobs (
    id VARCHAR(32) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    subject VARCHAR(64) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    payload LONGTEXT NOT NULL,
    status VARCHAR(16) NOT NULL,
    stage VARCHAR(16) NOT NULL,
    progress_done BIGINT NOT NULL,
    progress_total BIGINT NOT NULL,
    progress_unit VARCHAR(16) NOT NULL,
    attempts INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    run_after DOUBLE NOT NULL,
    lease_owner VARCHAR(64) NOT NULL,
    lease_until DOUBLE NOT NULL,
    reason_code VARCHAR(64),
    reason_zh LONGTEXT,
    reason_en LONGTEXT,
    result LONGTEXT,
    created_at VARCHAR(32) NOT NULL,
    updated_at VARCHAR(32) NOT NULL,
    CONSTRAINT pk_jobs PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_jobs_kb_id ON jobs (kb_id);

CREATE INDEX ix_jobs_status_run_after ON jobs (status, run_after);

CREATE INDEX ix_jobs_subject ON jobs (subject);

CREATE TABLE knowledge_bases (
    id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    title VARCHAR(255) NOT NULL,
    description LONGTEXT NOT NULL,
    chunk_chars INTEGER NOT NULL,
    overlap_chars INTEGER NOT NULL,
    without_evidence VARCHAR(16) NOT NULL,
    manifest LONGTEXT NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    CONSTRAINT pk_knowledge_bases PRIMARY KEY (id),
    CONSTRAINT uq_knowledge_bases_name UNIQUE (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE outbox (
    seq BIGINT NOT NULL AUTO_INCREMENT,
    kb_id VARCHAR(32) NOT NULL,
    op VARCHAR(16) NOT NULL,
    document_id VARCHAR(32) NOT NULL,
    CONSTRAINT pk_outbox PRIMARY KEY (seq)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_outbox_kb_id_seq ON outbox (kb_id, seq);

CREATE TABLE documents (
    id VARCHAR(32) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    identity VARBINARY(1200) NOT NULL,
    external_id VARCHAR(255) NOT NULL,
    name VARCHAR(255) NOT NULL,
    title VARCHAR(255) NOT NULL,
    status VARCHAR(16) NOT NULL,
    stage VARCHAR(16) NOT NULL,
    progress_done BIGINT NOT NULL,
    progress_total BIGINT NOT NULL,
    progress_unit VARCHAR(16) NOT NULL,
    reason_code VARCHAR(64),
    reason_zh LONGTEXT,
    reason_en LONGTEXT,
    pages INTEGER,
    chunks INTEGER NOT NULL,
    chars INTEGER NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    size_bytes BIGINT NOT NULL,
    mime_type VARCHAR(127) NOT NULL,
    `stored` INTEGER NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    ready_at VARCHAR(32),
    CONSTRAINT pk_documents PRIMARY KEY (id),
    CONSTRAINT fk_documents_kb_id FOREIGN KEY(kb_id) REFERENCES knowledge_bases (id),
    CONSTRAINT uq_documents_kb_id_identity UNIQUE (kb_id, identity)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_documents_kb_id_status_chunks ON documents (kb_id, status, chunks);

CREATE INDEX ix_documents_sha256 ON documents (sha256);

CREATE TABLE messages (
    id VARCHAR(32) NOT NULL,
    conversation_id VARCHAR(32) NOT NULL,
    `role` VARCHAR(16) NOT NULL,
    status VARCHAR(16) NOT NULL,
    content LONGTEXT NOT NULL,
    model VARCHAR(255) NOT NULL,
    rung VARCHAR(16) NOT NULL,
    rung_reason LONGTEXT NOT NULL,
    confidence DOUBLE,
    details LONGTEXT NOT NULL,
    rating VARCHAR(8) NOT NULL,
    comment LONGTEXT NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    finished_at VARCHAR(32),
    position INTEGER NOT NULL,
    CONSTRAINT pk_messages PRIMARY KEY (id),
    CONSTRAINT fk_messages_conversation_id FOREIGN KEY(conversation_id) REFERENCES conversations (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_messages_conversation_id_position ON messages (conversation_id, position);

CREATE INDEX ix_messages_status ON messages (status);

CREATE TABLE chunks (
    id BIGINT NOT NULL AUTO_INCREMENT,
    document_id VARCHAR(32) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    ordinal INTEGER NOT NULL,
    text LONGTEXT NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    page INTEGER,
    heading_path LONGTEXT NOT NULL,
    reference VARCHAR(32) NOT NULL,
    CONSTRAINT pk_chunks PRIMARY KEY (id),
    CONSTRAINT fk_chunks_document_id FOREIGN KEY(document_id) REFERENCES documents (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_chunks_document_id_ordinal ON chunks (document_id, ordinal);

CREATE INDEX ix_chunks_kb_id_reference ON chunks (kb_id, reference, document_id, ordinal);

CREATE TABLE document_texts (
    document_id VARCHAR(32) NOT NULL,
    text LONGTEXT NOT NULL,
    CONSTRAINT pk_document_texts PRIMARY KEY (document_id),
    CONSTRAINT fk_document_texts_document_id FOREIGN KEY(document_id) REFERENCES documents (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

INSERT INTO alembic_version (version_num) VALUES ('0001');

ALTER TABLE messages ADD COLUMN runner VARCHAR(64) NOT NULL DEFAULT '';

UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001';

CREATE TABLE vector_spaces (
    id VARCHAR(32) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    status VARCHAR(16) NOT NULL,
    embedder VARCHAR(255) NOT NULL,
    width INTEGER NOT NULL,
    manifest LONGTEXT NOT NULL,
    embedded_upto BIGINT NOT NULL,
    reason_code VARCHAR(64),
    reason_zh LONGTEXT,
    reason_en LONGTEXT,
    created_at VARCHAR(32) NOT NULL,
    activated_at VARCHAR(32),
    CONSTRAINT pk_vector_spaces PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_vector_spaces_kb_id_status ON vector_spaces (kb_id, status);

CREATE TABLE vectors (
    space_id VARCHAR(32) NOT NULL,
    chunk_id BIGINT NOT NULL,
    document_id VARCHAR(32) NOT NULL,
    vector BLOB NOT NULL,
    CONSTRAINT pk_vectors PRIMARY KEY (space_id, chunk_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_vectors_document_id ON vectors (document_id);

CREATE INDEX ix_chunks_kb_id_id ON chunks (kb_id, id);

UPDATE alembic_version SET version_num='0003' WHERE alembic_version.version_num = '0002';

ALTER TABLE documents ADD COLUMN kind VARCHAR(16) NOT NULL DEFAULT 'file';

CREATE INDEX ix_documents_kb_id_kind_status_chunks ON documents (kb_id, kind, status, chunks);

DROP INDEX ix_documents_kb_id_status_chunks ON documents;

ALTER TABLE documents ADD COLUMN progress_rate FLOAT NOT NULL DEFAULT '0';

ALTER TABLE jobs ADD COLUMN progress_rate FLOAT NOT NULL DEFAULT '0';

CREATE INDEX ix_jobs_status_kind_id ON jobs (status, kind, id);

ALTER TABLE chunks ADD COLUMN disabled INTEGER NOT NULL DEFAULT '0';

CREATE TABLE document_edits (
    document_id VARCHAR(32) NOT NULL,
    number INTEGER NOT NULL,
    kind VARCHAR(16) NOT NULL,
    ordinal INTEGER NOT NULL,
    start BIGINT NOT NULL,
    end BIGINT NOT NULL,
    `before` LONGTEXT NOT NULL,
    after LONGTEXT NOT NULL,
    author VARCHAR(255) NOT NULL,
    note LONGTEXT NOT NULL,
    applies INTEGER NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    CONSTRAINT pk_document_edits PRIMARY KEY (document_id, number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE watched_folders (
    id VARCHAR(32) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    path LONGTEXT NOT NULL,
    path_key VARCHAR(64) NOT NULL,
    active INTEGER NOT NULL,
    every_s INTEGER NOT NULL,
    options LONGTEXT,
    last_scan_at VARCHAR(32),
    result LONGTEXT,
    created_at VARCHAR(32) NOT NULL,
    CONSTRAINT pk_watched_folders PRIMARY KEY (id),
    CONSTRAINT uq_watched_folders_kb_id_path_key UNIQUE (kb_id, path_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE watched_files (
    folder_id VARCHAR(32) NOT NULL,
    path_key VARCHAR(64) NOT NULL,
    path LONGTEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    changed_ns BIGINT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    document_id VARCHAR(32) NOT NULL,
    owned INTEGER NOT NULL,
    replaces VARCHAR(32) NOT NULL,
    CONSTRAINT pk_watched_files PRIMARY KEY (folder_id, path_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_watched_files_document_id ON watched_files (document_id);

CREATE TABLE entries (
    id VARCHAR(32) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    status VARCHAR(16) NOT NULL,
    question LONGTEXT NOT NULL,
    question_key VARCHAR(64) NOT NULL,
    answer LONGTEXT NOT NULL,
    variants LONGTEXT NOT NULL,
    negatives LONGTEXT NOT NULL,
    source LONGTEXT NOT NULL,
    author VARCHAR(255) NOT NULL,
    approver VARCHAR(255) NOT NULL,
    valid_from VARCHAR(32),
    valid_until VARCHAR(32),
    level VARCHAR(16) NOT NULL,
    version INTEGER NOT NULL,
    approved_version INTEGER NOT NULL,
    document_id VARCHAR(32) NOT NULL,
    origin LONGTEXT NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    updated_at VARCHAR(32) NOT NULL,
    CONSTRAINT pk_entries PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_entries_kb_id_question_key ON entries (kb_id, question_key);

CREATE INDEX ix_entries_kb_id_status ON entries (kb_id, status);

CREATE INDEX ix_entries_document_id ON entries (document_id);

CREATE TABLE entry_versions (
    entry_id VARCHAR(32) NOT NULL,
    version INTEGER NOT NULL,
    content LONGTEXT NOT NULL,
    author VARCHAR(255) NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    CONSTRAINT pk_entry_versions PRIMARY KEY (entry_id, version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE regression_questions (
    id VARCHAR(32) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    question LONGTEXT NOT NULL,
    entry_id VARCHAR(32) NOT NULL,
    message_id VARCHAR(32) NOT NULL,
    passed INTEGER,
    result LONGTEXT,
    created_at VARCHAR(32) NOT NULL,
    run_at VARCHAR(32),
    CONSTRAINT pk_regression_questions PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_regression_questions_kb_id ON regression_questions (kb_id);

CREATE INDEX ix_regression_questions_entry_id ON regression_questions (entry_id);

UPDATE alembic_version SET version_num='0004' WHERE alembic_version.version_num = '0003';

CREATE TABLE graph_versions (
    kb_id VARCHAR(32) NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT pk_graph_versions PRIMARY KEY (kb_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE graph_entities (
    id BIGINT NOT NULL AUTO_INCREMENT,
    kb_id VARCHAR(32) NOT NULL,
    name_key VARCHAR(64) NOT NULL,
    type VARCHAR(64) NOT NULL,
    name LONGTEXT NOT NULL,
    CONSTRAINT pk_graph_entities PRIMARY KEY (id),
    CONSTRAINT uq_graph_entities_kb_id_name_key_type UNIQUE (kb_id, name_key, type)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE graph_aliases (
    entity_id BIGINT NOT NULL,
    alias_key VARCHAR(64) NOT NULL,
    document_id VARCHAR(32) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    alias VARCHAR(255) NOT NULL,
    CONSTRAINT pk_graph_aliases PRIMARY KEY (entity_id, alias_key, document_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_graph_aliases_kb_id_alias_key ON graph_aliases (kb_id, alias_key);

CREATE INDEX ix_graph_aliases_document_id ON graph_aliases (document_id);

CREATE TABLE graph_relations (
    id BIGINT NOT NULL AUTO_INCREMENT,
    kb_id VARCHAR(32) NOT NULL,
    name_key VARCHAR(64) NOT NULL,
    name VARCHAR(255) NOT NULL,
    cues LONGTEXT NOT NULL,
    CONSTRAINT pk_graph_relations PRIMARY KEY (id),
    CONSTRAINT uq_graph_relations_kb_id_name_key UNIQUE (kb_id, name_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE graph_triples (
    id BIGINT NOT NULL AUTO_INCREMENT,
    kb_id VARCHAR(32) NOT NULL,
    head_id BIGINT NOT NULL,
    relation_id BIGINT NOT NULL,
    tail_id BIGINT NOT NULL,
    CONSTRAINT pk_graph_triples PRIMARY KEY (id),
    CONSTRAINT uq_graph_triples_head_id_relation_id_tail_id UNIQUE (head_id, relation_id, tail_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_graph_triples_kb_id_id ON graph_triples (kb_id, id);

CREATE INDEX ix_graph_triples_tail_id ON graph_triples (tail_id);

CREATE INDEX ix_graph_triples_relation_id ON graph_triples (relation_id);

CREATE TABLE graph_mentions (
    id BIGINT NOT NULL AUTO_INCREMENT,
    triple_id BIGINT NOT NULL,
    mark VARCHAR(64) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    document_id VARCHAR(32) NOT NULL,
    chunk_id BIGINT NOT NULL,
    start BIGINT NOT NULL,
    end BIGINT NOT NULL,
    quote LONGTEXT NOT NULL,
    source LONGTEXT NOT NULL,
    extractor VARCHAR(64) NOT NULL,
    confidence DOUBLE NOT NULL,
    CONSTRAINT pk_graph_mentions PRIMARY KEY (id),
    CONSTRAINT uq_graph_mentions_triple_id_mark UNIQUE (triple_id, mark)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_graph_mentions_document_id ON graph_mentions (document_id);

CREATE INDEX ix_graph_mentions_kb_id ON graph_mentions (kb_id);

CREATE TABLE graph_merges (
    id VARCHAR(32) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    keep_id BIGINT NOT NULL,
    content LONGTEXT NOT NULL,
    author VARCHAR(255) NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    undone_at VARCHAR(32),
    CONSTRAINT pk_graph_merges PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_graph_merges_kb_id ON graph_merges (kb_id);

UPDATE alembic_version SET version_num='0005' WHERE alembic_version.version_num = '0004';

ALTER TABLE graph_versions ADD COLUMN told INTEGER NOT NULL DEFAULT '0';

CREATE TABLE graph_told (
    entity_id BIGINT NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    document_id VARCHAR(32) NOT NULL,
    mark VARCHAR(64) NOT NULL,
    CONSTRAINT pk_graph_told PRIMARY KEY (entity_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_graph_told_kb_id_entity_id ON graph_told (kb_id, entity_id);

UPDATE alembic_version SET version_num='0006' WHERE alembic_version.version_num = '0005';

CREATE TABLE graph_extractions (
    `key` VARCHAR(64) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    document_id VARCHAR(32) NOT NULL,
    extractor VARCHAR(64) NOT NULL,
    reply LONGTEXT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    took_ms BIGINT NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    CONSTRAINT pk_graph_extractions PRIMARY KEY (`key`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_graph_extractions_kb_id ON graph_extractions (kb_id);

CREATE INDEX ix_graph_extractions_document_id ON graph_extractions (document_id);

CREATE INDEX ix_graph_extractions_extractor_created_at ON graph_extractions (extractor, created_at);

CREATE TABLE graph_extracted (
    document_id VARCHAR(32) NOT NULL,
    extractor VARCHAR(64) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    signature VARCHAR(64) NOT NULL,
    upto BIGINT NOT NULL,
    CONSTRAINT pk_graph_extracted PRIMARY KEY (document_id, extractor)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_graph_extracted_kb_id ON graph_extracted (kb_id);

CREATE TABLE graph_suggestions (
    id VARCHAR(32) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    pair_key VARCHAR(64) NOT NULL,
    keep_id BIGINT NOT NULL,
    other_id BIGINT NOT NULL,
    alias VARCHAR(255) NOT NULL,
    alias_mark VARCHAR(64) NOT NULL,
    reason VARCHAR(32) NOT NULL,
    score DOUBLE NOT NULL,
    status VARCHAR(16) NOT NULL,
    merge_id VARCHAR(32) NOT NULL,
    author VARCHAR(255) NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    decided_at VARCHAR(32),
    CONSTRAINT pk_graph_suggestions PRIMARY KEY (id),
    CONSTRAINT uq_graph_suggestions_kb_id_pair_key UNIQUE (kb_id, pair_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_graph_suggestions_kb_id_status_score ON graph_suggestions (kb_id, status, score);

UPDATE alembic_version SET version_num='0007' WHERE alembic_version.version_num = '0006';

ALTER TABLE graph_versions ADD COLUMN removals INTEGER NOT NULL DEFAULT '0';

UPDATE alembic_version SET version_num='0008' WHERE alembic_version.version_num = '0007';

ALTER TABLE documents ADD COLUMN graph_rules INTEGER NOT NULL DEFAULT '0';

CREATE INDEX ix_graph_mentions_kb_id_chunk_id ON graph_mentions (kb_id, chunk_id);

DROP INDEX ix_graph_mentions_kb_id ON graph_mentions;

CREATE TABLE graph_names (
    id BIGINT NOT NULL AUTO_INCREMENT,
    kb_id VARCHAR(32) NOT NULL,
    name_key VARCHAR(64) NOT NULL,
    linked INTEGER NOT NULL,
    CONSTRAINT pk_graph_names PRIMARY KEY (id),
    CONSTRAINT uq_graph_names_kb_id_name_key UNIQUE (kb_id, name_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE graph_links (
    name_id BIGINT NOT NULL,
    chunk_id BIGINT NOT NULL,
    count INTEGER NOT NULL,
    CONSTRAINT pk_graph_links PRIMARY KEY (name_id, chunk_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_graph_links_chunk_id ON graph_links (chunk_id);

CREATE TABLE graph_linking (
    kb_id VARCHAR(32) NOT NULL,
    graph_version INTEGER NOT NULL,
    upto BIGINT NOT NULL,
    again BIGINT NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT pk_graph_linking PRIMARY KEY (kb_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

UPDATE alembic_version SET version_num='0009' WHERE alembic_version.version_num = '0008';

CREATE TABLE graph_mirrors (
    kb_id VARCHAR(32) NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT pk_graph_mirrors PRIMARY KEY (kb_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE graph_changes (
    kb_id VARCHAR(32) NOT NULL,
    version INTEGER NOT NULL,
    mark VARCHAR(32) NOT NULL,
    touched LONGTEXT NOT NULL,
    CONSTRAINT pk_graph_changes PRIMARY KEY (kb_id, version)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

UPDATE alembic_version SET version_num='0010' WHERE alembic_version.version_num = '0009';

CREATE TABLE users (
    id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    display_name VARCHAR(255) NOT NULL,
    password VARCHAR(255) NOT NULL,
    `role` VARCHAR(16) NOT NULL,
    clearance INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    must_change INTEGER NOT NULL,
    totp LONGTEXT NOT NULL,
    totp_last BIGINT NOT NULL,
    recovery LONGTEXT NOT NULL,
    external VARCHAR(255) NOT NULL,
    storage_mb INTEGER NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    password_at VARCHAR(32),
    signed_in_at VARCHAR(32),
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT uq_users_name UNIQUE (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_users_external ON users (external);

CREATE TABLE user_groups (
    id VARCHAR(32) NOT NULL,
    name VARCHAR(64) NOT NULL,
    description LONGTEXT NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    CONSTRAINT pk_user_groups PRIMARY KEY (id),
    CONSTRAINT uq_user_groups_name UNIQUE (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE group_members (
    group_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    CONSTRAINT pk_group_members PRIMARY KEY (group_id, user_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_group_members_user_id ON group_members (user_id);

CREATE TABLE sessions (
    id VARCHAR(32) NOT NULL,
    token VARCHAR(64) NOT NULL,
    former_token VARCHAR(64) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    created_at DOUBLE NOT NULL,
    seen_at DOUBLE NOT NULL,
    rotated_at DOUBLE NOT NULL,
    address VARCHAR(64) NOT NULL,
    agent VARCHAR(255) NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT uq_sessions_token UNIQUE (token)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_sessions_former_token ON sessions (former_token);

CREATE INDEX ix_sessions_user_id ON sessions (user_id);

CREATE TABLE api_keys (
    id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    name VARCHAR(255) NOT NULL,
    token VARCHAR(64) NOT NULL,
    shown VARCHAR(16) NOT NULL,
    at_most VARCHAR(8) NOT NULL,
    knowledge_bases LONGTEXT NOT NULL,
    requests_per_minute INTEGER NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    expires_at VARCHAR(32),
    used_at VARCHAR(32),
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT uq_api_keys_token UNIQUE (token)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_api_keys_user_id ON api_keys (user_id);

CREATE TABLE links (
    token VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    expires_at DOUBLE NOT NULL,
    CONSTRAINT pk_links PRIMARY KEY (token)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_links_user_id ON links (user_id);

CREATE TABLE kb_grants (
    kb_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    group_id VARCHAR(32) NOT NULL,
    granted VARCHAR(8) NOT NULL,
    CONSTRAINT pk_kb_grants PRIMARY KEY (kb_id, user_id, group_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_kb_grants_group_id ON kb_grants (group_id);

CREATE INDEX ix_kb_grants_user_id ON kb_grants (user_id);

CREATE TABLE conversation_shares (
    conversation_id VARCHAR(32) NOT NULL,
    user_id VARCHAR(32) NOT NULL,
    group_id VARCHAR(32) NOT NULL,
    created_at VARCHAR(32) NOT NULL,
    CONSTRAINT pk_conversation_shares PRIMARY KEY (conversation_id, user_id, group_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_conversation_shares_group_id ON conversation_shares (group_id);

CREATE INDEX ix_conversation_shares_user_id ON conversation_shares (user_id);

CREATE TABLE login_failures (
    subject VARCHAR(64) NOT NULL,
    failures INTEGER NOT NULL,
    last_at DOUBLE NOT NULL,
    until DOUBLE NOT NULL,
    CONSTRAINT pk_login_failures PRIMARY KEY (subject)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE access_state (
    id INTEGER NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT pk_access_state PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE audit_log (
    number BIGINT NOT NULL,
    at VARCHAR(32) NOT NULL,
    actor_id VARCHAR(32) NOT NULL,
    actor VARCHAR(255) NOT NULL,
    key_id VARCHAR(32) NOT NULL,
    action VARCHAR(64) NOT NULL,
    subject VARCHAR(255) NOT NULL,
    kb_id VARCHAR(32) NOT NULL,
    level INTEGER NOT NULL,
    address VARCHAR(64) NOT NULL,
    request_id VARCHAR(64) NOT NULL,
    outcome VARCHAR(16) NOT NULL,
    details LONGTEXT NOT NULL,
    hash VARCHAR(64) NOT NULL,
    CONSTRAINT pk_audit_log PRIMARY KEY (number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE utf8mb4_bin;

CREATE INDEX ix_audit_log_action_number ON audit_log (action, number);

CREATE INDEX ix_audit_log_actor_id_number ON audit_log (actor_id, number);

CREATE INDEX ix_audit_log_at ON audit_log (at);

INSERT INTO access_state (id, version) VALUES (1, 1);

ALTER TABLE knowledge_bases ADD COLUMN level INTEGER NOT NULL DEFAULT '1';

ALTER TABLE documents ADD COLUMN level INTEGER NOT NULL DEFAULT '1';

CREATE INDEX ix_documents_kb_id_level ON documents (kb_id, level);

ALTER TABLE documents ADD COLUMN owner VARCHAR(32) NOT NULL DEFAULT '';

CREATE INDEX ix_documents_owner_size_bytes ON documents (owner, size_bytes);

UPDATE alembic_version SET version_num='0011' WHERE alembic_version.version_num = '0010';
