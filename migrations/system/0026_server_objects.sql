-- What jobs have made on database servers, and the installation-wide setting that decides from where accounts may log in.

-- A row is written before its database or account is made, and deleted when it is known to be gone. So whatever a killed job
-- has left is known, and a purge knows every server that ever had something of the tenant. An account is known with the
-- host that it was made with, which later settings do not change.
CREATE TABLE IF NOT EXISTS saas_server_objects (
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    kind VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'database, account',
    name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Of the database, or of the account without its host',
    host VARCHAR(255) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL DEFAULT '' COMMENT 'Of the account; empty for a database',
    operation_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'The job that was last about to make it',
    left_at DATETIME(6) NULL COMMENT 'When a job ended that should have removed it and could not; an audit removes it',
    recorded_at DATETIME(6) NOT NULL,
    PRIMARY KEY (tenant_id, server_id, kind, name, host),
    INDEX idx_server (server_id, kind)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Databases and accounts of tenants on database servers';

-- MySQL knows no ADD COLUMN IF NOT EXISTS.
SET @add_column = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_database_servers ADD COLUMN account_host VARCHAR(255) CHARACTER SET ascii COLLATE ascii_general_ci NULL
             COMMENT ''TENANT_ACCOUNT_HOST of its provisioner; NULL: an older one''', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_database_servers' AND COLUMN_NAME = 'account_host');
PREPARE add_column FROM @add_column;
EXECUTE add_column;
DEALLOCATE PREPARE add_column;
