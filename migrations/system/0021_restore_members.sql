-- Members of a tenant that is made out of another one's backup.
-- MySQL knows no ADD COLUMN IF NOT EXISTS.

SET @add_column = (SELECT IF(COUNT(*) = 0,
        'ALTER TABLE saas_backup_jobs ADD COLUMN with_members TINYINT NOT NULL DEFAULT 0 COMMENT ''1: the new tenant gets the members of the other one''', 'DO 0')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'saas_backup_jobs' AND COLUMN_NAME = 'with_members');
PREPARE add_column FROM @add_column;
EXECUTE add_column;
DEALLOCATE PREPARE add_column;
