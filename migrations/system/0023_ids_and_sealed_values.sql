-- Ids of users are compared to the byte, and sealed values have room.

-- The collation of user_id holds ids that differ in case equal, so one membership overwrote another. The database
-- computes the bytes of the id: a program that does not know the column writes it right all the same. (An older version
-- that removes a member while an upgrade is under way still removes every member whose id is equal but for case. And a
-- member who was overwritten comes back by `control-plane rebuild`, because the events are whole.)
-- MySQL knows no ADD COLUMN IF NOT EXISTS.
SET @add_column = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_tenant_users
             ADD COLUMN user_key VARBINARY(144) GENERATED ALWAYS AS (CAST(user_id AS BINARY)) STORED
                 COMMENT ''Bytes of user_id, which the unique key compares''', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_tenant_users' AND COLUMN_NAME = 'user_key');
PREPARE add_column FROM @add_column;
EXECUTE add_column;
DEALLOCATE PREPARE add_column;

-- In one statement: at every moment one of the two keys makes an upsert find its row. Programs that search by user_id
-- find it by idx_tenant_user: a user may be a member of every tenant.
SET @change_key = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_tenant_users
             ADD UNIQUE KEY uk_tenant_user_key (tenant_id, user_key, deleted),
             ADD INDEX idx_tenant_user (tenant_id, user_id), DROP KEY uk_tenant_user', 'DO 0')
    FROM information_schema.STATISTICS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_tenant_users' AND INDEX_NAME = 'uk_tenant_user_key');
PREPARE change_key FROM @change_key;
EXECUTE change_key;
DEALLOCATE PREPARE change_key;

-- A sealed text is longer than the text by more than a third: the longest value that the API accepts did not fit.
ALTER TABLE saas_tenant_settings MODIFY sealed_value MEDIUMTEXT NOT NULL COMMENT 'A secret value, sealed; else empty';
ALTER TABLE saas_idempotency_keys
    MODIFY response_sealed MEDIUMTEXT NOT NULL COMMENT 'The answer, sealed: it may hold a token that is shown once';
