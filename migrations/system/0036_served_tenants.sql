-- Which tenants' databases nodes have just used, so that a round of checks need not log in to each of them.

-- One row for each tenant, whatever the number of nodes. A node writes its part at most every 30 seconds, and the rounds of
-- checks remove rows that are an hour old.
CREATE TABLE IF NOT EXISTS saas_served_tenants (
    tenant_id VARCHAR(32) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY,
    position BIGINT UNSIGNED NOT NULL COMMENT 'Up to which the node had read the event log: if the tenant has changed since, the row says nothing',
    served_at DATETIME(6) NOT NULL COMMENT 'When its database last answered a statement of a node'
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci COMMENT 'Tenants that nodes have just served';

-- MySQL knows no ADD COLUMN IF NOT EXISTS.
SET @add_column = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_health_rounds ADD COLUMN rounds_ended BIGINT UNSIGNED NOT NULL DEFAULT 0
             COMMENT ''Decides which of the tenants that nodes serve the next round logs in to''', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_health_rounds' AND COLUMN_NAME = 'rounds_ended');
PREPARE add_column FROM @add_column;
EXECUTE add_column;
DEALLOCATE PREPARE add_column;
