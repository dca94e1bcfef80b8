-- Statistics: one row for each tenant and day, one for the whole system and day, and the work of counting them.

-- Totals are up to the end of the day (UTC), the rest is of the day alone. Money as in order_orders, with room for its sum.
CREATE TABLE IF NOT EXISTS saas_tenant_daily_statistics (
    stat_date DATE NOT NULL,
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    total_users BIGINT UNSIGNED NOT NULL COMMENT 'Users with an order',
    active_users BIGINT UNSIGNED NOT NULL COMMENT 'Users in the access log of the day',
    total_orders BIGINT UNSIGNED NOT NULL,
    paid_orders BIGINT UNSIGNED NOT NULL,
    total_revenue DECIMAL(14,2) NOT NULL,
    total_study_records BIGINT UNSIGNED NOT NULL,
    daily_orders BIGINT UNSIGNED NOT NULL,
    daily_paid_orders BIGINT UNSIGNED NOT NULL,
    daily_revenue DECIMAL(14,2) NOT NULL,
    daily_study_records BIGINT UNSIGNED NOT NULL,
    collection_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'Which collection counted it last',
    collected_at DATETIME(6) NOT NULL,
    PRIMARY KEY (stat_date, tenant_id),
    INDEX idx_tenant (tenant_id, stat_date)
) ENGINE=InnoDB COMMENT 'Statistics of tenants by day';

CREATE TABLE IF NOT EXISTS saas_daily_statistics (
    stat_date DATE NOT NULL PRIMARY KEY,
    active_tenants BIGINT UNSIGNED NOT NULL,
    total_users BIGINT UNSIGNED NOT NULL,
    active_tenant_users BIGINT UNSIGNED NOT NULL COMMENT 'Users who belong to a tenant',
    daily_active_users BIGINT UNSIGNED NOT NULL COMMENT 'Users in the access log of the day',
    collected_at DATETIME(6) NOT NULL
) ENGINE=InnoDB COMMENT 'Statistics of the whole system by day';

-- One row for each database server and request: a worker of that server counts all tenants of it, under a lease as a job has one.
CREATE TABLE IF NOT EXISTS saas_collections (
    collection_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    request_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'What was asked for at once, on all servers',
    server_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    from_day DATE NULL COMMENT 'NULL: for each tenant from the first day that was not counted after its end',
    to_day DATE NOT NULL,
    requested_by VARCHAR(100) NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL COMMENT 'pending, running, succeeded, failed',
    owner VARCHAR(100) NULL,
    epoch INT UNSIGNED NOT NULL DEFAULT 0,
    attempts INT UNSIGNED NOT NULL DEFAULT 0,
    lease_until DATETIME(6) NULL,
    next_attempt_at DATETIME(6) NOT NULL,
    tenants INT UNSIGNED NULL COMMENT 'Of the server, when it began',
    collected INT UNSIGNED NOT NULL DEFAULT 0,
    failed INT UNSIGNED NOT NULL DEFAULT 0,
    error VARCHAR(1000) NULL,
    created_at DATETIME(6) NOT NULL,
    started_at DATETIME(6) NULL,
    ended_at DATETIME(6) NULL,
    UNIQUE KEY uk_request (request_id, server_id),
    INDEX idx_due (server_id, status, next_attempt_at),
    INDEX idx_ended (ended_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Collections of statistics';

CREATE TABLE IF NOT EXISTS saas_collection_failures (
    collection_id CHAR(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL,
    reason VARCHAR(300) NOT NULL,
    failed_at DATETIME(6) NOT NULL,
    PRIMARY KEY (collection_id, tenant_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Tenants that a collection could not count';

-- Questions for the present figures of one tenant: the control plane asks, a worker answers, whoever asked reads.
CREATE TABLE IF NOT EXISTS saas_live_statistics (
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    asked_at DATETIME(6) NOT NULL,
    claimed_until DATETIME(6) NULL COMMENT 'A worker is counting',
    began_at DATETIME(6) NULL COMMENT 'When the counting of the newest answer began: it includes what was committed before',
    figures TEXT NULL COMMENT 'The newest figures, JSON',
    counted_at DATETIME(6) NULL COMMENT 'Of these figures',
    reason VARCHAR(300) NULL COMMENT 'Why the newest answer has no figures',
    INDEX idx_asked (asked_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Present statistics of tenants, counted when asked for';
