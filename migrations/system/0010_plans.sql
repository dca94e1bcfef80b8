-- What a plan allows beyond requests in work and waiting, and what tenants use of their storage.

-- NULL: not limited by the plan; the connections are then what each tenant was created with.
-- MySQL has no ADD COLUMN IF NOT EXISTS, so the statement is made only where it is still to be done.
SET @plans = (SELECT COUNT(*) FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_plans' AND COLUMN_NAME = 'max_connections');
SET @plans = IF(@plans > 0, 'DO 0', 'ALTER TABLE saas_plans
    ADD COLUMN max_connections INT UNSIGNED NULL COMMENT ''Connections of a tenant over all nodes'',
    ADD COLUMN request_rate INT UNSIGNED NULL COMMENT ''Requests of one tenant in a second, per node'',
    ADD COLUMN request_burst INT UNSIGNED NULL COMMENT ''Of these at once; NULL: as many as request_rate'',
    ADD COLUMN storage_bytes BIGINT UNSIGNED NULL COMMENT ''More is reported, not refused''');
PREPARE alter_plans FROM @plans;
EXECUTE alter_plans;
DEALLOCATE PREPARE alter_plans;

UPDATE saas_plans SET storage_bytes = 10737418240 WHERE plan_type = 'basic' AND storage_bytes IS NULL;
UPDATE saas_plans SET storage_bytes = 107374182400 WHERE plan_type = 'standard' AND storage_bytes IS NULL;

-- One row for each tenant whose database was found at the last measurement of its server.
CREATE TABLE IF NOT EXISTS saas_tenant_storage (
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    bytes BIGINT UNSIGNED NOT NULL COMMENT 'Files of its database',
    measured_at DATETIME(6) NOT NULL,
    INDEX idx_server (server_id)
) ENGINE=InnoDB COMMENT 'What tenants use of their storage';

-- Whose turn it is: a server is measured by one process at a time.
CREATE TABLE IF NOT EXISTS saas_storage_measurements (
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    begun_at DATETIME(6) NOT NULL COMMENT 'When the newest measurement began'
) ENGINE=InnoDB COMMENT 'Measurements of database servers';
