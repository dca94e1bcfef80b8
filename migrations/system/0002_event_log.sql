-- The event log, which is the truth, and the rows an append keeps beside it in the same transaction.
--
-- Names and ids are ASCII, lower case by their types' rules. They do not have a _bin collation: SQLx takes such columns
-- for binary data. (idempotency_key has one: there case matters, and nobody reads it back.)

-- One row per counter. An append locks the row 'events' last and shortly, so positions are dense and in commit order
-- (auto-increment ids are neither). 'sessions' counts revocations: nodes drop cached sessions when it moves.
CREATE TABLE IF NOT EXISTS saas_heads (
    name VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    position BIGINT UNSIGNED NOT NULL COMMENT 'Newest position, 0 before the first',
    hash BINARY(32) NOT NULL COMMENT 'Hash of the newest event, which covers all before it'
) ENGINE=InnoDB COMMENT 'Heads of logs';

INSERT INTO saas_heads (name, position, hash) VALUES
('events', 0, UNHEX(REPEAT('00', 32))),
('sessions', 0, UNHEX(REPEAT('00', 32)))
ON DUPLICATE KEY UPDATE name = saas_heads.name;

-- data is text, not JSON: MySQL would reorder it, and the hash chain covers its bytes.
CREATE TABLE IF NOT EXISTS saas_events (
    position BIGINT UNSIGNED NOT NULL PRIMARY KEY COMMENT '1..N in commit order',
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    version INT UNSIGNED NOT NULL COMMENT '1..k within the tenant',
    event_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    event_type VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    occurred_at DATETIME(6) NOT NULL COMMENT 'UTC, for people; never for order',
    actor VARCHAR(100) NOT NULL,
    data LONGTEXT NOT NULL COMMENT 'JSON without secrets',
    hash BINARY(32) NOT NULL COMMENT 'SHA-256 of the hash before and of this row',
    UNIQUE KEY uk_stream (tenant_id, version),
    UNIQUE KEY uk_event (event_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Every event of every tenant; rows are never changed';

-- The present of each tenant, folded from its events: what a command decides on and what the API answers.
CREATE TABLE IF NOT EXISTS saas_tenant_snapshots (
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    created_position BIGINT UNSIGNED NOT NULL COMMENT 'Position of tenant.created: the order of lists',
    position BIGINT UNSIGNED NOT NULL,
    version INT UNSIGNED NOT NULL,
    status SMALLINT NOT NULL,
    plan_type VARCHAR(50) NOT NULL,
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    snapshot LONGTEXT NOT NULL COMMENT 'The tenant as JSON',
    UNIQUE KEY uk_created (created_position),
    INDEX idx_server (server_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Tenants as folded from their events';

CREATE TABLE IF NOT EXISTS saas_tenant_domains (
    domain VARCHAR(100) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY COMMENT 'Normal form: A-labels, lower case',
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    is_primary TINYINT NOT NULL,
    position BIGINT UNSIGNED NOT NULL COMMENT 'Event that registered it',
    INDEX idx_tenant (tenant_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Domains that route now';

-- What is unique over all tenants, also after its owner let go of it.
CREATE TABLE IF NOT EXISTS saas_reservations (
    kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    value VARCHAR(100) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    held_until DATETIME(6) NULL COMMENT 'NULL: in use; else nobody else may take it before this time (UTC)',
    PRIMARY KEY (kind, value)
) ENGINE=InnoDB COMMENT 'Uniqueness across tenants';
