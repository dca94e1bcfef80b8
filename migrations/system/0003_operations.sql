-- Slow work, who does it, and who may ask for it.

CREATE TABLE IF NOT EXISTS saas_database_servers (
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    host VARCHAR(200) NOT NULL COMMENT 'Address that nodes connect to',
    port INT UNSIGNED NOT NULL,
    dialect VARCHAR(16) NOT NULL COMMENT 'mariadb, mysql',
    server_version VARCHAR(64) NOT NULL,
    accepts_tenants TINYINT NOT NULL DEFAULT 1 COMMENT '0: no new tenants are placed here',
    seen_at DATETIME(6) NOT NULL COMMENT 'Last time a provisioner reached it'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Database servers tenants can be placed on; a provisioner registers those it administers';

CREATE TABLE IF NOT EXISTS saas_plans (
    plan_type VARCHAR(50) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    request_concurrency INT UNSIGNED NOT NULL COMMENT 'Requests of one tenant in work at once, per node',
    request_queue INT UNSIGNED NOT NULL COMMENT 'Requests that may wait for one of them, per node',
    description VARCHAR(200) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'What a tenant may use';

INSERT INTO saas_plans (plan_type, request_concurrency, request_queue, description) VALUES
('basic', 8, 64, 'Small schools'),
('standard', 16, 128, 'Busy schools'),
('enterprise', 32, 256, 'Large organisations')
ON DUPLICATE KEY UPDATE plan_type = saas_plans.plan_type;

-- A job is leased for a while under an epoch; whoever takes it over raises the epoch, and only the newest epoch may
-- record anything. Times are the database's.
CREATE TABLE IF NOT EXISTS saas_operations (
    operation_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Workers of this server take it',
    kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'pending, running, succeeded, failed',
    undoing TINYINT NOT NULL DEFAULT 0 COMMENT '1: it has failed, its steps are being undone',
    attempts INT UNSIGNED NOT NULL DEFAULT 0,
    error VARCHAR(1000) NULL COMMENT 'Last error, or why it failed',
    owner VARCHAR(100) NULL,
    epoch INT UNSIGNED NOT NULL DEFAULT 0,
    lease_until DATETIME(6) NULL,
    next_attempt_at DATETIME(6) NOT NULL,
    give_up_at DATETIME(6) NOT NULL COMMENT 'After this time a failing attempt is the last one',
    created_at DATETIME(6) NOT NULL,
    finished_at DATETIME(6) NULL,
    INDEX idx_due (server_id, status, next_attempt_at),
    INDEX idx_tenant (tenant_id, created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Jobs of the provisioner';

CREATE TABLE IF NOT EXISTS saas_operation_steps (
    operation_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    ordinal SMALLINT UNSIGNED NOT NULL,
    name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'running, succeeded, failed, undone',
    started_at DATETIME(6) NOT NULL,
    finished_at DATETIME(6) NULL,
    PRIMARY KEY (operation_id, ordinal)
) ENGINE=InnoDB COMMENT 'Steps of a job, as far as they went';

-- A role that one process holds at a time, with what it must remember.
CREATE TABLE IF NOT EXISTS saas_leases (
    name VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    owner VARCHAR(100) NOT NULL,
    epoch INT UNSIGNED NOT NULL,
    lease_until DATETIME(6) NOT NULL,
    position BIGINT UNSIGNED NOT NULL COMMENT 'Relay: highest position confirmed without a gap'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Roles held by one process';

INSERT INTO saas_leases (name, owner, epoch, lease_until, position) VALUES
('relay', '', 0, '2000-01-01 00:00:00', 0)
ON DUPLICATE KEY UPDATE name = saas_leases.name;

CREATE TABLE IF NOT EXISTS saas_idempotency_keys (
    actor VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    idempotency_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    request_hash BINARY(32) NOT NULL COMMENT 'SHA-256 of method, path and body',
    status_code SMALLINT UNSIGNED NOT NULL,
    location VARCHAR(300) NULL,
    response_sealed TEXT NOT NULL COMMENT 'The answer, sealed: it may hold a token that is shown once',
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (actor, idempotency_key),
    INDEX idx_created (created_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Answers given to POSTs with an Idempotency-Key';

CREATE TABLE IF NOT EXISTS saas_admin_tokens (
    token_id CHAR(12) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY COMMENT 'Public part, in lists and as actor',
    name VARCHAR(100) NOT NULL,
    secret_hash BINARY(32) NOT NULL COMMENT 'SHA-256 of 256 random bits',
    scopes VARCHAR(200) NOT NULL COMMENT 'Words separated by blanks: admin, read',
    created_at DATETIME(6) NOT NULL,
    expires_at DATETIME(6) NULL,
    revoked_at DATETIME(6) NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Tokens of the admin API';
