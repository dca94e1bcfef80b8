-- Users are found by name and address, nodes learn of changed ones, and what was asked for in tenants' configurations is kept.

-- Rises with every change of a user: nodes then forget the profiles they keep. Its row is also what lets one change through at a time.
INSERT INTO saas_heads (name, position, hash) VALUES ('users', 0, UNHEX(REPEAT('00', 32)))
ON DUPLICATE KEY UPDATE name = saas_heads.name;

-- MySQL has no CREATE INDEX IF NOT EXISTS.
SET @statement = IF(
    EXISTS (SELECT 1 FROM information_schema.STATISTICS
            WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'user_info' AND INDEX_NAME = 'idx_username'),
    'DO 0',
    'ALTER TABLE user_info ADD INDEX idx_username (username), ADD INDEX idx_email (email)');
PREPARE statement FROM @statement;
EXECUTE statement;
DEALLOCATE PREPARE statement;

-- What tenants' configurations are asked to be. The event says that one changed; the value of a secret one is here alone, and
-- sealed. A job brings every row of its tenant into the tenant's own table tenant_config.
CREATE TABLE IF NOT EXISTS saas_tenant_settings (
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    config_key VARCHAR(100) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    config_type VARCHAR(20) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'string, json, number, boolean',
    config_value TEXT NULL COMMENT 'As tenant_config has it; NULL: secret, or removed',
    sealed_value TEXT NOT NULL COMMENT 'A secret value, sealed; else empty',
    description VARCHAR(200) NULL COMMENT 'NULL: the one that is there stays',
    removed TINYINT NOT NULL DEFAULT 0 COMMENT '1: tenant_config is not to have it',
    position BIGINT UNSIGNED NOT NULL COMMENT 'Of the event tenant.config_changed that asked for this',
    applied_position BIGINT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'Of what the tenant''s database has',
    updated_at DATETIME(6) NOT NULL,
    PRIMARY KEY (tenant_id, config_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Configuration of tenants, as asked for';
