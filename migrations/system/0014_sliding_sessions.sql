-- How long a session lasts after its latest use. NULL: it ends when it was to end as it was made (sessions from before this
-- file, and the legacy's own rows).
-- ADD COLUMN IF NOT EXISTS is MariaDB's alone, so the statement is made only if it is needed.
SET @add_token_ttl = (
    SELECT IF(COUNT(*) = 0,
        'ALTER TABLE user_token ADD COLUMN token_ttl INT UNSIGNED NULL COMMENT ''Seconds a session lasts after its latest use''',
        'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'user_token' AND COLUMN_NAME = 'token_ttl');
PREPARE add_token_ttl FROM @add_token_ttl;
EXECUTE add_token_ttl;
DEALLOCATE PREPARE add_token_ttl;
