-- What the rotation of a tenant's credential needs to be continued by anybody: which credential is next, and who knows of it.

-- One row for each rotation in progress. The next password is kept here before the user is made with it; the switch moves it to
-- saas_tenant_databases and leaves the row, which then says what is to be retired.
CREATE TABLE IF NOT EXISTS saas_next_credentials (
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    operation_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    db_username VARCHAR(100) NOT NULL COMMENT 'The user that comes into use',
    db_password_encrypted TEXT NOT NULL COMMENT 'Empty once it is in use',
    switched_at_position BIGINT UNSIGNED NULL COMMENT 'Position of tenant.database_rotated; NULL before it',
    created_at DATETIME(6) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Credentials of tenants that are being rotated';

-- Data nodes report here what they know, each in a row of its own. Nodes have no other right to write.
CREATE TABLE IF NOT EXISTS saas_nodes (
    node_id CHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY COMMENT 'Of the process: a restarted node is another one',
    node_name VARCHAR(100) NOT NULL COMMENT 'For people',
    position BIGINT UNSIGNED NOT NULL COMMENT 'Its routing table includes all events up to here',
    seen_at DATETIME(6) NOT NULL,
    INDEX idx_seen (seen_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Data nodes and how far they have followed the events';
