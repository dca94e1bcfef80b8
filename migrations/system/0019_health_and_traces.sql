-- What workers and nodes tell of themselves and of what they reach; and the traces that a job and an event belong to.

CREATE TABLE IF NOT EXISTS saas_tenant_health (
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'healthy, unhealthy',
    reason VARCHAR(300) NULL,
    response_us INT UNSIGNED NULL COMMENT 'Login and first row',
    total_orders BIGINT UNSIGNED NULL COMMENT 'NULL: not counted, it would have taken too long',
    total_study_records BIGINT UNSIGNED NULL,
    checked_at DATETIME(6) NOT NULL,
    INDEX idx_server (server_id, checked_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Tenant databases, as a worker found them last';

-- A round is one look at all tenant databases of a server. The control plane wishes for one, a worker does it.
CREATE TABLE IF NOT EXISTS saas_health_rounds (
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    wanted_at DATETIME(6) NOT NULL,
    began_at DATETIME(6) NULL,
    ended_at DATETIME(6) NULL COMMENT 'Of the newest round that was done',
    done_began_at DATETIME(6) NULL COMMENT 'When that one began',
    lease_until DATETIME(6) NULL,
    reason VARCHAR(300) NULL COMMENT 'Why the server could not be reached'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Looks at the tenant databases of each server';

-- Only when a trace is being recorded.
CREATE TABLE IF NOT EXISTS saas_event_traces (
    position BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    traceparent VARCHAR(55) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'W3C trace context',
    created_at DATETIME(6) NOT NULL,
    INDEX idx_created (created_at)
) ENGINE=InnoDB COMMENT 'Traces that events belong to';

-- MySQL knows no ADD COLUMN IF NOT EXISTS.
SET @add_column = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_nodes ADD COLUMN report TEXT NULL COMMENT ''Its connections and parts, JSON''', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_nodes' AND COLUMN_NAME = 'report');
PREPARE add_column FROM @add_column;
EXECUTE add_column;
DEALLOCATE PREPARE add_column;

SET @add_column = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_operations ADD COLUMN traceparent VARCHAR(55) CHARACTER SET ascii COLLATE ascii_general_ci NULL COMMENT ''W3C trace context of whoever asked for it''', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_operations' AND COLUMN_NAME = 'traceparent');
PREPARE add_column FROM @add_column;
EXECUTE add_column;
DEALLOCATE PREPARE add_column;
