-- The catalogue of backups. What a backup needs to be opened is beside it in the backup store, not here: this is what lists, retention and
-- the retirement of keys ask, and it is made anew from the store when it was lost.

CREATE TABLE IF NOT EXISTS saas_backups (
    backup_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Empty: the system database',
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Where the data was',
    key_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Key of the ring that its data key is sealed with',
    taken_at DATETIME(6) NOT NULL COMMENT 'The moment its data is of (UTC)',
    position BIGINT UNSIGNED NOT NULL COMMENT 'Head of the log at that moment',
    stored_bytes BIGINT UNSIGNED NOT NULL,
    tested_at DATETIME(6) NULL COMMENT 'When it was last loaded and compared',
    test_error VARCHAR(1000) NULL COMMENT 'What was wrong then; NULL: nothing',
    INDEX idx_tenant (tenant_id, taken_at),
    INDEX idx_key (key_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Whole backups in the backup store';

CREATE TABLE IF NOT EXISTS saas_backup_jobs (
    operation_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    source_tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Whose data; empty: the system database',
    backup_id VARCHAR(40) CHARACTER SET ascii COLLATE ascii_general_ci NULL COMMENT 'Which backup; NULL: a new one, or the newest',
    ends_maintenance TINYINT NOT NULL DEFAULT 0 COMMENT '1: the maintenance was begun for this job',
    restored TEXT NULL COMMENT 'What came back, as JSON; NULL: the job can still be undone',
    INDEX idx_source (source_tenant_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'What jobs of backups and restores are about';
