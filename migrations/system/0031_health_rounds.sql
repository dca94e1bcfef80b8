-- What a round found, so that the health of the system needs no look at every tenant. MySQL knows no ADD COLUMN IF NOT EXISTS.
SET @add_columns = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_health_rounds
             ADD COLUMN period_seconds INT UNSIGNED NULL COMMENT ''Time between two rounds; NULL: an older program did the newest one'',
             ADD COLUMN healthy INT UNSIGNED NULL COMMENT ''Tenant databases that the newest round found healthy'',
             ADD COLUMN unhealthy INT UNSIGNED NULL COMMENT ''And those that it did not''', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_health_rounds' AND COLUMN_NAME = 'period_seconds');
PREPARE add_columns FROM @add_columns;
EXECUTE add_columns;
DEALLOCATE PREPARE add_columns;
